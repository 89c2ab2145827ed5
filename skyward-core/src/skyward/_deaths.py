"""The sentences for tasks whose process or machine went away under them."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from skyward.errors import BudgetExhausted, NodeLost, OutcomeUnknown, PoolTimeout, SlotDied, TaskCancelled

if TYPE_CHECKING:
    from skyward._node import Node
    from skyward._scheduler import SlotKey
    from skyward._task import Task

__all__ = ["DEADLINE", "cut_off", "node_lost", "outcome_unknown", "slot_died", "was_cancelled"]

DEADLINE = "deadline"
"""The reason with which a machine takes its leave when the pool's time limit has come."""
_AGAIN = "if it may run twice, decorate it with @sky.compute(retry=1)"


def slot_died(task: Task, key: SlotKey, facts: dict[str, Any]) -> SlotDied:
    """Name what ended the process that ran the task."""
    node, slot = key
    number, code, words = facts["signal"], facts["exit_code"], facts.get("words")
    if facts["out_of_memory"]:
        how = (
            "was killed by the kernel because memory ran out; give the nodes more (memory=...), or run fewer tasks at "
        )
        how += "a time (concurrency=...)"
    elif number is not None:
        how = f"was killed by signal {number} ({_signal_name(number)})"
        if number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE):
            how += ": native code crashed" + ("" if words else "; see the log lines of this node")
        elif number == signal.SIGKILL:
            how += ": something on the node killed it"
    else:
        how = f"ended with exit code {code}: the function, or something that it called, left by os._exit"
    error = SlotDied(
        f"the process that ran {task.name} on node {node}, slot {slot} {how}; the slot itself was started anew",
        signal=number,
        exit_code=code,
        out_of_memory=facts["out_of_memory"],
        node=node,
        slot=slot,
    )
    if words:
        error.add_note("\n    ".join(["what it wrote last to standard error:", *words]))
    return error


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unnamed"


def outcome_unknown(task: Task, key: SlotKey) -> OutcomeUnknown:
    """The task began, and its result was lost with its process."""
    message = (
        f"{task.name} had begun on node {key[0]}, slot {key[1]}, but how it ended was lost with its process; {_AGAIN}"
    )
    return OutcomeUnknown(message, node=key[0], slot=key[1])


def node_lost(task: Task, node: Node, why: str) -> OutcomeUnknown | NodeLost:
    """The machine went away while it held the task."""
    if task.shares_fate:
        message = f"node {node.index} ({node.instance.id}) was lost while it ran {task.name} together with other slots "
        message += f"({why}), and the call ended with it on all of them; {_AGAIN}"
        return NodeLost(message, node=node.index, slot=task.place[1])
    message = f"node {node.index} ({node.instance.id}) was lost while it held {task.name} ({why}), and nobody can know "
    return OutcomeUnknown(f"{message}whether it ran; {_AGAIN}", node=node.index, slot=task.place[1])


def cut_off(task: Task, parameter: str) -> PoolTimeout:
    """The pool's time ran out under the task; it followed from this parameter of the pool's."""
    if parameter == "budget":
        return BudgetExhausted(
            f"{task.name} was cut off: the pool's machines have cost what its budget allows; raise budget=... of the "
            "pool (in dollars, None for no limit), or ask for fewer or cheaper machines"
        )
    message = f"{task.name} was cut off: the pool's machines have reached their time limit; raise timeout=... of the "
    return PoolTimeout(f"{message}pool (in seconds, None for no limit), or call pool.extend(seconds) in time")


def was_cancelled(task: Task) -> TaskCancelled:
    """Whoever sent the task does not want it any more."""
    return TaskCancelled(f"{task.name} was cancelled", node=task.place[0], slot=task.place[1])
