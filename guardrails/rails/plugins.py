"""Rails of installed packages, by entry points of the group ``flightloop.rails``.

An entry point names a factory: a function that takes the entry's ``options``, a mapping, and returns a rail, an async
function from `guardrails.types.Checked` to `guardrails.types.Judgement`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from guardrails.rail_entries import PluginEntry
from guardrails.types import Checked, Judgement, Rail

GROUP = "flightloop.rails"
Factory = Callable[[Mapping[str, Any]], Rail]
Installed = Callable[[], Mapping[str, EntryPoint]]


def installed() -> dict[str, EntryPoint]:
    """Entry points of the group, by name."""
    return {one.name: one for one in entry_points(group=GROUP)}


def plugin_rail(entry: PluginEntry, known: Installed = installed) -> Rail:
    """Makes the rail. If no package has it, or its factory or the rail fails or is late, the stage blocks."""
    made: Rail | None = None
    problem = ""
    try:
        made = _made(entry, known())
    except Exception as error:  # the package's code may raise anything
        problem = f"{type(error).__name__}: {error}"

    async def check(checked: Checked) -> Judgement:
        if made is None:
            raise RuntimeError(f"the rail {entry.name} can't be used: {problem}")
        try:
            async with asyncio.timeout(entry.timeout_ms / 1000):
                return await made(checked)
        except TimeoutError:
            raise RuntimeError(f"the rail {entry.name} took longer than {entry.timeout_ms} ms") from None

    return check


def _made(entry: PluginEntry, known: Mapping[str, EntryPoint]) -> Rail:
    if entry.name not in known:
        names = ", ".join(sorted(known)) or "none"
        raise LookupError(f"no installed package has it in its entry points of {GROUP}; known: {names}")
    factory: Factory = known[entry.name].load()
    rail = factory(dict(entry.options))
    if not callable(rail):
        raise TypeError(f"its factory returned {type(rail).__name__}, not a rail")
    return rail
