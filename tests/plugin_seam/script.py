"""What a user of skyward-acme writes, in one program. It ends with an assertion, or prints what it found."""

from __future__ import annotations

import os
import pickle

import skyward as sky


@sky.compute
def base(x: int) -> tuple[int, str]:
    """Runs on a node; the integration of the pool is around it."""
    return x * x, os.environ["ACME_BASE"]


def main() -> None:
    """Use everything that the plugin brings."""
    core, acme = sky.installed_plugins()
    assert core.distribution == "skyward-core", core
    print(acme)

    provider = sky.Acme()  # type: ignore[attr-defined]  # checkers know the names of this project's own plugins only
    assert pickle.loads(pickle.dumps(provider)) == provider

    lines: list[str] = []
    costs: list[sky.CostFinal] = []
    with sky.ComputePool(
        [sky.Local(), provider],
        selection="acme-nearest",
        allocation="acme-thirds",
        nodes=3,
        plugins=[sky.integrations.acme("greetings from")],  # type: ignore[attr-defined]
    ) as pool:
        pool.on(sky.LogLine, lambda event: lines.append(event.line))
        pool.on(sky.CostFinal, costs.append)
        assert base(3) @ pool == ((9, "tranquility"),) * 3
    assert lines.count("greetings from base") == 3, lines
    assert (costs[0].spot_count, costs[0].ondemand_count) == (1, 2), costs  # the strategy divided them,
    assert costs[0].total_cost > 0  # and the selector chose machines that cost something

    decorated = sky.integrations.acme()(base)  # type: ignore[attr-defined]
    with sky.ComputePool(display="log") as pool:
        assert decorated(4) >> pool == (16, "tranquility")

    from skyward_acme import extras

    for name in ("InfraCreating", "InstanceLaunched", "NodeReady", "TaskCompleted", "CostFinal"):
        assert name in extras.events, extras.events
    assert extras.events.count("ClusterDestroyed") == 2
    assert extras.events.count("NodeReady") == 4
    print("done")


if __name__ == "__main__":
    main()
