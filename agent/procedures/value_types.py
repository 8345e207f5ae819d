"""Compares values with the annotation of a function's result in Python."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

_PLAIN: dict[str, tuple[type, ...]] = {
    "int": (int,), "float": (int, float), "complex": (int, float, complex), "str": (str,), "bytes": (bytes,),
    "bool": (bool,), "list": (list,), "tuple": (tuple,), "dict": (dict,), "set": (set,),
}  # fmt: skip


def mistyped(results: Sequence[tuple[str, str]], annotation: ast.expr) -> tuple[str, str] | None:
    """The first call whose value is not of the annotated type; None if there is none.

    An annotation often leaves out that a result may be None, so None counts only if all calls return it.

    Args:
        results: calls and the texts of their values. Values that are no literals are of any type.
    """
    known = [(call, ast.literal_eval(value)) for call, value in results if _is_literal(value)]
    if known and all(value is None for _, value in known):
        return (known[0][0], "None") if not _fits(None, annotation) else None
    wrong = (call for call, value in known if value is not None and not _fits(value, annotation))
    call = next(wrong, None)
    return None if call is None else (call, dict(results)[call])


def _is_literal(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _fits(value: Any, annotation: ast.expr) -> bool:
    """Whether a value is of a type. Types that are not known here hold any value."""
    match annotation:
        case ast.Constant(value=None):
            return value is None
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _fits(value, left) or _fits(value, right)
        case ast.Name(id=name):
            kinds = _PLAIN.get(name.lower())
            return kinds is None or isinstance(value, kinds)
        case ast.Subscript(value=ast.Name(id=name), slice=inner):
            return _fits_items(value, name.lower(), inner.elts if isinstance(inner, ast.Tuple) else [inner])
    return True


def _fits_items(value: Any, name: str, inner: list[ast.expr]) -> bool:
    if name in ("optional", "union"):
        return (name == "optional" and value is None) or any(_fits(value, one) for one in inner)
    kinds = _PLAIN.get(name)
    if kinds is None:
        return True
    if not isinstance(value, kinds):
        return False
    match value:
        case tuple():
            return _fits_tuple(value, inner)
        case dict():
            return len(inner) != 2 or all(_fits(key, inner[0]) and _fits(one, inner[1]) for key, one in value.items())
        case list() | set():
            return all(_fits(one, inner[0]) for one in value)
    return True


def _fits_tuple(value: tuple[Any, ...], inner: list[ast.expr]) -> bool:
    if len(inner) == 2 and isinstance(inner[1], ast.Constant) and inner[1].value is Ellipsis:
        return all(_fits(one, inner[0]) for one in value)
    return len(value) == len(inner) and all(map(_fits, value, inner))
