"""Machines without an open port: SSH through Session Manager, by the plugin that AWS has for it.

The plugin (https://github.com/aws/session-manager-plugin) is started as the AWS CLI starts it: the answer to
StartSession, region, operation, profile, the request and the endpoint are its arguments. Since 1.2.498 it takes, in
the place of the answer, the name of a variable that holds it, and forgets that at once: so the session's token, which
stands for the right to open the session, is never on a command line. Older ones are refused.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

from skyward import AuthenticationFailed, Unavailable
from skyward.spi import SshProxy

if TYPE_CHECKING:
    from skyward_aws._api import Api
    from skyward_aws._settings import AWS

__all__ = ["FALL_BACK", "Tunnels", "found_plugin"]

PLUGIN = "session-manager-plugin"
FALL_BACK = 45.0
"""Seconds for which an SSH port may be out of reach before Session Manager is tried: more than it takes from AWS's word
that a machine runs until its server answers."""
_SOURCE = (
    "https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-working-with-install-plugin.html"
)
_OLDEST = (1, 2, 498)
"""The first that takes the name of a variable, as of `LAST_PLUGIN_VERSION_WITHOUT_ENV_VAR` in the AWS CLI's
``sessionmanager.py``."""
_VARIABLE = "AWS_SSM_START_SESSION_RESPONSE"
"""How the name of the variable must begin."""
_ROLE = "a role with the policy AmazonSSMManagedInstanceCore"
_PATIENCE = 10.0


def found_plugin() -> str:
    """The path of the plugin.

    Raises:
        Unavailable: it is not installed, does not run, or is too old; with where to get it.
    """
    path = shutil.which(PLUGIN)
    if path is None:
        raise Unavailable(
            f"{PLUGIN}, by which AWS reaches machines without an open port, is not on PATH: see {_SOURCE}"
        )
    try:
        told = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=_PATIENCE, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable(f"{path} does not run ({error}): install it anew, see {_SOURCE}") from error
    version = re.fullmatch(r"\d+(\.\d+)+", told.strip())
    if version is None or tuple(map(int, version[0].split("."))) < _OLDEST:
        wanted = ".".join(map(str, _OLDEST))
        raise Unavailable(
            f"{path} is {told.strip()[:40] or 'of no version'}, which takes the token of a session only on its command "
            f"line, where every user of this machine could read it: install {wanted} or later, see {_SOURCE}"
        )
    return path


class Tunnels:
    """The sessions of one pool's machines.

    Args:
        api: the account.
        settings: the user's.
    """

    def __init__(self, api: Api, settings: AWS) -> None:
        self._api = api
        self._settings = settings
        self._plugin = ""

    async def check(self) -> None:
        """See that this machine has the plugin, and that machines will have a role by which they can be reached.

        Raises:
            Unavailable: one of these is not so.
        """
        await self._found()
        if self._settings.instance_profile is None and not await self._by_default():
            raise Unavailable(
                f"Session Manager reaches only machines that have {_ROLE}: name its instance profile in "
                "AWS(use_ssm=True, instance_profile=...), or turn on Default Host Management Configuration in Systems "
                "Manager"
            )

    async def _by_default(self) -> bool:
        """Whether all machines of the region get such a role from Systems Manager itself."""
        setting = "/ssm/managed-instance/default-ec2-instance-management-role"
        try:
            answer = await self._api.ask("get_service_setting", service="ssm", SettingId=setting)
        except (AuthenticationFailed, Unavailable):
            return False
        return str(answer["ServiceSetting"].get("SettingValue", "$None")) not in ("", "$None")

    async def _found(self) -> str:
        if not self._plugin:
            self._plugin = await asyncio.to_thread(found_plugin)
        return self._plugin

    async def to(self, instance: str) -> SshProxy:
        """The program that leads to a machine's SSH server, with a session of its own.

        Raises:
            AuthenticationFailed: ``ssm:StartSession`` is not allowed.
            Unavailable: there is no plugin, or the machine's agent has not reported.
            Transient: AWS cannot be reached.
        """
        plugin = await self._found()
        asked: dict[str, Any] = {
            "Target": instance,
            "DocumentName": "AWS-StartSSHSession",
            "Parameters": {"portNumber": ["22"]},
        }
        try:
            answer = await self._api.ask("start_session", service="ssm", **asked)
        except Unavailable as error:
            if "TargetNotConnected" not in str(error):
                raise
            raise Unavailable(
                f"{instance} has not reported to Systems Manager: it needs {_ROLE}, as by AWS(instance_profile=...), "
                "an image with the agent, and a way to ssm, ssmmessages and ec2messages of its region"
            ) from error
        session = {name: answer[name] for name in ("SessionId", "TokenValue", "StreamUrl")}
        return SshProxy(
            command=(
                plugin,
                _VARIABLE,
                self._api.region,
                "StartSession",
                self._settings.profile or "",
                json.dumps(asked),
                self._api.endpoint("ssm"),
            ),
            environment={_VARIABLE: json.dumps(session)},
        )
