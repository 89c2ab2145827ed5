"""The credentials of volumes on their way to a machine, with a real SSH server."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ssh_machine import Machine

from skyward.errors import BootstrapError
from skyward.model.bootstrap import Step
from skyward.model.image import Image
from skyward.model.volume import S3Volume
from skyward.model.volumes import Mount, S3Credentials, secrets_file

SECRET = "Zm9yLW5vYm9keQ"


def test_credentials_come_to_a_file_of_their_owner_alone_and_are_hidden_in_what_is_told(
    sshd: Any, machine: Machine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    own = [Mount(volume=S3Volume("/data", "my-data"), credentials=S3Credentials("AKIAMINE", SECRET))]
    asked: list[asyncio.AbstractEventLoop] = []

    async def mounts() -> Sequence[Mount]:
        asked.append(asyncio.get_running_loop())
        return own

    async def work() -> None:
        transport = machine.transport(sshd.address(), root=str(tmp_path), mounts=mounts)
        with pytest.raises(BootstrapError) as raised:
            await transport.bootstrap(Image(), machine.report, [Step("uv", f"echo it is {SECRET}\nrun false")])
        await transport.close()
        assert "it is " in raised.value.output
        assert SECRET not in str(raised.value) + raised.value.output
        assert asked == [asyncio.get_running_loop()]

    asyncio.run(work())
    file = tmp_path / "volumes.env"
    assert os.stat(file).st_mode & 0o777 == 0o600
    assert file.read_bytes() == secrets_file(own)
    assert SECRET not in caplog.text
