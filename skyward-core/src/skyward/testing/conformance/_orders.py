"""Rules of orders that do not go as they should."""

from __future__ import annotations

from skyward.errors import ProviderError, QuotaExceeded, Transient, Unavailable
from skyward.model.instance import Instance
from skyward.testing._faults import Fault
from skyward.testing.conformance._account import Account
from skyward.testing.conformance._guarded import Guarded, living
from skyward.testing.conformance._kit import Broken, check
from skyward.testing.conformance._rules import ProviderRules, on_loop, playing

__all__ = ["OrderRules"]


class OrderRules(ProviderRules):
    """Whatever becomes of an order, no machine comes that nobody knows of, and none comes twice."""

    @on_loop
    async def test_a_lost_reply_makes_no_second_machine(self, account: Account) -> None:
        await _unclear(account, Fault.LOST_REPLY, "a lost reply to a create")

    @on_loop
    async def test_an_error_after_the_effect_makes_no_second_machine(self, account: Account) -> None:
        await _unclear(account, Fault.ERROR_AFTER_CREATE, "an error that came after the effect of a create")

    @on_loop
    async def test_an_error_before_the_effect_makes_no_second_machine(self, account: Account) -> None:
        await _unclear(account, Fault.ERROR_BEFORE_CREATE, "an error that came before the effect of a create")

    @on_loop
    async def test_a_partial_launch_loses_none_of_those_that_came(self, account: Account) -> None:
        vendor = playing(self, Fault.PARTIAL)
        session = await account.open()
        request = await account.order(session, 0, 1)
        vendor.inject(Fault.PARTIAL)
        answer = await session.attempt(request)
        vendor.reset()
        standing = account.standing() or set()
        if isinstance(answer, ProviderError):
            check(
                not standing,
                f"launch raised {_named(answer)} and left {', '.join(sorted(standing))} behind when fewer machines "
                "came than were asked for; return those that came",
            )
            answer = []
        came = _returned(answer, standing, "when fewer came than were asked for")
        nodes = [machine.node for machine in answer]
        check(
            len(set(nodes)) == len(nodes) and set(nodes) <= {0, 1},
            f"launch returned machines for the nodes {nodes} when fewer came than were asked for; give each machine "
            "one index of request.nodes, and use none twice",
        )
        rest = await account.launch(session, *sorted({0, 1} - set(nodes)))
        check(
            living((await session.describe([*came, *_ids(rest)])).values()) >= came,
            f"{', '.join(sorted(came))} is gone once the missing machines were launched; leave alone what runs",
        )

    @on_loop
    async def test_capacity_that_is_gone_is_unavailable(self, account: Account) -> None:
        vendor = playing(self, Fault.NO_CAPACITY)
        session = await account.open()
        request = await account.order(session, 0)
        vendor.inject(Fault.NO_CAPACITY)
        answer = await session.attempt(request)
        vendor.reset()
        if isinstance(answer, ProviderError):
            check(
                isinstance(answer, Unavailable),
                f"launch raised {_named(answer)} when the machine was sold out; raise Unavailable: it alone turns to "
                "the next offer without more ado",
            )
            _nothing(account, "a refused order")
        else:  # it has found room elsewhere
            check(answer, "launch returned no machine when it was sold out; raise Unavailable: no machine is no answer")
            _returned(answer, account.standing() or set(), "when the first place was sold out")
        await account.launch(session, 1)

    @on_loop
    async def test_a_quota_is_told_as_one(self, account: Account) -> None:
        vendor = playing(self, Fault.QUOTA)
        session = await account.open()
        request = await account.order(session, 0)
        vendor.inject(Fault.QUOTA, 4)
        answer = await session.attempt(request)
        vendor.reset()
        check(
            isinstance(answer, QuotaExceeded),
            f"launch gave {_named(answer)} when the account's limit or balance forbade the machine; raise "
            "QuotaExceeded, with the vendor's words: what users are to do about it is another thing",
        )
        _nothing(account, "a refused order")
        await account.launch(session, 1)


async def _unclear(account: Account, fault: Fault, what: str) -> None:
    """Order one machine when the answer does not say whether it was made."""
    vendor = playing(account.kit, fault)
    session = await account.open()
    request = await account.order(session, 0)
    before = vendor.creates()
    vendor.inject(fault)
    answer = await session.attempt(request)
    vendor.reset()
    sent = vendor.creates() - before
    check(
        sent == 1,
        f"{sent} creates reached the vendor for one machine after {what}; send each once, look the machine up by its "
        "tag when the answer is unclear, and raise Transient where it is not found",
    )
    standing = account.standing() or set()
    check(
        len(standing) <= 1,
        f"{', '.join(sorted(standing))} exist after {what}, and one machine was ordered; look the machine up by its "
        "tag before another one is created",
    )
    if isinstance(answer, ProviderError):
        check(
            isinstance(answer, (Transient, Unavailable)),
            f"launch raised {_named(answer)} after {what}; raise Transient, or Unavailable to turn to the next offer",
        )
        await account.until(lambda: account.unfound(session, what))
    else:
        _returned(answer, standing, f"after {what}")
    await _goes_on(account, session, standing)


async def _goes_on(account: Account, session: Guarded, standing: set[str]) -> None:
    """The session serves on: it ends what came, and buys another one."""
    if standing:
        await account.end(session, standing)
    await account.launch(session, 1)


def _returned(machines: list[Instance], standing: set[str], when: str) -> set[str]:
    """The ids of what was returned, which must be what there is."""
    ids = set(_ids(machines))
    unknown, untold = ids - standing, standing - ids
    check(not unknown, f"launch returned {', '.join(sorted(unknown))} {when}, which does not exist; return what does")
    if untold:
        raise Broken(
            f"{', '.join(sorted(untold))} exists and launch did not return it {when}; return every machine that came: "
            "core ends what it was not told of, and buys another one"
        )
    return ids


def _nothing(account: Account, after: str) -> None:
    left = account.standing() or set()
    check(
        not left,
        f"{', '.join(sorted(left))} exists after {after}; an error means that nothing was created: remove it first",
    )


def _named(answer: object) -> str:
    return f"{type(answer).__name__}: {answer}" if isinstance(answer, Exception) else f"{answer!r}"


def _ids(machines: list[Instance]) -> list[str]:
    return [machine.id for machine in machines]
