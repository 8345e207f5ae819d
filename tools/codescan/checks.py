"""Checks in Python, by the names that rule files use, for what conditions can't say."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tools.codescan.resource_checks import leak, race
from tools.codescan.secret_checks import redos, secrets, weak_random
from tools.codescan.shape_checks import endless, may_be_null, overflow, references
from tools.codescan.site import Site

Check = Callable[[list[Site]], Iterator[int]]
"""Maps the sites of one scope to the lines of findings."""

CHECKS: dict[str, Check] = {
    "endless": endless,
    "leak": leak,
    "lines": lambda sites: iter(()),  # of the text, not of its tree: the scanner looks at each line
    "may-be-null": may_be_null,
    "overflow": overflow,
    "race": race,
    "redos": redos,
    "references": references,
    "secrets": secrets,
    "weak-random": weak_random,
}
