"""Looks out, on a spot machine, for the word of EC2 that it takes the machine back. This file runs there by itself.

EC2 says so two minutes before, as a rule, in the machine's own metadata, where it wants to be asked every 5 s:
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html. The metadata are version 2,
which gives answers for a token alone:
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html.
"""

from __future__ import annotations

import datetime as dt
import http.client
import json
import os
import time

__all__ = ["Metadata", "notice_in"]

ADDRESS = ("169.254.169.254", 80)
EVERY = 5.0
"""Seconds between questions."""
PATIENCE = 2.0
"""Seconds for an answer, which comes from the machine's own host."""
TOKEN_LIVES = 21600
"""Seconds; the longest that there is."""


class Metadata:
    """The metadata service of a machine.

    Args:
        address: host and port.
    """

    def __init__(self, address: tuple[str, int] = ADDRESS) -> None:
        self._address = address
        self._token: str | None = None

    def action(self) -> str | None:
        """What EC2 is going to do to the machine, as JSON; ``None`` for nothing, or while nobody answers."""
        try:
            if self._token is None:
                lives = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_LIVES)}
                status, text = self._ask("PUT", "/latest/api/token", lives)
                if status != 200:
                    return None
                self._token = text
            status, text = self._ask(
                "GET", "/latest/meta-data/spot/instance-action", {"X-aws-ec2-metadata-token": self._token}
            )
        except (OSError, ValueError, http.client.HTTPException):  # asked again in a moment
            return None
        if status == 401:  # the token's time is over
            self._token = None
        return text if status == 200 else None

    def _ask(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
        connection = http.client.HTTPConnection(*self._address, timeout=PATIENCE)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


def notice_in(action: str, now: float) -> dict[str, object] | None:
    """What an answer says, as a node reports it; ``None`` for nothing. ``now`` is in seconds since the epoch."""
    try:
        said = json.loads(action)
        what = {"terminate": "ends", "stop": "stops", "hibernate": "hibernates"}[said["action"]]
    except (ValueError, TypeError, KeyError):
        return None
    try:
        seconds: float | None = round(dt.datetime.fromisoformat(said["time"]).timestamp() - now, 3)
    except (ValueError, TypeError, KeyError):
        seconds = None
    return {"reason": f"EC2 {what} this spot machine and takes it back", "seconds": seconds}


def main() -> None:
    """Ask until there is a notice, and print it. Ends as well once the supervisor of the node has."""
    metadata, supervisor = Metadata(), os.getppid()
    while os.getppid() == supervisor:
        action = metadata.action()
        notice = None if action is None else notice_in(action, time.time())
        if notice is not None:
            print(json.dumps(notice), flush=True)  # noqa: T201  the supervisor reads it
            return
        time.sleep(EVERY)


if __name__ == "__main__":
    main()
