"""Abstract values of the data flow: where a value comes from, and which checks it has passed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Final


class Level(IntEnum):
    """How far from outside a value may come."""

    CONSTANT = 0  # written in the code
    LOCAL = 1  # made by the program: results of calls without foreign arguments, fields
    PARAMETER = 2  # a function's parameter: whoever calls decides
    SOURCE = 3  # read from outside: a request, a socket, the command line


class Unknown:
    """Type of `UNKNOWN`, the value of what is not a literal; None is a literal."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()
EVERY = "*"
"""The topic of a check that holds for every rule except those about sizes."""
SIZE = "size"


@dataclass(frozen=True, slots=True)
class Value:
    """An abstract value."""

    level: Level = Level.LOCAL
    built: bool = False
    """Text put together from parts of which one is not constant."""
    labels: frozenset[str] = frozenset()
    """Kinds of sources, such as ``request`` or ``cli``."""
    roots: frozenset[str] = frozenset()
    """Names of variables and attributes that it was computed from."""
    clean: frozenset[str] = frozenset()
    """Topics that it was checked or escaped for."""
    origin: str = ""
    """Dotted name of the call that made it."""
    type: str = ""
    constant: Any = UNKNOWN
    text: str = ""
    """How it is written, if as a dotted name."""
    prefix: str = ""
    """Constant text that it begins with."""

    def is_clean(self, topic: str) -> bool:
        return topic in self.clean or (topic != SIZE and EVERY in self.clean)

    def outside(self, topic: str) -> bool:
        """Whether it may come from a caller or from outside, unchecked."""
        return self.level >= Level.PARAMETER and not self.is_clean(topic)

    def checked(self, topics: Iterable[str]) -> Value:
        return replace(self, clean=self.clean | frozenset(topics))


CONSTANT = Value(Level.CONSTANT)


def joined(values: Iterable[Value]) -> Value:
    """The value that depends on all of these: the highest level, clean only if each that is not constant is."""
    known = list(values)
    if len(known) == 1:
        return replace(known[0], constant=UNKNOWN, origin="", type="", text="")
    foreign = [value for value in known if value.level > Level.CONSTANT]
    if not foreign:
        return CONSTANT
    risky = [value for value in foreign if value.level >= Level.PARAMETER] or foreign
    return Value(
        level=max(value.level for value in foreign),
        built=any(value.built for value in foreign),
        labels=frozenset().union(*(value.labels for value in foreign)),
        roots=frozenset().union(*(value.roots for value in foreign)),
        clean=frozenset.intersection(*(value.clean for value in risky)),
    )
