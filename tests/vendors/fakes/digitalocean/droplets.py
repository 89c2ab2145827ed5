"""One droplet, and what the API tells of it."""

from __future__ import annotations

from typing import Any

from attrs import define, field

from .catalogue import IMAGES, VPC

__all__ = ["Droplet", "told"]


@define(eq=False)
class Droplet:
    """A droplet.

    Attributes:
        looks: how many looks at it find it new.
        lag: how many lists do not tell of it.
        listed: how many lists there were since it is there.
        public: its address in the internet, which is told of one that is active.
        private: its address in the VPC.
        strange: nobody's business here.
    """

    id: int
    name: str
    size: dict[str, Any]
    region: str
    image: str | int
    tags: list[str]
    keys: list[str] = field(factory=list)
    user_data: str = ""
    vpc: str = VPC
    looks: int = 0
    lag: int = 0
    listed: int = 0
    status: str = "new"
    public: str = "127.0.0.1"
    private: str = "127.0.0.1"
    strange: bool = False

    @property
    def gpu(self) -> bool:
        """Whether it is a GPU droplet, which plain lists leave out."""
        return "gpu_info" in self.size


def told(droplet: Droplet, region: str) -> dict[str, Any]:
    """The droplet as the API tells it."""
    size = droplet.size
    networks: list[dict[str, Any]] = []
    if droplet.status != "new":
        private = {"ip_address": droplet.private, "netmask": "255.255.240.0", "gateway": "", "type": "private"}
        public = {
            "ip_address": droplet.public,
            "netmask": "255.255.240.0",
            "gateway": "104.236.0.1",
            "type": "public",
        }
        networks = [private, public]
    slug = droplet.image if isinstance(droplet.image, str) else ""
    distribution, name = IMAGES.get(slug, ("Ubuntu", "my image"))
    return {
        "id": droplet.id,
        "name": droplet.name,
        "memory": size["memory"],
        "vcpus": size["vcpus"],
        "disk": size["disk"],
        "locked": False,
        "status": droplet.status,
        "kernel": None,
        "created_at": "2026-11-22T10:00:00Z",
        "features": ["private_networking"],
        "backup_ids": [],
        "next_backup_window": None,
        "snapshot_ids": [],
        "image": {
            "id": 7_555_620,
            "name": name,
            "type": "base",
            "distribution": distribution,
            "slug": slug or None,
            "public": bool(slug),
            "regions": [droplet.region],
            "created_at": "2026-05-01T10:00:00Z",
            "min_disk_size": 7,
            "size_gigabytes": 0.7,
            "description": "",
            "tags": [],
            "status": "available",
            "error_message": "",
        },
        "volume_ids": [],
        "size": size,
        "size_slug": size["slug"],
        "networks": {"v4": networks, "v6": []},
        "region": {
            "name": region,
            "slug": droplet.region,
            "features": ["metadata"],
            "available": True,
            "sizes": [size["slug"]],
        },
        "tags": list(droplet.tags),
        "vpc_uuid": droplet.vpc,
        **({"gpu_info": size["gpu_info"]} if droplet.gpu else {}),
    }
