"""One line of text for every event, and how loud it is."""

from __future__ import annotations

import logging
import time

from skyward._display.text import clean, duration, money
from skyward.model import events as ev

__all__ = ["level", "line"]

# An event for each task, sample or update tells a person little, and costs a program with short tasks much.
_DEBUG = (ev.TaskStarted, ev.Metrics, ev.CostUpdate)
_WARNING = (ev.InstancePreempted, ev.TimeoutApproaching)


def level(kind: type[ev.SkywardEvent]) -> int:
    """The level of `logging` at which events of this class are told."""
    if kind is ev.Error:
        return logging.ERROR
    if kind in _WARNING:
        return logging.WARNING
    return logging.DEBUG if kind in _DEBUG else logging.INFO


def line(event: ev.SkywardEvent) -> str:
    """``[Name] what happened``, on one line, without control characters other than tabs."""
    return f"[{type(event).__name__}] {clean(_said(event))}"


def _said(event: ev.SkywardEvent) -> str:  # noqa: C901, PLR0911, PLR0912 - a short case for each
    match event:
        case ev.InfraCreating():
            return "Creating infrastructure"
        case ev.ClusterProvisioned():
            return f"Cluster ready in {event.region}"
        case ev.InstanceLaunching():
            return f"Launching {event.count} x {event.instance_type} on {event.provider}{_terms(event)}"
        case ev.InstanceLaunched():
            return f"Launching instance {event.instance_id}..."
        case ev.InstanceRunning():
            return f"Instance running ({event.ip})" if event.ip else "Instance running"
        case ev.InstanceProvisioned():
            return f"Instance provisioned, starting bootstrap{_price(event)}"
        case ev.BootstrapStarting():
            return f"Bootstrap of {event.instance_id} started"
        case ev.BootstrapPhase():
            took = f" ({duration(event.seconds)})" if event.seconds is not None else ""
            return f"Phase '{event.step}' {event.state}{took}"
        case ev.InstanceBootstrapped():
            return "Bootstrap complete"
        case ev.NodeReady():
            return f"Node {event.node} ready"
        case ev.ClusterReady():
            return f"Cluster ready with {event.nodes} node(s)"
        case ev.TaskStarted():
            return f"Task {event.task_id} ({event.name}) started on node {event.node}, slot {event.slot}"
        case ev.TaskCompleted():
            return _task(event)
        case ev.Metrics():
            return _metrics(event)
        case ev.LogLine():
            return f"node {event.node}: {event.line}"
        case ev.CostUpdate():
            cost, rate = money(event.accumulated_cost), money(event.hourly_rate)
            return f"{cost} after {duration(event.elapsed_seconds)}, {rate} an hour"
        case ev.InstancePreempted():
            return f"Node {event.node} is taken away: {event.reason}{_until(event.deadline)}"
        case ev.NodeReplaced():
            return f"Node {event.node} replaced: {event.new_instance_id} for {event.old_instance_id}"
        case ev.TimeoutApproaching():
            left = duration(event.seconds_left)
            moves = "; pool.extend() moves it" if event.parameter == "timeout" else ""
            return f"The pool's {event.parameter} ends its machines in {left}{_until(event.deadline)}{moves}"
        case ev.Error():
            return f"{event.instance_id}: {event.message}" if event.instance_id else event.message
        case ev.PoolStopping():
            return "Stopping the pool"
        case ev.InstanceStopping():
            return f"Stopping instance {event.instance_id}"
        case ev.CostFinal():
            return _bill(event)
        case ev.ClusterDestroyed():
            return "Cluster terminated"


def _task(event: ev.TaskCompleted) -> str:
    if event.succeeded:
        return f"Task completed in {duration(event.seconds)}"
    why = f": {event.error}" if event.error else ""
    return f"Task {event.task_id} ({event.name}) failed on node {event.node} after {duration(event.seconds)}{why}"


def _terms(event: ev.InstanceLaunching) -> str:
    market = "spot" if event.market == "spot" else "on demand"
    price = f", {money(event.price)} an hour each" if event.price else ""
    return f" ({market}, {event.region}{price})" if event.region else ""


def _price(event: ev.InstanceProvisioned) -> str:
    price = event.price_spot if event.spot else event.price_on_demand
    return f" ({'spot' if event.spot else 'on demand'}, {money(price)} an hour)" if price else ""


def _metrics(event: ev.Metrics) -> str:
    used, total = event.memory_used_mb, event.memory_total_mb
    said = f"node {event.node}: cpu {event.cpu_percent:.0f}%, memory {used:.0f}/{total:.0f} MiB"
    if event.gpu_utilization is not None:
        said += f", gpu {event.gpu_utilization:.0f}%"
    if event.gpu_memory_used_mb is not None and event.gpu_memory_total_mb is not None:
        said += f", gpu memory {event.gpu_memory_used_mb:.0f}/{event.gpu_memory_total_mb:.0f} MiB"
    if event.gpu_temperature is not None:
        said += f", {event.gpu_temperature:.0f} °C"
    return said


def _bill(event: ev.CostFinal) -> str:
    said = f"Total cost {money(event.total_cost)} for {duration(event.total_seconds)}"
    if round(event.savings_vs_ondemand, 4) > 0:
        said += f", {money(event.savings_vs_ondemand)} less than on demand"
    return said


def _until(deadline: float | None) -> str:
    return "" if deadline is None else f", at {time.strftime('%H:%M:%S', time.localtime(deadline))}"
