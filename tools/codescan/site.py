"""Places in code that rules look at, with the values that are known there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from tools.codescan.node import Kind, Node
from tools.codescan.values import Value


@dataclass
class Scope:
    """A function, or what stands outside all functions, while its sites are judged."""

    node: Node
    module: Module
    owner: Node | None = None
    """The class around it."""
    calls: set[str] = field(default_factory=set)
    """Names of all calls in it, as written and as resolved."""

    @cached_property
    def texts(self) -> frozenset[str]:
        """Literal texts in it."""
        literals = (node.value for node in self.node.walk() if node.kind is Kind.LITERAL)
        return frozenset(value for value in literals if isinstance(value, str))


@dataclass
class Module:
    """Facts about the whole text that rules ask for."""

    tree: Node
    lines: list[str]
    calls: set[str] = field(default_factory=set)
    imports: frozenset[str] = frozenset()

    @cached_property
    def types(self) -> dict[str, str]:
        """Declared types by name, of all variables, fields and parameters."""
        return {
            node.name: node.type for node in self.tree.walk() if node.kind in (Kind.NAME, Kind.ASSIGN) and node.type
        }

    def line(self, number: int) -> str:
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""


@dataclass(frozen=True)
class Site:
    """A call, an assignment, a function or another place that a rule may match.

    Attributes:
        event: ``call``, ``assign`` (keyword arguments, dict entries and defaults too), ``compare``, ``function``,
            ``handler``, ``assert``, ``return``, ``raise``, ``class``, ``finally``.
        names: dotted names of the callee or the target, the resolved one last.
    """

    event: str
    node: Node
    names: tuple[str, ...]
    scope: Scope
    args: tuple[Value, ...] = ()
    keywords: Mapping[str, Value] = field(default_factory=dict)
    receiver: Value | None = None
    nodes: tuple[Node, ...] = ()
    """The nodes of ``args``."""

    @property
    def line(self) -> int:
        return self.node.line
