"""The rig as tests use it: started once, made new for each test, gone at the end."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections import Counter
from collections.abc import Mapping
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from .catalogue import IMAGES
from .faults import Faults, Lag
from .machines import Machine, Machines, abandoned, folder_of
from .market import Market
from .policies import Decision
from .proxy import serve
from .server import sweep
from .world import SECRET, World

__all__ = ["Rig"]

KEY = "AKIARIG0000000000001"
PLUGIN = "session-manager-plugin"


class Rig:
    """Moto behind the proxy. Without ``machines`` it is the API alone, and needs no podman."""

    def __init__(self, *, machines: bool = True, options: tuple[str, ...] = ()) -> None:
        self._machines = Machines(options=options) if machines else None
        for label in abandoned() if machines else ():
            sweep(label)
            shutil.rmtree(folder_of(label), ignore_errors=True)
        self._folder = self._machines.folder if self._machines else Path(tempfile.mkdtemp(prefix="rig-", dir="/tmp"))
        (self._folder / "images.json").write_text(json.dumps(IMAGES))
        label = self._machines.label if self._machines else ""
        self._moto = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("server.py")), str(self._folder), label],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the tests
        )
        assert self._moto.stdout is not None
        self.world = World(int(self._moto.stdout.readline()), self._machines)
        self._server, self._thread = serve(self.world)
        self._inside: dict[str, tuple[ThreadingHTTPServer, threading.Thread]] = {}

    # ---- where it is

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def endpoint_inside(self, region: str = "us-east-1") -> str:
        """The same for programs on the machines of a region."""
        assert self._machines is not None, "this rig has no machines"
        if region not in self._inside:
            self._inside[region] = serve(self.world, self._machines.gateway(region))
        address, port = self._inside[region][0].server_address[:2]
        return f"http://{address!s}:{port}"

    @property
    def programs(self) -> Path:
        """A folder for PATH, with the plugin of Session Manager."""
        folder = self._folder / "bin"
        if not folder.exists():
            folder.mkdir()
            plugin = Path(__file__).with_name("plugin.py")
            (folder / PLUGIN).write_text(f'#!/bin/sh\nexec {sys.executable} -P {plugin} "$@"\n')
            (folder / PLUGIN).chmod(0o755)
        return folder

    @property
    def environment(self) -> dict[str, str]:
        """What makes boto3 use the rig, and nothing of the user's."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    # ---- what a test sets

    @property
    def faults(self) -> Faults:
        return self.world.faults

    @property
    def market(self) -> Market:
        return self.world.market

    @property
    def lag(self) -> Lag:
        return self.world.lag

    def allow(self, *actions: str) -> None:
        """Allow these actions alone, as ``ec2:Describe*``; resources and conditions are not looked at."""
        self.world.policy = actions

    def enforce(self, document: Mapping[str, Any] | None) -> None:
        """Allow what a policy of IAM's allows, by actions, resources and conditions; ``None`` for everything."""
        with self.world.lock:
            self.world.document = document

    @property
    def decisions(self) -> list[Decision]:
        """What the policy was asked for, and which of its statements have allowed it."""
        with self.world.lock:
            return list(self.world.decisions)

    # ---- what a test looks at

    @property
    def calls(self) -> Counter[str]:
        """How often each action was called: ``calls["ec2:RunInstances"]``."""
        with self.world.lock:
            return Counter(f"{call.service}:{call.action}" for call in self.world.calls)

    def existing(self) -> list[str]:
        """The ids of the instances that are neither terminated nor about to be, whatever the API tells."""
        with self.world.lock:
            return [known.id for known in self.world.known.values() if not known.gone]

    def left(self, region: str = "us-east-1") -> dict[str, list[str]]:
        """What exists in a region beside what every account has; nothing of it may outlive a pool."""
        kinds = {
            "volume": ("DescribeVolumes", "volumeSet/item/volumeId"),
            "security-group": ("DescribeSecurityGroups", "securityGroupInfo/item/groupName"),
            "key-pair": ("DescribeKeyPairs", "keySet/item/keyName"),
            "launch-template": ("DescribeLaunchTemplates", "launchTemplates/item/launchTemplateName"),
        }
        found = {"instance": self.existing()}
        for kind, (action, path) in kinds.items():
            told = self.world.ec2(region, action, {})
            found[kind] = sorted(each.text or "" for each in told.iterfind(path))
        found["security-group"] = [name for name in found["security-group"] if name != "default"]
        return {kind: names for kind, names in found.items() if names}

    # ---- machines

    def machine(self, instance: str) -> Machine:
        """The container of an instance."""
        assert self._machines is not None, "this rig has no machines"
        return self._machines.by_id[instance]

    def reclaim(self, instance: str) -> None:
        """Take a spot instance back, with or without a notice before."""
        with self.world.lock:
            known = self.world.known[instance]
            self.world.terminate(known, "Server.SpotInstanceTermination", "Spot instance termination")

    # ---- its life

    def reset(self) -> None:
        """Make everything as it was at the start; machines are gone when this returns."""
        if self._machines is not None:
            with self.world.lock:
                for known in self.world.known.values():
                    known.gone = True
            self._machines.clear()
        with self.world.lock:
            url = f"http://127.0.0.1:{self.world.port}/moto-api/reset"
            urllib.request.urlopen(urllib.request.Request(url, method="POST")).close()
            self.world.__init__(self.world.port, self._machines, lock=self.world.lock)  # type: ignore[misc]

    @property
    def problems(self) -> list[str]:
        """What user data asked for that the rig cannot do, and machines that did not start."""
        return list(self._machines.problems) if self._machines is not None else []

    def close(self) -> None:
        """End everything."""
        for server, thread in ((self._server, self._thread), *self._inside.values()):
            server.shutdown()
            server.server_close()
            thread.join()
        if self._machines is not None:
            with self.world.lock:
                self.world.known.clear()
            self._machines.close()
        with contextlib.suppress(BrokenPipeError):
            self._moto.communicate(timeout=60)
