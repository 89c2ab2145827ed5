"""EC2's word that it takes a spot machine back, from the machine's metadata to the pool."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import boto3
import pytest
from rig import machine as on_the_machine
from rig.rig import Rig

import skyward as sky
from skyward_aws import AWS
from skyward_aws._spot_notice import Metadata, notice_in

NOTICE = {"action": "terminate", "time": "2030-05-04T03:02:01Z"}
THEN = 1904094121.0


@pytest.mark.parametrize(("action", "verb"), [("terminate", "ends"), ("stop", "stops"), ("hibernate", "hibernates")])
def test_a_notice_says_what_happens_and_when(action: str, verb: str) -> None:
    said = notice_in(json.dumps({**NOTICE, "action": action}), THEN - 119.5)
    assert said == {"reason": f"EC2 {verb} this spot machine and takes it back", "seconds": 119.5}


@pytest.mark.parametrize("text", ["", "<html>", "[]", "3", '{"time": "2030-05-04T03:02:01Z"}', '{"action": "dance"}'])
def test_what_is_no_notice_says_nothing(text: str) -> None:
    assert notice_in(text, THEN) is None


@pytest.mark.parametrize("when", [None, "soon", 3])
def test_a_notice_without_a_time_is_one(when: object) -> None:
    said = notice_in(json.dumps({"action": "terminate", "time": when}), THEN)
    assert said is not None
    assert said["seconds"] is None


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    """The rig's metadata service, which serves the folder imds/meta-data."""
    monkeypatch.setattr(on_the_machine, "RIG", tmp_path)
    server = ThreadingHTTPServer(("127.0.0.1", 0), on_the_machine.Metadata)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_metadata_are_asked_with_a_token_that_is_renewed(service: ThreadingHTTPServer, tmp_path: Path) -> None:
    metadata = Metadata(("127.0.0.1", service.server_address[1]))
    assert metadata.action() is None
    on_the_machine.Metadata.tokens.clear()  # as when its time is over
    folder = tmp_path / "imds/meta-data/spot"
    folder.mkdir(parents=True)
    (folder / "instance-action").write_text(json.dumps(NOTICE))
    assert metadata.action() is None
    assert json.loads(metadata.action() or "") == NOTICE


def test_where_no_metadata_are_there_is_no_notice(service: ThreadingHTTPServer) -> None:
    port = service.server_address[1]
    service.shutdown()
    service.server_close()
    assert Metadata(("127.0.0.1", port)).action() is None


@pytest.mark.slow
def test_a_pool_hears_of_it_lets_the_task_end_and_replaces_the_node(aws: Rig, settings: AWS) -> None:
    @sky.compute
    def hold() -> str:
        gate = os.path.expanduser("~/gate")
        os.mkfifo(gate)
        print("ready")
        with open(gate) as pipe:
            return pipe.read().strip()

    @sky.compute
    def node() -> int:
        return sky.instance_info().node

    events: list[object] = []
    came = threading.Condition()

    def note(event: object) -> None:
        with came:
            events.append(event)
            came.notify_all()

    def until[E](kind: type[E]) -> E:
        def found() -> list[E]:
            return [each for each in events if isinstance(each, kind)]

        with came:
            assert came.wait_for(found, 120), f"no {kind.__name__} came"
            return found()[0]

    with sky.ComputePool(settings, allocation="spot", display="quiet", timeout=1800, on_event=note) as pool:
        [instance] = aws.existing()
        task = pool.submit(hold())
        until(sky.LogLine)
        now = time.time()
        aws.machine(instance).announce_interruption(120)
        preempted = until(sky.InstancePreempted)
        assert (preempted.instance_id, preempted.node) == (instance, 0)
        assert preempted.reason == "EC2 ends this spot machine and takes it back"
        assert preempted.deadline == pytest.approx(now + 120, abs=30)
        assert aws.existing() == [instance], "it is still there, with its task"
        aws.machine(instance).sh("echo held >~ubuntu/gate")
        assert task.result(120) == "held"
        assert node() >> pool == 0
        [other] = aws.existing()
        assert until(sky.NodeReplaced) == sky.NodeReplaced(0, instance, other)
        [[bought]] = [
            row["Instances"] for row in boto3.client("ec2").describe_instances(InstanceIds=[other])["Reservations"]
        ]
        assert bought["InstanceLifecycle"] == "spot"
    assert aws.left() == {}
