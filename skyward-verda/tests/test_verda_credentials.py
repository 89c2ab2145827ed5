"""Where credentials come from, the tokens that are got for them, and that nobody is told of either."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.verda import Fake

from skyward import AuthenticationFailed, Transient
from skyward.testing._hurry import hurried
from skyward_verda._credentials import found

FILE = """
[default]
verda_client_id = from-default
verda_client_secret = a%sb

[lab]
verda_base_url = https://api.verda.com/v1
verda_client_id = from-lab
verda_client_secret = lab-secret
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The vendor's file, in the place where its own programs look for it."""
    path = tmp_path / "verda" / "credentials"
    path.parent.mkdir(exist_ok=True)
    path.write_text(FILE)
    return path


def refusal(profile: str | None = None) -> str:
    with pytest.raises(AuthenticationFailed) as caught:
        found(profile)
    assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args
    return str(caught.value)


def test_the_variables_go_before_the_file_and_a_profile_that_is_asked_for_before_the_variables(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert found(None).id == "from-default"
    monkeypatch.setenv("VERDA_CLIENT_ID", "from-variable")
    monkeypatch.setenv("VERDA_CLIENT_SECRET", "secret")
    assert found(None).id == "from-variable"
    assert found("lab").id == "from-lab"


def test_a_secret_is_taken_as_it_stands_in_the_file(file: Path) -> None:
    assert found(None).secret == "a%sb"


def test_the_variables_of_the_vendors_own_programs_name_profile_and_file(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERDA_PROFILE", "lab")
    assert found(None).id == "from-lab"
    other = tmp_path / "other"
    other.write_text("[lab]\nverda_client_id = elsewhere\nverda_client_secret = x\n")
    monkeypatch.setenv("VERDA_SHARED_CREDENTIALS_FILE", str(other))
    assert found(None).id == "elsewhere"


def test_no_credentials_are_told_with_the_variables_and_the_file() -> None:
    assert "set VERDA_CLIENT_ID and VERDA_CLIENT_SECRET" in refusal()
    assert "~/.verda/credentials" in refusal()


def test_half_of_the_variables_is_told_by_the_name_of_the_other_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERDA_CLIENT_ID", "an-id")
    assert refusal().startswith("VERDA_CLIENT_SECRET is not set")


def test_a_profile_that_is_not_there_is_told_with_those_that_are(file: Path) -> None:
    assert "no profile 'lob', but default, lab" in refusal("lob")


def test_a_file_that_is_not_as_it_should_be_is_told_without_its_content(file: Path) -> None:
    file.write_text("verda_client_secret = very-secret\n")
    assert "not an INI file" in refusal()
    file.write_text("[default]\nverda_client_secret = very-secret\n")
    assert "lacks verda_client_id" in refusal()
    file.write_bytes(b"\xff\xfe very-secret")
    assert "not UTF-8" in refusal()
    for profile in (None, "default"):
        assert "very-secret" not in refusal(profile)


def test_credentials_show_nothing_of_themselves(file: Path) -> None:
    assert "lab-secret" not in repr(found("lab"))
    assert "from-lab" not in repr(found("lab"))


# ---- tokens


def asked_for_tokens(fake: Fake) -> int:
    return len(fake.asked("POST /v1/oauth2/token"))


def test_wrong_credentials_are_told_with_where_they_came_from(
    verda_api: Fake, opened: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("VERDA_CLIENT_SECRET", "this-is-not-the-secret")
    caplog.set_level(logging.DEBUG)

    async def main() -> None:
        async with opened():
            raise AssertionError

    with pytest.raises(AuthenticationFailed, match="set VERDA_CLIENT_ID and VERDA_CLIENT_SECRET") as caught:
        asyncio.run(main())
    assert "this-is-not-the-secret" not in str(caught.value) + caplog.text
    assert asked_for_tokens(verda_api) <= 2


def test_one_token_serves_all_questions_that_are_asked_side_by_side(verda_api: Fake, opened: Any) -> None:
    async def main() -> None:
        async with opened() as session:
            await asyncio.gather(*(session.list_owned() for _ in range(20)))

    asyncio.run(main())
    assert asked_for_tokens(verda_api) == 1


def test_a_token_is_renewed_before_it_runs_out(verda_api: Fake, opened: Any) -> None:
    verda_api.token_life = 600

    async def main() -> None:
        with hurried() as clock:
            async with opened() as session:
                for seconds in (500.0, 45.0):
                    await clock.sleep(seconds)
                    await session.list_owned()

    asyncio.run(main())
    assert asked_for_tokens(verda_api) == 2
    assert {seen.status for seen in verda_api.asked("GET *")} == {200}


def test_a_token_that_is_refused_in_its_lifetime_is_renewed_once(verda_api: Fake, opened: Any) -> None:
    async def main() -> None:
        async with opened() as session:
            verda_api.revoke()
            assert await session.list_owned() == []

    asyncio.run(main())
    assert asked_for_tokens(verda_api) in (2, 3), "two questions at once may both be refused"


def test_a_vendor_that_gives_out_no_tokens_for_a_while_is_asked_again(verda_api: Fake, opened: Any) -> None:
    verda_api.faults.fail("POST /v1/oauth2/token", 503, times=2)
    verda_api.faults.lose("POST /v1/oauth2/token", effect=False)

    async def main() -> None:
        with hurried():
            async with opened():
                pass

    asyncio.run(main())
    assert asked_for_tokens(verda_api) == 4


def test_a_vendor_that_gives_out_no_tokens_at_all_is_told_as_a_passing_failure(verda_api: Fake, opened: Any) -> None:
    verda_api.faults.fail("POST /v1/oauth2/token", 503, times=100)

    async def main() -> float:
        with hurried() as clock:
            start = clock.monotonic()
            with pytest.raises(Transient, match=r"POST /oauth2/token with 503: .*; try again later$"):
                async with opened():
                    raise AssertionError
            return clock.monotonic() - start

    assert asyncio.run(main()) < 25, "repeated by the question alone, not by the token's as well"


def test_neither_secret_nor_token_is_logged(
    verda_api: Fake, opened: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    verda_api.faults.fail("GET /v1/instances", 500, body={"code": "server_error", "message": "?"}, times=1)

    async def main() -> None:
        with hurried():
            async with opened() as session:
                assert verda_api.client[1] not in repr(session.rest)
                await session.list_owned()

    asyncio.run(main())
    for secret in (verda_api.client[1], *verda_api.tokens):
        assert secret not in caplog.text
