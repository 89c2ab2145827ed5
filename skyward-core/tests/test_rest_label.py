"""Labels: they hold all that is needed, in characters that vendors take, and nobody has one by accident."""

from __future__ import annotations

import pickle
import re

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from skyward.errors import ConfigurationError
from skyward.spi import InstanceState, MachineLabel, PoolIdentity

moments = st.none() | st.integers(0, 10**12).map(lambda ms: ms / 1000)
words = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
labels = st.builds(
    MachineLabel,
    pool_id=words.filter(bool),
    node=st.integers(0, 10**8),
    owner=words,
    client=st.from_regex(r"[0-9a-f]{12}-[0-9]{1,7}-[0-9]{1,12}", fullmatch=True),
    deadline=moments,
    lease=moments,
)


@given(labels)
def test_a_label_is_read_as_it_was_written(label: MachineLabel) -> None:
    assert MachineLabel.read(label.text(2000)) == label
    assert pickle.loads(pickle.dumps(label)) == label


@given(labels, st.integers(120, 255))
def test_a_label_keeps_to_its_limit_and_cuts_the_owner_alone(label: MachineLabel, limit: int) -> None:
    label = evolve(label, pool_id="a1b2c3d4e5")
    text = label.text(limit)
    assert len(text) <= limit
    assert re.fullmatch(r"[a-z0-9:_-]+", text)
    read = MachineLabel.read(text)
    assert read is not None
    assert label.owner.startswith(read.owner)
    assert evolve(read, owner=label.owner) == label


@given(labels)
def test_a_name_is_one_of_dns(label: MachineLabel) -> None:
    assert re.fullmatch(r"skyward-[a-z0-9-]+-[0-9]+-[0-9a-f]{8}", label.name)
    assert len(label.name) <= 63
    assert "--" not in label.name


@given(label=labels, data=st.data())
def test_a_label_that_somebody_has_changed_is_none(label: MachineLabel, data: st.DataObject) -> None:
    text = label.text(2000)
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("0a:_-x").filter(lambda each: each != text[place]))
    assert MachineLabel.read(text[:place] + other + text[place + 1 :]) is None
    assert MachineLabel.read(text[:place]) is None
    assert MachineLabel.read(text + other) is None


@given(st.text() | st.from_regex(r"skyward(-|:)[a-z0-9:-]*"))
def test_what_strangers_call_their_machines_is_no_label(text: str) -> None:
    assert MachineLabel.read(text, None, f"{text}\n") is None


@pytest.mark.parametrize("name", ["skyward", "skyward-a1b2c3d4e5-0-00000000", "skyward:1:a:0:00000000:::::", "Skyward"])
def test_a_beginning_like_a_label_is_none(name: str) -> None:
    assert MachineLabel.read(name) is None


def test_a_label_is_found_among_other_tags() -> None:
    label = MachineLabel(pool_id="a1", node=0)
    assert MachineLabel.read("team:red", None, label.text()) == label


def test_no_two_labels_are_the_same() -> None:
    identity = PoolIdentity(pool_id="a1", owner="ada@host", deadline=1.5, lease=60, token=b"secret")
    assert MachineLabel.of(identity, 0) != MachineLabel.of(identity, 0)
    assert "secret" not in str(MachineLabel.of(identity, 0))


def test_a_machine_tells_what_its_label_does() -> None:
    label = MachineLabel(pool_id="a1", node=3, owner="ada@host", client="c-1-2", deadline=1234.5)
    machine = label.instance("i-1", InstanceState.RUNNING, ip="10.0.0.1", details={"port": 22})
    assert (machine.pool_id, machine.node, machine.owner, machine.client) == ("a1", 3, "ada@host", "c-1-2")
    assert machine.deadline == 1234.5
    assert machine.details["port"] == 22
    assert MachineLabel.read(str(machine.details["label"])) == label


def test_a_limit_that_is_too_short_for_what_must_be_told_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="shorter id"):
        MachineLabel(pool_id="p" * 80, node=0).text(64)
