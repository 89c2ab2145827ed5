"""Files for a container, as a tar that goes through a standard input: their contents stand on no command line."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping

__all__ = ["archive"]


def archive(files: Mapping[str, bytes | str]) -> bytes:
    """A tar of files that only their owner, root, may read."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(data)
            member.mode = 0o600
            tar.addfile(member, io.BytesIO(data))
    return packed.getvalue()
