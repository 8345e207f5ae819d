"""The input of a task's turn: its text, with the table and the image that the user sends along."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from agent.attachments.images import Images, Sender
from agent.evals.databases import check_plain
from agent.evals.task import Task, TaskError, Turn
from agent.models.chat_model import ChatModel
from flightloop.content import Part, TextPart
from flightloop.errors import FlightloopError
from flightloop.parts import image_part, table_part
from flightloop.readings import ImageReading

SENDER = Sender("default")


async def input_of(
    turn: Turn, text: str, task: Task, data: Path, images: Images, model: ChatModel
) -> tuple[list[Part], list[ImageReading]]:
    """The turn's input, and what was read in its image if the model doesn't see.

    Args:
        text: what the user says.
        data: folder of the tools' data, which has the files.

    Raises:
        TaskError: a file is missing, or no CSV file or image.
    """
    parts: list[Part] = [TextPart(text=text)]
    try:
        if turn.table is not None:
            parts.append(table_part(_file(data, turn.table)))
        if turn.image is None:
            return parts, []
        parts.append(image_part(_file(data, turn.image)))
        taken = await images.take(parts, SENDER, "turns", read=not model.capabilities.sees)
    except (FlightloopError, TaskError) as error:
        raise TaskError(f"task {task.id}: {error.message}") from None
    except ValidationError as error:
        raise TaskError(f"task {task.id}: {turn.table}: {error.errors()[0]['msg']}") from None
    return taken.content, taken.readings


def _file(data: Path, name: str) -> Path:
    path = data / name
    check_plain(data, path)
    if not path.is_file():
        raise TaskError(f"the tools' data has no file {name}")
    return path
