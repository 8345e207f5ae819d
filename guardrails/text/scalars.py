"""The strings, numbers and keys of a JSON value, as text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class KeysClash(Exception):
    """Two keys of an object became equal."""


def map_scalars(node: Any, visit: Callable[[str], str]) -> Any:
    """Applies ``visit`` to every string, key and number (as text) of a JSON value. Unchanged numbers keep their type.

    Raises:
        KeysClash: two keys of an object became equal.
    """
    if isinstance(node, dict):
        mapped = {visit(str(key)): map_scalars(value, visit) for key, value in node.items()}
        if len(mapped) < len(node):
            raise KeysClash
        return mapped
    if isinstance(node, list):
        return [map_scalars(item, visit) for item in node]
    if isinstance(node, bool) or node is None:
        return node
    text = str(node)
    replaced = visit(text)
    return node if replaced == text else replaced


def scalar_texts(node: Any) -> list[str]:
    """All strings, numbers and keys of a JSON value, as text."""
    seen: list[str] = []

    def note(text: str) -> str:
        seen.append(text)
        return text

    map_scalars(node, note)
    return seen
