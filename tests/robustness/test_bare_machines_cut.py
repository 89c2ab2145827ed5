"""Making a machine ready, cut in the middle or without room: the next attempt leaves nothing half done."""

from __future__ import annotations

from typing import Any

import pytest
from package_index import PackageIndex

from skyward.errors import BootstrapError
from skyward.model.bootstrap import PHASES, Step

from .bare import DEBIAN
from .bare import make_bare as make_bare
from .conftest import kill
from .test_bare_machines import image_for
from .test_bare_machines import index as index

ROOT = "/opt/skyward"


@pytest.mark.slow
def test_a_machine_whose_shell_is_killed_in_one_phase_after_another_is_whole_at_the_end(
    make_bare: Any, index: PackageIndex
) -> None:
    machine = make_bare(DEBIAN, bare=False)
    image = image_for(DEBIAN, apt=["less"])
    variables = {"UV_DEFAULT_INDEX": index.address}
    for phase in ("uv", "apt", "deps"):  # the others are over before anything could be killed
        killed: list[int] = []

        def begins(begun: str, phase: str = phase, killed: list[int] = killed) -> None:
            if begun == phase:
                killed += machine.processes()
                kill(killed)

        machine.begins = begins
        with pytest.raises(BootstrapError):
            machine.becomes_a_node(image, variables=variables)
        assert killed
        assert phase not in machine.completed()
    machine.begins = lambda _: None
    machine.becomes_a_node(image, variables=variables)
    assert machine.completed() == list(PHASES)
    machine.sh('command -v less && test -z "$(dpkg --audit)"')
    assert machine.sh(f"ls {ROOT}/markers").split() == sorted(PHASES)


def leave(kilobytes: int) -> str:
    """Shell text that leaves that much room on the disk of the machine."""
    return (
        f"rm -f {ROOT}/filler; room=$(df --output=avail -k {ROOT} | tail -n 1); "
        f"head -c $(((room - {kilobytes}) * 1024)) /dev/zero >{ROOT}/filler"
    )


@pytest.fixture
def disk_machine(make_bare: Any) -> Any:
    return make_bare(DEBIAN, "--tmpfs", f"{ROOT}:rw,exec,size=256m,mode=755", bare=False)


@pytest.mark.slow
def test_a_full_disk_is_told_with_phase_command_and_words_and_with_room_again_the_machine_becomes_whole(
    disk_machine: Any, index: PackageIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = disk_machine
    variables = {"UV_DEFAULT_INDEX": index.address}
    # Else the client's certificates were sent each time, for which there would be no room either.
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)

    def fails(kilobytes: int, step: Step | None = None) -> BootstrapError:
        if step is None:
            machine.sh(leave(kilobytes))
        with pytest.raises(BootstrapError, match=r"(?i)no space left on device") as caught:
            machine.becomes_a_node(image_for(DEBIAN), variables=variables, steps=[step] if step else [])
        machine.sh(f"rm {ROOT}/filler")
        assert caught.value.command
        assert "no space left on device" in caught.value.output.lower()
        return caught.value

    assert fails(0).phase == "skyward"  # the archive goes ahead of all phases
    assert fails(5000).phase == "uv"
    assert machine.sh(f"ls {ROOT}/markers {ROOT}/bin").split() == [f"{ROOT}/bin:", f"{ROOT}/markers:"]
    assert fails(0, Step("uv", leave(0))).phase == "uv"  # there is no room for its marker
    assert machine.sh(f"ls {ROOT}/markers").split() in ([], ["uv.new"])
    assert fails(0, Step("uv", leave(100))).phase == "deps"
    assert machine.sh(f"ls {ROOT}/markers").split() == ["apt", "uv"]
    machine.becomes_a_node(image_for(DEBIAN), variables=variables)
    assert machine.completed() == list(PHASES)
    machine.sh(f"rm {ROOT}/markers/skyward")
    failed = fails(0)
    assert (failed.phase, failed.command.split()[0]) == ("skyward", "tar")
    machine.becomes_a_node(image_for(DEBIAN), variables=variables)
    assert machine.completed() == list(PHASES)
