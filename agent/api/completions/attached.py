"""Images and tables of a completion's messages, as its model gets them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from agent.api.deps import ApiDeps
from agent.api.intake import take_in
from agent.attachments.figures import characters, measures_of
from agent.attachments.images import Sender, check_number
from agent.attachments.shown import budget, readings_shown, tables_shown
from agent.loop.attached import checked_readings, readable
from flightloop.chat import ChatMessage
from flightloop.content import ImagePart, TextPart, has_images
from flightloop.readings import ImageReading
from flightloop.subject import Subject
from guardrails.aside import aside, on_behalf_of
from guardrails.types import Checked, GuardContext, Ruling
from tools.vision.measures import Measures


@dataclass(frozen=True)
class Attached:
    """Messages whose tables are text and whose images are stored forms, and what was read in them.

    If the model does not see, each image has a reading, and ``for_model`` replaces the images.
    """

    messages: list[ChatMessage]
    owners: list[int] = field(default_factory=list)
    """Index of each reading's message."""
    readings: tuple[str, ...] = ()
    unread: bool = False
    """Whether the model gets images that nobody has read."""
    measures: tuple[Measures, ...] = ()
    """Numbers of all charts and tables, facts about the answer."""

    def to_check(self, context: GuardContext) -> list[Checked]:
        return list(checked_readings(self.readings, context))

    def for_model(self, messages: Sequence[ChatMessage], rulings: Sequence[Ruling]) -> list[ChatMessage]:
        """The messages, as redacted by the guard, with the readings in place of the images."""
        texts: dict[int, list[TextPart]] = {}
        for owner, ruling in zip(self.owners, rulings, strict=True):
            texts.setdefault(owner, []).append(TextPart(text=readable(ruling)))
        return [
            message.model_copy(update={"content": [*_without(message), *texts[index]]}) if index in texts else message
            for index, message in enumerate(messages)
        ]


async def attached(deps: ApiDeps, messages: Sequence[ChatMessage], tenant_id: str, subject: Subject | None) -> Attached:
    """Takes in the images of all messages, and reads them if the model does not see.

    Raises:
        InvalidRequest, UnsupportedContent, Overloaded: an image can't be used.
    """
    can = deps.model.capabilities
    most = budget(can.context_length)
    parts = [part for message in messages for part in message.content]
    with on_behalf_of(tenant_id):
        given, tables = await aside(characters(parts), _tables, messages, most, native="table" in can.parts)
    if not any(has_images(message.content) for message in given):
        return Attached(given, measures=tables)
    check_number([message.content for message in given], "messages")
    policy = deps.catalogue.guard().policy
    sender = Sender(tenant_id, policy.document.egress.hosts, policy.name, subject.id if subject else None)
    owners: list[int] = []
    found: list[ImageReading] = []
    for index, message in enumerate(given):
        taken = await take_in(deps, message.content, sender, f"messages[{index}].content", read=not can.sees)
        given[index] = _with(message, taken.content)
        owners += [index] * len(taken.readings)
        found += taken.readings
    with on_behalf_of(tenant_id):
        read, measures = await aside(characters((), found), _read, found, most)
    return Attached(given, owners, read, unread=can.sees, measures=(*measures, *tables))


def _tables(
    messages: Sequence[ChatMessage], most: int, *, native: bool
) -> tuple[list[ChatMessage], tuple[Measures, ...]]:
    given = [_with(message, tables_shown(message.content, most, native=native)) for message in messages]
    return given, measures_of([part for message in messages for part in message.content], ())


def _read(found: Sequence[ImageReading], most: int) -> tuple[tuple[str, ...], tuple[Measures, ...]]:
    return tuple(readings_shown(found, most)), measures_of((), found)


def _with(message: ChatMessage, content: Sequence[object]) -> ChatMessage:
    return message if content == message.content else message.model_copy(update={"content": list(content)})


def _without(message: ChatMessage) -> Iterator[object]:
    return (part for part in message.content if not isinstance(part, ImagePart))
