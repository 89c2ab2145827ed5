"""What of the client's environment holds on its nodes, what does not, and what nobody gets to see of it."""

from __future__ import annotations

import base64
import logging
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyward import _surroundings
from skyward.model.image import Image
from skyward.spi import Surroundings, client_surroundings

type Around = Callable[..., Surroundings]


@pytest.fixture
def around(monkeypatch: pytest.MonkeyPatch) -> Around:
    """What a client has around it whose environment is this and nothing else."""
    monkeypatch.setattr(_surroundings, "_told", set())

    def set_up(**variables: str) -> Surroundings:
        for name in list(os.environ):
            monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return client_surroundings()

    return set_up


def test_proxies_and_indexes_are_passed_on_and_nothing_else(around: Around) -> None:
    passed = {
        "HTTPS_PROXY": "http://proxy.example:3128",
        "no_proxy": "localhost,.example",
        "UV_INDEX": "mine=https://index.example/simple https://other.example/simple",
        "UV_INDEX_MINE_USERNAME": "me",
        "UV_INDEX_MINE_PASSWORD": "a-secret-word",
        "UV_HTTP_TIMEOUT": "120",
        "PIP_INDEX_URL": "https://index.example/simple",
        "PIP_TRUSTED_HOST": "index.example",
    }
    mine = {"AWS_SECRET_ACCESS_KEY": "x", "PATH": "/bin", "UV_CACHE_DIR": "/tmp", "HTTP_PROXY": " ", "UV_PYTHON": "3"}
    assert dict(around(**passed, **mine).variables) == passed


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.8.7", "localhost", "proxy.localhost", "[::1]", "0.0.0.0"])
@pytest.mark.parametrize("scheme", ["http://", "socks5h://", ""])
@pytest.mark.parametrize("user", ["", "me:pass-word@"])
def test_a_proxy_on_the_clients_own_machine_is_left_out_and_the_log_says_so_once(
    around: Around, caplog: pytest.LogCaptureFixture, scheme: str, host: str, user: str
) -> None:
    with caplog.at_level(logging.INFO):
        found = around(HTTPS_PROXY=f"{scheme}{user}{host}:3128", HTTP_PROXY="proxy.example:3128")
        client_surroundings()
    assert dict(found.variables) == {"HTTP_PROXY": "proxy.example:3128"}
    [line] = caplog.messages
    assert "HTTPS_PROXY is not passed on to the nodes" in line
    assert host in line
    assert "pass-word" not in line


@pytest.mark.parametrize("name", ["UV_INDEX", "UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL"])
@pytest.mark.parametrize("here", ["http://localhost:3141/simple", "file:///opt/wheels", "/opt/wheels", "./wheels"])
def test_of_several_indexes_those_on_this_machine_are_left_out(
    around: Around, caplog: pytest.LogCaptureFixture, name: str, here: str
) -> None:
    mark = "mine=" if name == "UV_INDEX" else ""
    found = around(**{name: f"{mark}{here} https://index.example/simple"})
    assert dict(found.variables) == {name: "https://index.example/simple"}
    assert not around(**{name: mark + here}).variables
    assert f"{name} is not passed on" in caplog.text


def test_what_is_no_address_is_passed_on_for_whoever_reads_it_to_complain_of(around: Around) -> None:
    assert dict(around(HTTPS_PROXY="http://[").variables) == {"HTTPS_PROXY": "http://["}


def test_certificates_go_along_and_every_program_is_told_of_them(around: Around, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(b"PEM")
    found = around(SSL_CERT_FILE=str(bundle), UV_HTTP_TIMEOUT="9")
    assert found.certificates == b"PEM"
    there = found.environment("/there.pem")
    assert there.pop("UV_HTTP_TIMEOUT") == "9"
    assert set(there) == {"SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}
    assert set(there.values()) == {"/there.pem"}


def test_without_certificates_the_machine_trusts_what_it_trusts(around: Around) -> None:
    assert around().environment("/there.pem") == {}


def test_certificates_that_cannot_be_read_are_named(
    around: Around, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert around(SSL_CERT_FILE=str(tmp_path / "gone.pem")).environment("/there.pem") == {}
    assert f"SSL_CERT_FILE names {tmp_path}/gone.pem, which cannot be read" in caplog.text


def test_an_image_with_an_index_keeps_those_of_the_client_behind_it(around: Around) -> None:
    given = around(UV_INDEX="mine=https://index.example/simple").environment("/there.pem")
    image = Image(pip_extra_index_url="https://me:word@private.example/simple", env={"UV_HTTP_TIMEOUT": "5"})
    found = image.install_variables({**given, "UV_HTTP_TIMEOUT": "9"})
    assert found["UV_INDEX"] == "skyward=https://private.example/simple mine=https://index.example/simple"
    assert found["UV_HTTP_TIMEOUT"] == "5"
    assert found["UV_INDEX_SKYWARD_PASSWORD"] == "word"


words = st.text("abcXYZ019!$&*+,;-_.~@%:", min_size=6, max_size=20)


@given(words, st.sampled_from(["HTTPS_PROXY", "UV_INDEX", "PIP_INDEX_URL", "UV_INDEX_MINE_PASSWORD"]), st.booleans())
def test_no_form_of_a_credential_stays_in_a_text(word: str, name: str, encoded: bool) -> None:
    shown = quote(word, safe="") if encoded else word
    bare = name.endswith("PASSWORD")
    value = word if bare else f"https://somebody:{shown}@host.example/simple"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(name, value)
        found = client_surroundings()
    assert found.variables[name] == value
    basic = base64.b64encode(f"somebody:{word}".encode()).decode()
    text = f"cannot reach {value} with [{word}] or [{shown}]" + ("" if bare else f", Authorization: Basic {basic}")
    hidden = found.redact(text)
    assert word not in hidden
    assert bare or shown not in hidden
    assert basic not in hidden
    assert hidden.startswith("cannot reach ")


def test_a_proxy_without_a_scheme_has_its_credentials_hidden_as_well(around: Around) -> None:
    found = around(HTTPS_PROXY="somebody:pass-word@proxy.example:3128")
    assert (
        found.redact("no answer from somebody:pass-word@proxy.example:3128") == "no answer from ***@proxy.example:3128"
    )


def test_no_repr_shows_a_value_and_the_whole_pickles(around: Around, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(b"secret-bytes")
    found = around(HTTPS_PROXY="http://me:secret-word@proxy.example", SSL_CERT_FILE=str(bundle))
    assert "secret" not in repr(found)
    assert pickle.loads(pickle.dumps(found)) == found
