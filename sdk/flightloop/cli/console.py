"""Console of the commands, safe against control characters in text of models, tools and users."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.segment import Segment

from flightloop.shown import shown


class PlainConsole(Console):
    """Console that filters text with ``flightloop.shown``.

    Colours come from styles, not from text, and are added later.
    """

    def render(self, renderable: Any, options: Any = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=shown(segment.text))
