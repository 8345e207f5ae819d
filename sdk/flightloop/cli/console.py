"""The terminal that commands print to. What models, tools and users wrote can't steer it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.segment import Segment

from flightloop.shown import shown


class PlainConsole(Console):
    """Shows texts as ``flightloop.shown`` does.

    Colours are added behind this, from styles and not from text.
    """

    def render(self, renderable: Any, options: Any = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=shown(segment.text))
