"""What an account has beside instances: keys, scripts, volumes."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from fakes.server import Refusal, Reply, Request, VendorServer, route

__all__ = ["SOLD_OUT", "Shelves", "now", "refused"]

CODES = {
    400: ("invalid_request", "invalid request"),
    401: ("unauthorized_request", "unauthorized"),
    402: ("insufficient_funds", "insufficient funds"),
    403: ("forbidden_action", "forbidden"),
    404: ("not_found", "not found"),
    429: ("too_many_requests", "too many requests"),
    503: ("service_unavailable", "service unavailable"),
}
SOLD_OUT = {"code": "service_unavailable", "message": "Not enough resources are available for this instance type"}


def refused(status: int, message: str = "") -> Refusal:
    code, said = CODES[status]
    return Refusal(status, {"code": code, "message": message or said})


def now() -> str:
    """In the vendor's form."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Shelves(VendorServer):
    """Keys, scripts and volumes, which are kept until somebody removes them."""

    def clear(self) -> None:
        """Nothing is there."""
        self.keys: dict[str, dict[str, Any]] = {}
        self.scripts: dict[str, dict[str, Any]] = {}
        self.volumes: dict[str, dict[str, Any]] = {}
        self.trash: set[str] = set()
        """Volumes that were deleted, and not for good: they are billed for another 96 hours."""

    def problem(self, status: int) -> Reply:
        code, message = CODES.get(status, ("server_error", "something went wrong"))
        return Reply(status, {"code": code, "message": message})

    def unfit(self, request: Request, problems: list[str]) -> Reply | None:
        return Reply(400, {"code": "invalid_request", "message": "; ".join(problems)})

    def add(self, where: dict[str, dict[str, Any]], **facts: Any) -> str:
        name = str(uuid.uuid4())
        where[name] = {"id": name, **facts, "created_at": now()}
        return name

    def volume(self, name: str, size: int, where: str, instance: str | None) -> str:
        status = "attached" if instance else "detached"
        facts = {"name": name, "size": size, "type": "NVMe", "status": status, "location": where}
        return self.add(self.volumes, **facts, instance_id=instance, is_os_volume=instance is not None)

    @route("GET", "/v1/sshkeys")
    def list_keys(self, request: Request) -> Reply:
        return Reply(200, list(self.keys.values()))

    @route("POST", "/v1/sshkeys")
    def add_key(self, request: Request) -> Reply:
        body = request.body
        if any(each["key"].split()[1] == body["key"].split()[1] for each in self.keys.values()):
            raise refused(400, "The same key is there already")
        return Reply(201, self.add(self.keys, name=body["name"], key=body["key"], fingerprint="cc:dd"))

    @route("DELETE", "/v1/sshkeys/{id}")
    def remove_key(self, request: Request) -> Reply:
        return self._removed(self.keys, request.args["id"])

    @route("GET", "/v1/scripts")
    def list_scripts(self, request: Request) -> Reply:
        return Reply(200, list(self.scripts.values()))

    @route("POST", "/v1/scripts")
    def add_script(self, request: Request) -> Reply:
        return Reply(201, self.add(self.scripts, name=request.body["name"], script=request.body["script"]))

    @route("DELETE", "/v1/scripts/{id}")
    def remove_script(self, request: Request) -> Reply:
        return self._removed(self.scripts, request.args["id"])

    @route("GET", "/v1/volumes")
    def list_volumes(self, request: Request) -> Reply:
        return Reply(200, list(self.volumes.values()))

    @route("DELETE", "/v1/volumes/{id}")
    def remove_volume(self, request: Request) -> Reply:
        name = request.args["id"]
        if name not in self.volumes:
            raise refused(404)
        if self.volumes[name]["instance_id"] is not None:
            raise refused(400, "The volume is attached")
        del self.volumes[name]
        if not (request.body or {}).get("is_permanent"):
            self.trash.add(name)
        return Reply(202)

    def _removed(self, where: dict[str, dict[str, Any]], name: str) -> Reply:
        if where.pop(name, None) is None:
            raise refused(404)
        return Reply(200)
