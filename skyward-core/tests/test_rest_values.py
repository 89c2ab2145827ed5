"""The pure parts of a vendor's client: what a pause means, what is a secret, what vendors say, and values of JSON."""

from __future__ import annotations

import email.utils
from typing import Any

import pytest
from attrs import field, frozen
from hypothesis import assume, given
from hypothesis import strategies as st

from skyward._rest.answer import Answer, words
from skyward._rest.secrets import LONGEST, Secrets
from skyward._rest.structure import Misfit, structured
from skyward._rest.waiting import retry_after

# ---- Retry-After


@given(st.integers(0, 10**6))
def test_a_pause_in_seconds(seconds: int) -> None:
    assert retry_after({"retry-after": str(seconds)}, now=5.0) == min(seconds, 7 * 86400)


@given(now=st.integers(0, 2**33), later=st.integers(-1000, 10**5), skew=st.integers(-(10**6), 10**6))
def test_a_pause_as_a_date_counts_from_the_vendors_own_time(now: int, later: int, skew: int) -> None:
    assume(now + later >= 0)
    until = email.utils.formatdate(now + later, usegmt=True)
    assert retry_after({"retry-after": until}, now=float(now)) == max(later, 0)
    date = email.utils.formatdate(now, usegmt=True)
    assert retry_after({"retry-after": until, "date": date}, now=float(now + skew)) == max(later, 0)


@given(st.text() | st.sampled_from(["", "nan", "inf", "-inf", "soon", "Mon, 99 Foo 2020", "1e400", "0, 0"]))
def test_whatever_a_vendor_writes_is_a_pause_or_none(text: str) -> None:
    found = retry_after({"retry-after": text, "date": text}, now=0.0)
    assert found is None or 0 <= found <= 7 * 86400


# ---- secrets


@given(secret=st.from_regex(r"[!-~]{6,60}", fullmatch=True), around=st.text(max_size=50), twice=st.booleans())
def test_a_secret_is_struck_out_wherever_it_stands(secret: str, around: str, twice: bool) -> None:
    assume(secret.lower() not in ("bearer", "apikey"))
    hidden = Secrets([f"Bearer {secret}"])
    text = f"{around}{secret}{around}{secret * twice}"
    assert secret not in hidden.strike(text)
    assert secret not in hidden.cut(text)
    assert secret not in hidden.clean(text)
    assert secret not in repr(hidden)


@given(st.text(max_size=2000))
def test_words_are_cut_to_one_line_that_can_be_shown(text: str) -> None:
    line = Secrets().cut(text)
    assert len(line) <= LONGEST
    assert line.isprintable()


def test_data_that_somebody_has_encoded_is_struck_out_and_names_are_not() -> None:
    said = f"pod 3f2a8c1e-5b7d-4e9f-8a6b-1c2d3e4f5a6b has the key {'QUJD' * 30}= of type ssh-ed25519"
    assert Secrets().strike(said) == "pod 3f2a8c1e-5b7d-4e9f-8a6b-1c2d3e4f5a6b has the key *** of type ssh-ed25519"
    path = "/v1/instances/3f2a8c1e-5b7d-4e9f-8a6b-1c2d3e4f5a6b/volumes/3f2a8c1e-5b7d-4e9f-8a6b-1c2d3e4f5a6b"
    assert Secrets().strike(f"GET {path} and https://moon.example{path}").count(path) == 2


# ---- what vendors say


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (None, ""),
        ("API requests too frequent", "API requests too frequent"),
        ("<html><head><title>502 Bad\n Gateway</title></head></html>", "502 Bad Gateway"),
        ({"title": "Bad Request", "status": 400, "detail": "no longer any instances"}, "no longer any instances"),
        ({"id": "unauthorized", "message": "unable to authenticate you"}, "unable to authenticate you"),
        ({"error": {"message": "insufficient funds", "code": "x"}}, "insufficient funds"),
        ({"success": False, "error": "no_such_ask", "msg": "ask 12 is gone"}, "ask 12 is gone"),
        ({"error": "invalid_args"}, "invalid_args"),
        ({"detail": "contract", "errors": [{"message": "gpu.id: unknown"}]}, "contract: gpu.id: unknown"),
        ([{"message": "a"}, {"message": "b"}], "a; b"),
        ({"odd": 1}, '{"odd": 1}'),
    ],
)
def test_a_vendors_words_are_found(body: object, said: str) -> None:
    assert words(body) == said


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"code": "insufficient_funds", "message": "x"}, "insufficient_funds"),
        ({"success": False, "error": "no_such_ask"}, "no_such_ask"),
        ({"error": {"code": "no_capacity"}}, "no_capacity"),
        ({"error": "Something went wrong"}, ""),
        ("text", ""),
    ],
)
def test_a_vendors_name_of_an_error_is_found(body: object, code: str) -> None:
    assert Answer(status=400, body=body).code == code


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda parts: (
            st.lists(parts) | st.dictionaries(st.sampled_from(["error", "detail", "errors", "message", "x"]), parts)
        ),
    )
)
def test_whatever_a_vendor_answers_can_be_read(body: object) -> None:
    assert isinstance(words(body), str)
    assert isinstance(Answer(status=500, body=body).code, str)


# ---- values


@frozen
class Inner:
    id: str


@frozen
class Thing:
    id: str
    count: int
    price: float
    ready: bool = False
    gpu_ram: int | None = None
    memory: int = field(default=0, metadata={"key": "memory_in_gigabytes"})
    parts: tuple[Inner, ...] = ()
    extra: dict[str, Any] = field(factory=dict)


def test_a_value_is_made_of_what_vendors_write() -> None:
    body = {
        "id": 12,
        "count": "3",
        "price": "0.25",
        "ready": True,
        "gpuRam": 80.0,
        "memory_in_gigabytes": 16,
        "parts": [{"id": "a", "new": {}}],
        "extra": {"x": [1]},
        "unknown": None,
    }
    assert structured(body, Thing) == Thing("12", 3, 0.25, True, 80, 16, (Inner("a"),), {"x": [1]})


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"id": None}, "$.id"),
        ({"id": ["a"]}, "$.id"),
        ({"count": "many"}, "$.count"),
        ({"count": 1.5}, "$.count"),
        ({"count": True}, "$.count"),
        ({"price": "NaN"}, "$.price"),
        ({"ready": "false"}, "$.ready"),
        ({"parts": [{"id": "a"}, {}]}, "$.parts[1].id"),
        ({"parts": 5}, "$.parts"),
    ],
    ids=str,
)
def test_what_is_of_another_kind_is_named_by_its_path(change: dict[str, object], path: str) -> None:
    with pytest.raises(Misfit) as caught:
        structured({"id": "a", "count": 1, "price": 1} | change, Thing)
    assert f"@ {path}" in str(caught.value)


def test_null_counts_as_missing_where_there_is_a_default() -> None:
    body = {"id": "a", "count": 1, "price": 1, "ready": None, "parts": None, "memory_in_gigabytes": None}
    assert structured(body, Thing) == Thing("a", 1, 1.0)


@pytest.mark.parametrize("body", [None, "text", [], 5])
def test_what_is_no_object_is_no_value(body: object) -> None:
    with pytest.raises(Misfit):
        structured(body, Thing)


def test_a_bare_text_is_a_text() -> None:
    assert structured("b8a1", str) == "b8a1"
