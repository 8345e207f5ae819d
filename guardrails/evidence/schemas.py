"""All JSON Schemas that may apply to one value of a call: every alternative, with references followed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flightloop.schemas import referred

DEEPEST = 8
"""Most references and alternatives within each other that are followed."""
MOST = 32
"""Most branches of one value that are looked at."""
_BRANCHES = ("anyOf", "oneOf", "allOf")
_CHOSEN = ("const", "default")


@dataclass(frozen=True)
class Schemas:
    """The branches of a value's schema, and the whole schema that their references (``#/$defs/…``) refer to."""

    branches: tuple[dict[str, Any], ...]
    root: dict[str, Any]

    @classmethod
    def of(cls, root: Any) -> Schemas:
        return cls((), root if isinstance(root, dict) else {})._of([root])

    def _of(self, schemas: list[Any]) -> Schemas:
        found: list[dict[str, Any]] = []
        for schema in schemas:
            for branch in _expanded(schema, self.root, DEEPEST):
                if len(found) == MOST:
                    break
                found.append(branch)
        return Schemas(tuple(found), self.root)

    def has(self, name: str) -> bool:
        """Whether the schema names a property."""
        return any(name in _object(one, "properties") for one in self.branches)

    def at(self, name: str) -> Schemas:
        """Schemas of a property; of one that no branch names, those of the others (``additionalProperties``)."""
        named = [_object(one, "properties").get(name) for one in self.branches]
        return self._of([*named] if self.has(name) else [one.get("additionalProperties") for one in self.branches])

    @property
    def items(self) -> Schemas:
        return self._of([one.get("items") for one in self.branches])

    @property
    def formats(self) -> set[str]:
        return {one["format"] for one in self.branches if isinstance(one.get("format"), str)}

    def lists(self, value: Any) -> bool:
        """Whether the schema lists a value, or it is the default."""
        return self.sets(value) or any(value in _listed(one) for one in self.branches)

    @property
    def listed(self) -> list[Any]:
        """The values that an ``enum`` lists."""
        return [value for one in self.branches for value in _listed(one)]

    def sets(self, value: Any) -> bool:
        """Whether a value is the schema's constant or default."""
        return any(key in one and one[key] == value for one in self.branches for key in _CHOSEN)

    def lists_key(self, name: str) -> bool:
        names = self._of([one.get("propertyNames") for one in self.branches])
        return any(name in _listed(one) for one in names.branches)


def _expanded(schema: Any, root: dict[str, Any], left: int) -> Iterator[dict[str, Any]]:
    if not isinstance(schema, dict) or left == 0:
        return
    yield schema
    if isinstance(schema.get("$ref"), str):
        yield from _expanded(referred(root, schema["$ref"]), root, left - 1)
    for key in _BRANCHES:
        for branch in schema.get(key) or () if isinstance(schema.get(key), list) else ():
            yield from _expanded(branch, root, left - 1)


def _object(schema: dict[str, Any], key: str) -> dict[str, Any]:
    found = schema.get(key)
    return found if isinstance(found, dict) else {}


def _listed(schema: dict[str, Any]) -> list[Any]:
    found = schema.get("enum")
    return found if isinstance(found, list) else []
