"""Images and tables of a run's input, as its model gets them.

A reading is checked like the result of a tool that returns texts of strangers, because it is one. An image that a model
sees itself was read by nobody, so that it taints the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agent.attachments.figures import characters, measures_of
from agent.attachments.shown import FRAME, readings_shown, tables_in, tables_shown, unshown
from agent.run.journal import Journal
from flightloop.content import ImagePart, Part, has_images
from flightloop.events import RunCreated
from flightloop.readings import ImageReading
from flightloop.runs import Run
from flightloop.tool import Effect, ToolSpec
from flightloop.verdicts import Action, Stage
from guardrails.aside import aside, on_behalf_of
from guardrails.types import Checked, CheckedCall, GuardContext, Guarding, Read, Ruling
from tools.vision.measures import Measures

READER = ToolSpec("read_image", "Reads an image.", {"type": "object"}, Effect.PURE, returns_untrusted=True)
TABLE = "attached_table"
"""Names the source of a value from a table that the user attached."""
WITHHELD = "[an image: a guardrail withheld what was read in it]"
WHOLE = 10**9
"""Characters within which all readings fit."""
TABLES_GONE = "a rail would redact the frame of a table, so that its cells would count as the user's words"
UNREAD = "[an image that could not be read]"


@dataclass(frozen=True)
class Given:
    """A run's input for its model: tables as text, images only if the model sees."""

    content: list[Part]
    readings: tuple[str, ...] = ()
    unread: bool = False
    """Whether the model gets images that nobody has read."""
    measures: tuple[Measures, ...] = ()
    """Numbers of the input's charts and tables."""


@dataclass(frozen=True)
class Attaching:
    """Makes the input of runs ready for their model.

    Args:
        characters: length of all readings, and of all tables, of one input.
        sees: whether the model takes images.
    """

    journal: Journal
    characters: int
    sees: bool

    async def given(self, run: Run) -> Given:
        created = await first_event(self.journal, run) if has_images(run.input) else None
        size = characters(created.input, created.readings) if created else characters(run.input)
        with on_behalf_of(run.tenant_id):
            return await aside(size, self._given, run.input, created)

    def _given(self, content: Sequence[Part], created: RunCreated | None) -> Given:
        shown = tables_shown(created.input if created else content, self.characters)
        if created is None:
            return Given(shown, measures=measures_of(content, ()))
        measures = measures_of(created.input, created.readings)
        read = tuple(readings_shown(created.readings, self.characters))
        if self.sees:
            return Given(shown, read, not read, measures)
        texts: list[Part] = [part for part in shown if not isinstance(part, ImagePart)]
        return Given(texts, read or (UNREAD,), measures=measures)


async def first_event(journal: Journal, run: Run) -> RunCreated:
    """The event that created a run. It has the data of the images, which the run itself lacks."""
    [created] = await journal.events(run.tenant_id, run.id, 0, 1)
    assert isinstance(created, RunCreated)
    return created


def checked_readings(readings: Sequence[str], context: GuardContext) -> Iterator[Checked]:
    """What the guard checks of readings."""
    for number, text in enumerate(readings, 1):
        yield Checked(Stage.TOOL_RESULT, text, context, reading_call(number))


def reading_call(number: int) -> CheckedCall:
    return CheckedCall(f"image_{number}", READER, {})


def image_reads(readings: Sequence[str], run_id: str | None = None) -> tuple[Read, ...]:
    """What the trail has of readings: results of a tool whose texts strangers write, without the platform's frame.

    Only whole lines of the frame are left out: a rail's label begins with a bracket too, and a stranger's words may
    follow it.
    """
    bodies = ("\n".join(line for line in text.splitlines() if not _is_frame(line)) for text in readings)
    return tuple(
        Read(f"image {number} {body}", READER.name, body, run_id=run_id) for number, body in enumerate(bodies, 1)
    )


def _is_frame(line: str) -> bool:
    return line in (WITHHELD, UNREAD) or FRAME.fullmatch(line) is not None


def keeps_tables(before: str, after: str) -> bool:
    """Whether a user's text has its tables after a redaction. Without their frames, their cells, which somebody else
    may have written, would count as the user's own words."""
    return len(tables_in(before)) == len(tables_in(after))


def table_reads(tables: Sequence[str], run_id: str | None = None) -> tuple[Read, ...]:
    """What the trail has of tables that the user attached: they may come from anybody, like images."""
    return tuple(Read(f"table {number} {body}", TABLE, body, run_id=run_id) for number, body in enumerate(tables, 1))


def readable(ruling: Ruling) -> str:
    """The text that a ruling allows the model to read."""
    return WITHHELD if ruling.action.severity >= Action.ASK.severity else ruling.text


async def let_through(
    guard: Guarding, readings: Sequence[ImageReading], context: GuardContext
) -> list[ImageReading | None]:
    """The readings that a guard lets through; None for one that it withholds or would redact.

    They are checked in full, also what is too long for a model, or not told to it, such as the names of axes.
    """
    with on_behalf_of(context.tenant_id):
        shown = await aside(characters((), readings), readings_shown, readings, WHOLE)
    texts = [f"{text}\n{unshown(reading)}" for text, reading in zip(shown, readings, strict=True)]
    found: list[ImageReading | None] = []
    for reading, checked in zip(readings, checked_readings(texts, context), strict=True):
        ruling = await guard.check(checked)
        kept = ruling.action.severity < Action.ASK.severity and ruling.text == checked.text
        found.append(reading if kept else None)
    return found
