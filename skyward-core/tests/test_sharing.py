"""The client's side of shared arguments: what is shared, by which name, and which slot is sent it."""

from __future__ import annotations

import gc
import pickle
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyward._codec import Payload, decode, encode_call
from skyward._sharing import Sharing
from skyward._uploads import Uploads

ABOVE = 8192


def encode(sharing: Sharing, *args: Any) -> Payload:
    return encode_call(args, {}, "f", print, sharing)


def names(payload: Payload) -> list[bytes]:
    assert payload.shared is not None
    return [digest for _, digest, *_ in pickle.loads(payload.shared.table)]


def arrived(payload: Payload) -> tuple[Any, ...]:
    """The arguments as a node gets them."""
    shared, buffers = payload.shared, list[Any](payload.buffers)
    assert shared is not None
    for position, digest, size, copied in pickle.loads(shared.table):
        assert shared.views[digest].nbytes == size
        buffers.insert(position, (bytearray if copied else bytes)(shared.views[digest]))
    args: tuple[Any, ...] = decode(payload.data, buffers)[0]
    return args


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of what was looked at as a whole."""
    sizes: list[int] = []

    def counting(view: memoryview, **options: Any) -> Any:
        sizes.append(view.nbytes)
        return blake2b(view, **options)

    monkeypatch.setattr("skyward._sharing.blake2b", counting)
    return sizes


@given(sizes=st.lists(st.sampled_from([10, 4096, ABOVE - 8, ABOVE, 3 * ABOVE]), max_size=6))
def test_what_is_large_is_shared_and_every_argument_arrives_in_its_place(sizes: list[int]) -> None:
    arrays = [np.full(size // 8, number, np.int64) for number, size in enumerate(sizes)]
    payload = encode(Sharing(ABOVE), *arrays, np.str_("text"))
    assert len(names(payload)) == sum(array.nbytes >= ABOVE for array in arrays)
    assert all(view.nbytes < ABOVE for view in payload.buffers)
    *found, text = arrived(payload)
    assert text == "text"
    assert len(found) == len(arrays)
    assert all(np.array_equal(one, other) for one, other in zip(found, arrays, strict=True))


def test_without_sharing_nothing_is_shared() -> None:
    payload = encode_call((np.zeros(ABOVE),), {}, "f", print)
    assert payload.shared is None
    assert len(payload.buffers) == 1


def test_a_name_is_that_of_the_content() -> None:
    one, same, other = np.zeros(ABOVE), np.zeros(ABOVE), np.ones(ABOVE)
    first, second = names(encode(Sharing(), one, [same])), names(encode(Sharing(ABOVE), other))
    assert first == []
    first = names(encode(Sharing(ABOVE), one, [same]))
    assert first[0] == first[1] != second[0]
    assert names(encode(Sharing(ABOVE), same)) == first[:1]


def test_an_array_is_looked_at_once_until_it_is_forgotten(hashed: list[int]) -> None:
    sharing, array = Sharing(ABOVE), np.zeros(ABOVE)
    before = names(encode(sharing, array))
    for view in (array, array[:], array.reshape(2, -1), array.reshape(2, -1).T):
        assert names(encode(sharing, {"nested": [view]})) == before
    assert hashed == [array.nbytes]
    assert names(encode(sharing, array[1:])) != before
    assert len(hashed) == 2
    array[0] = 1
    sharing.forget()
    assert names(encode(sharing, array)) != before


def test_what_is_to_be_copied_is_shared_when_it_comes_again_and_may_be_written_to_and_change() -> None:
    sharing = Sharing(4096, copied_below=ABOVE)
    small, large = np.zeros(ABOVE // 8 - 1), np.zeros(ABOVE // 8)
    assert len(names(encode(sharing, small, large))) == 1
    payload = encode(sharing, small, large)
    assert len(names(payload)) == 2
    one, two = arrived(payload)
    assert one.flags.writeable
    assert not two.flags.writeable
    small[0] = 1
    assert len(names(encode(sharing, small))) == 0
    assert arrived(encode(sharing, small))[0][0] == 1


def test_of_what_is_to_be_copied_the_latest_are_known_again() -> None:
    sharing, first = Sharing(4096, copied_below=ABOVE), np.full(600, -1)
    encode(sharing, first)
    for number in range(1024):
        encode(sharing, np.full(600, number))
    assert len(names(encode(sharing, first))) == 0
    assert len(names(encode(sharing, first))) == 1


def test_the_memory_of_an_array_that_has_ended_may_be_another_ones() -> None:
    sharing = Sharing(ABOVE)
    seen = set()
    for number in range(20):
        array = np.full(4 * ABOVE, number)  # mostly where the one before it was
        (name,) = names(encode(sharing, array))
        seen.add(name)
        del array
    assert len(seen) == 20
    gc.collect()
    assert not sharing._known


def test_an_array_is_not_kept_alive() -> None:
    import weakref

    sharing, array = Sharing(ABOVE), np.zeros((300, 300))
    ends = [weakref.ref(array), weakref.ref(part := array[:, ::2])]
    encode(sharing, array, part)
    assert sharing._copies
    del array, part
    gc.collect()
    assert [end() for end in ends] == [None, None]
    assert not sharing._copies


def test_bytes_are_shared_and_looked_at_once(hashed: list[int]) -> None:
    sharing, data = Sharing(ABOVE), bytes(range(256)) * 1000
    for _ in range(3):
        payload = encode(sharing, data)
        assert arrived(payload) == (data,)
        assert len(names(payload)) == 1
    assert hashed == [len(data)]
    for number in range(10):  # nobody tells when bytes end, so only a few are remembered, and kept
        encode(sharing, bytes([number]) * len(data))
    assert len(sharing._known) < 10


@pytest.mark.parametrize(
    "make",
    [
        lambda array: array[:, ::2],
        lambda array: array[::-1],
        lambda array: array.T[1:],
        lambda array: np.asfortranarray(array),
        lambda array: array.astype("M8[s]"),
        lambda array: array.astype("m8[s]").T,
        lambda array: array.astype("M8[D]")[:, ::2],
    ],
)
def test_arrays_in_any_order_are_shared_with_their_content_and_kind(hashed: list[int], make: Any) -> None:
    array = make(np.arange(40_000).reshape(200, 200))
    sharing = Sharing(4096)
    for _ in range(2):
        payload = encode(sharing, array)
        (found,) = arrived(payload)
        assert found.dtype == array.dtype
        assert np.array_equal(found, array)
        assert len(names(payload)) == 1
    assert hashed == [array.nbytes]


def test_a_memory_mapped_array_is_shared_and_arrives_as_a_plain_one(tmp_path: Path, hashed: list[int]) -> None:
    np.save(tmp_path / "array.npy", np.arange(40_000))
    mapped = np.load(tmp_path / "array.npy", mmap_mode="r")
    sharing = Sharing(4096)
    for part in (mapped, mapped[:20_000], mapped[::2]):
        for _ in range(2):
            payload = encode(sharing, part)
            (found,) = arrived(payload)
            assert type(found) is np.ndarray
            assert np.array_equal(found, part)
            assert len(names(payload)) == 1
    assert len(hashed) == 3


def test_arrays_of_objects_travel_as_ever() -> None:
    array = np.array([{"a": 1}, None] * 5000, dtype=object)
    payload = encode(Sharing(4096), array[::2])
    assert names(payload) == []
    (found,) = arrived(payload)
    assert found.tolist() == array[::2].tolist()


def test_one_object_given_twice_stays_one() -> None:
    array = np.zeros((100, 100))[:, ::2]
    one, (two,) = arrived(encode(Sharing(4096), array, [array]))
    assert one is two


# which slot is sent what

SLOTS, DIGESTS = range(3), (b"x", b"y")
EVENTS = st.lists(
    st.tuples(st.sampled_from(["want", "got", "lost"]), st.sampled_from(SLOTS), st.sampled_from(DIGESTS)), max_size=40
)


@given(events=EVENTS)
def test_each_content_is_on_its_way_to_one_slot_and_nobody_waits_in_vain(
    events: list[tuple[str, int, bytes]],
) -> None:
    uploads: Uploads[int] = Uploads()
    sending: dict[bytes, int] = {}
    wanting: set[tuple[int, bytes]] = set()
    for event, slot, digest in events:
        asking: list[tuple[int, bytes]] = []
        if event == "want":
            asking = [(slot, digest)]
        elif event == "got" and sending.get(digest) == slot:
            del sending[digest]
            wanting.discard((slot, digest))
            woken = uploads.ended(slot, digest)
            assert {(waiter, digest) for waiter in woken} == {pair for pair in wanting if pair[1] == digest}
            wanting -= {(waiter, digest) for waiter in woken}  # they find it
        elif event == "got":
            assert uploads.ended(slot, digest) == []
        else:
            mine = {name for name, sender in sending.items() if sender == slot}
            wanting = {pair for pair in wanting if pair[0] != slot}
            sending = {name: sender for name, sender in sending.items() if sender != slot}
            asking = uploads.gone(slot)
            assert set(asking) == {pair for pair in wanting if pair[1] in mine}
        for waiter, name in asking:
            wanting.add((waiter, name))
            if uploads.wanted(waiter, name):
                assert name not in sending
                sending[name] = waiter
        assert {name for _, name in wanting} == set(sending)
