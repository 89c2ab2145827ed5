"""What a vendor is asked, and what it answers. Values; no secret shows in a ``repr`` of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from attrs import field, frozen

__all__ = ["Answer", "Question", "Silence", "words"]

_WORDS = ("detail", "message", "error_description", "error_msg", "msg", "error", "errors", "title", "reason")
"""Where vendors put what they say to people, the most telling first."""
_TITLE = re.compile(r"<(title|h1)[^>]*>(.*?)</\1>", re.IGNORECASE | re.DOTALL)
_CODE = re.compile(r"^[a-z][a-z0-9]*([_.-][a-z0-9]+)+$")


@frozen
class Question:
    """A request.

    Attributes:
        method: ``"GET"``.
        path: below the endpoint, without a query: ``"/v2/pods"``.
        params: the query.
        body: what is sent as JSON; ``None`` for nothing.
    """

    method: str
    path: str
    params: Mapping[str, object] = field(factory=dict, repr=False)
    body: object = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@frozen(kw_only=True)
class Answer:
    """What a vendor answered.

    Attributes:
        status: of HTTP: 200.
        headers: by their names in lower case.
        body: the JSON, as Python has it; text where it is none; ``None`` where there is nothing. May hold secrets.
        method: of the question.
        path: of the question.
        words: what the vendor says to people, in one line, cut and without credentials: fit for a message.
    """

    status: int
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    body: object = field(default=None, repr=False)
    method: str = ""
    path: str = ""
    words: str = field(default="", repr=False)

    @property
    def code(self) -> str:
        """The vendor's own name of an error, where the body has one beside its words: ``"insufficient_funds"``."""
        if isinstance(self.body, Mapping):
            for key in ("code", "error_code", "error", "id", "type"):
                value = self.body.get(key)
                if isinstance(value, Mapping):
                    value = value.get("code")
                if isinstance(value, str) and (key in ("code", "error_code") or _CODE.match(value)):
                    return value
        return ""


@frozen(kw_only=True)
class Silence:
    """No answer has come.

    Attributes:
        sent: whether the question may have reached the vendor, and had its effect.
        why: in words.
        passing: whether another attempt may help.
    """

    sent: bool
    why: str
    passing: bool = True


def words(body: object) -> str:
    """What a body says to people; empty where there is nothing."""
    if isinstance(body, str):
        found = _TITLE.search(body)
        return " ".join((found[2] if found else body).split())
    if isinstance(body, Mapping):
        said = [text for key in _WORDS if key in body and (text := words(body[key]))]
        # A second field tells more where the first is a mere code: {"error": "bad_request", "msg": "..."}.
        picked = [text for each in said[:1] if (text := each)]
        picked += [each for each in said[1:] if picked and _CODE.match(picked[0]) and each != picked[0]][:1]
        if "errors" in body and isinstance(body["errors"], (list, tuple, Mapping)) and (more := words(body["errors"])):
            picked += [more] if more not in picked else []
        return ": ".join(picked) or ("" if not body else _plain(body) if not said else "")
    if isinstance(body, (list, tuple)):
        return "; ".join(text for each in body[:5] if (text := words(each)))
    return "" if body is None else str(body)


def _plain(body: object) -> str:
    return json.dumps(body, default=str)
