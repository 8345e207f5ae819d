"""Attachments of a message: images with their readings, and tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from flightloop.content import ImagePart, Part, Table, TablePart, TextPart
from flightloop.events import RunCreated, RunEvent
from flightloop.predictions import Prediction
from flightloop.readings import ImageReading
from flightloop.runs import RunStatus

_DATA = re.compile(r"data:image/(?:png|jpeg|webp);base64,[A-Za-z0-9+/]+={0,2}")


@dataclass(frozen=True)
class AttachedImage:
    """An image of a message."""

    number: int  # from 1
    url: str
    """Data URL; empty if the event doesn't have the image itself."""
    reading: ImageReading | None
    """None: the platform didn't read it, because the model sees images itself."""


@dataclass(frozen=True)
class Attached:
    """Images and tables of a message, in order."""

    images: tuple[AttachedImage, ...] = ()
    tables: tuple[Table, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.images or self.tables)


def attached(events: Iterable[RunEvent]) -> Attached:
    """Attachments of the message that began a run."""
    created = next((event for event in events if isinstance(event, RunCreated)), None)
    if created is None:
        return Attached()
    urls = [part.image_url.url for part in created.input if isinstance(part, ImagePart)]
    read: Sequence[ImageReading | None] = created.readings
    if len(read) != len(urls):
        read = [None] * len(urls)
    images = [
        AttachedImage(number, url if _DATA.fullmatch(url) else "", reading)
        for number, (url, reading) in enumerate(zip(urls, read, strict=True), 1)
    ]
    tables = [part.table for part in created.input if isinstance(part, TablePart)]
    return Attached(tuple(images), tuple(tables))


def message_text(parts: Sequence[Part]) -> str:
    """The text of a message, without its tables."""
    return "\n".join(part.text for part in parts if isinstance(part, TextPart))


def charted(found: Prediction, given: Attached) -> int | None:
    """Number of the image, from 1, whose values the suggested chart shows; None: those of a table."""
    if found.evidence:
        return found.evidence[0].image  # evidence begins with the data that the chart shows
    return 1 if given.images else None


def charted_table(found: Prediction, given: Attached) -> int:
    """Number of the table, from 1, whose values the suggested chart shows if it shows those of a table."""
    series = found.evidence[0].series if found.evidence else ""
    return next((number for number, table in enumerate(given.tables, 1) if series in table.columns), 1)


def has_data(found: Prediction) -> bool:
    """Whether the prediction has what was read, apart from what a guardrail withholds."""
    return found.status in (RunStatus.SUCCEEDED, RunStatus.FAILED)


def withheld(found: Prediction, image: AttachedImage) -> bool:
    """Whether a guardrail keeps the reading of an image from the model and from predictions."""
    return has_data(found) and image.reading is not None and image.reading not in found.readings
