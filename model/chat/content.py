"""Text of a message's content."""

from __future__ import annotations

from flightloop.chat import ChatMessage
from flightloop.content import TablePart, TextPart, table_text
from flightloop.errors import UnsupportedContent


def content_text(message: ChatMessage, index: int) -> str:
    """The parts of message ``index`` as one text, tables included.

    Raises:
        UnsupportedContent: a part is neither text nor a table.
    """
    texts = []
    for place, part in enumerate(message.content):
        if isinstance(part, TextPart):
            texts.append(part.text)
        elif isinstance(part, TablePart):
            texts.append(table_text(part.table))
        else:
            where = f"messages[{index}].content[{place}]"
            raise UnsupportedContent(f"{where}: this model takes text and table, not {part.type}", param=where)
    return "\n".join(texts)
