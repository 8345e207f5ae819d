"""The tool that shows what there is: it reads a list and needs no argument, as ``list_courses`` does.

It comes before a call whose number the model lacks: a small model makes the number up, or asks the user for it, more
often than it looks the number up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agent.loop.run_dependencies import Toolbox
from flightloop.tool import ToolSpec
from tools.knowledge.words import words


def overview(toolbox: Toolbox, names: Iterable[str], missing: Sequence[str] = ()) -> str | None:
    """Name of the only such tool among ``names``; of several, the one about a missing argument. None: no such tool.

    Tools that return strangers' words are none: these taint a run that did not ask for them.

    Args:
        missing: names of arguments that the model has made up.
    """
    found = [spec for name in sorted(names) if name in toolbox and _shows_all(spec := toolbox.get(name))]
    if len(found) > 1:
        wanted = {word for name in missing for word in _words(name)}
        found = [spec for spec in found if wanted.intersection(_words(spec.name))]
    return found[0].name if len(found) == 1 else None


def _shows_all(spec: ToolSpec) -> bool:
    return not spec.writes and not spec.returns_untrusted and spec.agent is None and not spec.parameters.get("required")


def _words(name: str) -> set[str]:
    return set(words(name.replace("_", " "))) - {"id", "list"}
