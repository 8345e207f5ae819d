"""Console of the commands, safe against control characters in text of models, tools and users."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.text import Text

from flightloop.shown import shown


class PlainConsole(Console):
    """Console that filters text with ``flightloop.shown``.

    Colours come from styles, not from text, and are added later.
    """

    def print(self, *objects: Any, soft_wrap: bool | None = None, **options: Any) -> None:
        """Prints as rich does, but wraps no lines of text in a file or a pipe, where programs read them."""
        if soft_wrap is None and not self.is_terminal:
            soft_wrap = all(isinstance(one, str | Text) for one in objects)
        super().print(*objects, soft_wrap=soft_wrap, **options)

    def render(self, renderable: Any, options: Any = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=shown(segment.text))


def counting_bar(console: Console) -> Progress:
    """Progress with a description, a bar, "3/17" and the time that is left. It shows nothing in a file or a pipe."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)
