"""What a vendor has published about its API, as OpenAPI: questions and answers are checked with it.

The files stand beside the repository, in ``shared/facts/vendors/specs`` or the folder that ``SKYWARD_VENDOR_SPECS``
names. Where they are missing nothing is checked.
"""

from __future__ import annotations

import fnmatch
import functools
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import yaml
from attrs import define, field
from openapi_schema_validator import OAS30ReadValidator, OAS30WriteValidator, OAS31Validator
from referencing import Registry
from referencing.jsonschema import DRAFT4, DRAFT202012

__all__ = ["SPECS", "Schema"]

SPECS = Path(os.environ.get("SKYWARD_VENDOR_SPECS") or Path(__file__).parents[4] / "shared/facts/vendors/specs")
_URI = "urn:vendor"


@define(eq=False)
class Schema:
    """One document of OpenAPI 3.0 or 3.1."""

    document: Mapping[str, Any]
    unknown: tuple[str, ...] = ()
    """What the document does not tell of and the API has, as ``GET /v1/balance`` or ``PUT /v1/asks/* 410``, ``*`` for
    anything: such questions and answers are not checked. Without an entry here, an answer of which the document does
    not tell is a problem, unless it says that there were too many questions or that the vendor is in trouble."""
    _registry: Any = field(init=False)
    _validators: dict[tuple[str, bool], Any] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        kind = DRAFT4 if self._old else DRAFT202012
        self._registry = Registry().with_resource(_URI, kind.create_resource(self.document))

    @classmethod
    def load(
        cls, name: str, *, patch: Callable[[dict[str, Any]], None] | None = None, unknown: Iterable[str] = ()
    ) -> Self | None:
        """The document of that file, or ``None`` where it is missing.

        ``patch`` may change it in place where it is known to say what the API does not do.
        """
        path = SPECS / name
        if not path.is_file():
            return None
        document = json.loads(_read(path))
        if patch is not None:
            patch(document)
        return cls(document, tuple(unknown))

    def request(self, method: str, path: str, body: Any) -> list[str]:
        """What is wrong with a question's body."""
        operation = self._operation(method, path)
        if operation is None or self._excused(f"{method} {path}"):
            return []
        if "requestBody" not in operation[1]:
            return []
        where, asked = self._at(f"{operation[0]}/requestBody", operation[1]["requestBody"])
        if body is None:
            return ["a body is missing"] if asked.get("required") else []
        return self._checked(where, asked, body, write=True)

    def response(self, method: str, path: str, status: int, body: Any) -> list[str]:
        """What is wrong with an answer."""
        if self._excused(f"{method} {path}") or self._excused(f"{method} {path} {status}"):
            return []
        operation = self._operation(method, path)
        if operation is None:
            return [f"the document has no {method} {path}"]
        responses = operation[1].get("responses", {})
        key = next((key for key in (str(status), f"{status // 100}XX", "default") if key in responses), None)
        if key is None:
            return [] if status == 429 or status >= 500 else ["the document tells of no such status"]
        where, told = self._at(f"{operation[0]}/responses/{key}", responses[key])
        if body is None:
            return ["a body is missing"] if told.get("content") else []
        return self._checked(where, told, body, write=False)

    # ---- inside

    @property
    def _old(self) -> bool:
        return str(self.document["openapi"]).startswith("3.0")

    def _excused(self, what: str) -> bool:
        return any(fnmatch.fnmatchcase(what, each.rstrip("/")) for each in self.unknown)

    def _operation(self, method: str, path: str) -> tuple[str, Mapping[str, Any]] | None:
        """Where in the document the operation stands, as a JSON pointer, and what is there."""
        path = path.rstrip("/")
        fits = [
            template
            for template, item in self.document["paths"].items()
            if method.lower() in item and _pattern(template).fullmatch(path)
        ]
        if not fits:
            return None
        template = min(fits, key=lambda each: each.count("{"))
        where = f"/paths/{_escaped(template)}/{method.lower()}"
        return where, self.document["paths"][template][method.lower()]

    def _at(self, where: str, value: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """The same, followed to what it refers to."""
        while "$ref" in value:
            where = str(value["$ref"]).removeprefix("#")
            value = functools.reduce(lambda found, key: found[_plain(key)], where.strip("/").split("/"), self.document)
        return where, value

    def _checked(self, where: str, told: Mapping[str, Any], body: Any, *, write: bool) -> list[str]:
        kinds = {kind: content for kind, content in told.get("content", {}).items() if "schema" in content}
        wanted = [kind for kind in kinds if re.match(r"application/([\w.-]+\+)?json", kind)]
        if isinstance(body, str) and any(kind.startswith("text/") for kind in kinds):
            return []
        if not wanted:
            return ["a body where the document has none"] if not kinds and body not in ("", {}) else []
        pointer = f"{where}/content/{_escaped(wanted[0])}/schema"
        errors = self._validator(pointer, write=write).iter_errors(body)
        return [f"{error.json_path}: {error.message[:300]}" for error in errors]

    def _validator(self, pointer: str, *, write: bool) -> Any:
        if (pointer, write) not in self._validators:
            old = OAS30WriteValidator if write else OAS30ReadValidator
            kind = old if self._old else OAS31Validator
            schema = {"$ref": f"{_URI}#{pointer}"}
            self._validators[pointer, write] = kind(schema, registry=self._registry)
        return self._validators[pointer, write]


@functools.cache
def _read(path: Path) -> str:
    """A document as JSON; those in YAML take long to read."""
    text = path.read_text()
    if path.suffix == ".json":
        return text
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return json.dumps(yaml.load(text, Loader=loader), default=str)


@functools.cache
def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{[^}]+\}", template.rstrip("/"))
    return re.compile("[^/]+".join(re.escape(part) for part in parts))


def _escaped(key: str) -> str:
    """A key as part of a JSON pointer in an address."""
    return key.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D")


def _plain(key: str) -> str:
    return key.replace("~1", "/").replace("~0", "~")
