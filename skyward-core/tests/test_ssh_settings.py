"""The user's SSH configuration, read for one host."""

from __future__ import annotations

import getpass
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from skyward._ssh.ciphers import cipher_order, has_aes, is_authenticated
from skyward._ssh.keys import new_key_pair
from skyward._ssh.settings import Settings, config_files, settings_of
from skyward.errors import ConfigurationError

type Read = Callable[..., Settings]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    path = tmp_path / "config"

    def read(text: str, host: str = "node", port: int | None = None, username: str | None = None) -> Settings:
        path.write_text(text)
        return settings_of(host, port, username, (str(path),))

    return read


def test_without_a_configuration_a_host_is_itself(read: Read) -> None:
    found = read("")
    assert (found.host, found.port, found.username) == ("node", 22, getpass.getuser())
    assert found.identities is None
    assert found.known_hosts is None
    assert found.jump == ()


def test_what_is_given_goes_before_what_is_written(read: Read) -> None:
    text = "Host node\n HostName 10.0.0.1\n Port 2222\n User ubuntu\n"
    found = read(text)
    assert (found.host, found.port, found.username) == ("10.0.0.1", 2222, "ubuntu")
    found = read(text, port=22, username="root")
    assert (found.port, found.username) == (22, "root")


def test_keys_that_do_not_exist_are_left_out_and_named_with_their_line(
    read: Read, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    there = tmp_path / "there"
    there.touch()
    with caplog.at_level(logging.WARNING):
        found = read(f"Host *\n  IdentityFile {tmp_path}/gone\n  IdentityFile {there}\n")
    assert found.identities == (str(there),)
    assert f"{tmp_path}/config, line 2 names the key {tmp_path}/gone, which does not exist" in caplog.text


def test_a_line_of_an_included_file_is_named(read: Read, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "more").write_text(f"\nIdentityFile {tmp_path}/gone\n")
    with caplog.at_level(logging.WARNING):
        read(f"Include {tmp_path}/mo*\n")
    assert f"{tmp_path}/more, line 2" in caplog.text


@pytest.mark.parametrize("line", ["ConnectTimeout 10s", "ServerAliveInterval 1m", 'User "open', "Port"])
def test_a_line_that_cannot_be_read_is_named(read: Read, tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{tmp_path}/config, line 2: .*correct that line"):
        read(f"Host *\n{line}\n")


def test_no_file_of_known_hosts_is_not_the_same_as_none_named(read: Read) -> None:
    assert read("UserKnownHostsFile none\n").known_hosts == ()
    assert read("UserKnownHostsFile /a /b\n").known_hosts == ("/a", "/b")


def test_jumps_come_hop_by_hop(read: Read) -> None:
    assert read("ProxyJump me@first:22,second\n").jump == ("me@first:22", "second")
    assert read("ProxyJump none\n").jump == ()


def test_the_users_own_file_is_read_where_no_other_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config_files() == ()
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/config").touch()
    assert config_files() == (str(tmp_path / ".ssh/config"),)
    assert config_files(()) == ()


def test_ciphers_for_the_processor_go_first_but_not_before_the_users_own(read: Read) -> None:
    assert has_aes(["flags\t\t: fpu aes sse2"])
    assert has_aes(["Features\t: fp asimd aes"])
    assert not has_aes(["model name : x", "flags\t\t: fpu sse2 vaes_not"])
    assert has_aes([])
    assert cipher_order().startswith("^")
    assert is_authenticated("aes128-gcm@openssh.com")
    assert not is_authenticated("aes256-cbc")
    assert read("Ciphers aes256-ctr\n").ciphers


def test_a_key_is_shown_by_no_message() -> None:
    pair = new_key_pair("pool")
    assert pair.private not in repr(pair)
    assert pair.public in repr(pair)


def test_what_a_host_is_called_among_the_known_ones_is_read(read: Read) -> None:
    assert read("").alias == ""
    assert read("HostKeyAlias steady\n").alias == "steady"


@pytest.mark.parametrize("value", ["no", "off", "accept-new"])
def test_a_line_that_would_verify_less_is_named_with_the_reason_why_it_is_not_followed(
    read: Read, tmp_path: Path, value: str
) -> None:
    hint = read(f"Host *\n  StrictHostKeyChecking {value}\n").unfollowed
    assert f"{tmp_path}/config, line 2: StrictHostKeyChecking {value} is not followed" in hint
    assert read("Host *\n  StrictHostKeyChecking yes\n").unfollowed == ""
