"""Section ``placeholders`` of a policy: personal data that the model must not see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import Field

from guardrails.rail_entries import PiiKind, Strict

EVERY = "*"
"""In ``tools``: all arguments of a tool."""


class PlaceholderPolicy(Strict):
    """Values of these ``kinds`` are replaced in every prompt by placeholders, such as ``[EMAIL_1]``.

    ``tools``: arguments that get the real values, by tool; ``*`` stands for all of a tool's. A call with a placeholder,
    or with personal data of these kinds, in another argument is refused. Tasks of sub-agents get the real values,
    because what holds for the caller's model holds for theirs.
    """

    kinds: tuple[PiiKind, ...] = Field(min_length=1)
    tools: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    def permits(self, tool: str, argument: str) -> bool:
        """Whether an argument of a tool gets real values."""
        named = self.tools.get(tool, ())
        return EVERY in named or argument in named

    def arguments_named(self) -> Iterator[tuple[str, str, str]]:
        """Yields triples: a field's path, and the tool and the argument that the field names."""
        for tool, names in self.tools.items():
            yield from ((f"placeholders.tools.{tool}", tool, name) for name in names if name != EVERY)


def all_of(policies: Sequence[PlaceholderPolicy | None]) -> PlaceholderPolicy | None:
    """Combines policies that hold together: all of their kinds, and only the arguments that each permits."""
    found = [policy for policy in policies if policy is not None]
    if len(found) < 2:
        return found[0] if found else None
    kinds = tuple(dict.fromkeys(kind for policy in found for kind in policy.kinds))
    first, *others = found
    named = {
        tool: {name for policy in found for name in policy.tools.get(tool, ())} - {EVERY}
        for tool in first.tools
        if all(tool in policy.tools for policy in others)
    }
    tools = {
        tool: (EVERY,)
        if all(EVERY in policy.tools[tool] for policy in found)
        else tuple(sorted(name for name in names if all(policy.permits(tool, name) for policy in found)))
        for tool, names in named.items()
    }
    return PlaceholderPolicy(kinds=kinds, tools=tools)
