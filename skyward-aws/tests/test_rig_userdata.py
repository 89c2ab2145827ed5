"""What the rig reads in user data, in all the forms that it may have."""

from __future__ import annotations

import gzip
import json
import subprocess
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rig.userdata import boot

CONFIG = """#cloud-config
ssh_keys: {ed25519_private: "secret\\n", ed25519_public: "public"}
ssh_authorized_keys: [one, two]
disable_root: false
bootcmd: [a b, [c, "d e"]]
runcmd: [[f]]
"""
PARTS = {"cloud-config": CONFIG, "cloud-boothook": "#cloud-boothook\nhook\n", "x-shellscript": "#!/bin/sh\nx\n"}


def test_a_cloud_config_is_read() -> None:
    made = boot(CONFIG.encode())
    assert made.host_keys == {"ssh_host_ed25519_key": "secret\n", "ssh_host_ed25519_key.pub": "public\n"}
    assert (made.authorized, made.root) == (["one", "two"], True)
    assert made.early == ["#!/bin/sh\na b\nc 'd e'\n"]
    assert made.late == ["#!/bin/sh\nf\n"]
    assert not made.problems


def test_parts_of_several_kinds_are_read_packed_or_not() -> None:
    whole = MIMEMultipart()
    for kind, text in PARTS.items():
        whole.attach(MIMEText(text, kind))
    for data in (whole.as_bytes(), gzip.compress(whole.as_bytes())):
        made = boot(data)
        assert made.authorized == ["one", "two"]
        assert made.early == ["#!/bin/sh\na b\nc 'd e'\n", "hook\n"]
        assert made.late == ["#!/bin/sh\nf\n", "#!/bin/sh\nx\n"]
        assert not made.problems


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("#cloud-config\nmounts: []\n", "'mounts'"),
        ("#cloud-config\nssh_deletekeys: false\n", "'ssh_deletekeys'"),
        ("#cloud-config\nwrite_files: [{path: /a, encoding: b64}]\n", "encoding of write_files"),
        ("#include\nhttp://example.com\n", "#include"),
    ],
)
def test_what_is_not_known_is_said(data: str, problem: str) -> None:
    assert problem in "".join(boot(data.encode()).problems)


def test_no_user_data_is_no_problem() -> None:
    assert boot(b"") == boot(b"\n")


@settings(max_examples=30)
@given(
    st.lists(
        st.text(st.characters(codec="utf-8", max_codepoint=0xFFFF, exclude_characters="\0")), min_size=1, max_size=3
    )
)
def test_a_command_as_a_list_gets_exactly_its_words(words: list[str]) -> None:
    """Beyond the first plane, the YAML that cloud-init reads is not quite JSON."""
    (script,) = boot(b"#cloud-config\n" + json.dumps({"bootcmd": [["printf", "%s|", *words]]}).encode()).early
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True)
    assert done.stdout.decode() == "".join(f"{word}|" for word in words)
