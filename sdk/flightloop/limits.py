"""Limits on what one request holds: how many things, how long, how deep.

They are generous to clients and bound the work that a request costs before the model sees it. The body as a whole is
bounded by ``FLIGHTLOOP_MAX_BODY_BYTES``.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic_core import PydanticCustomError

MESSAGES = 2048
"""Of a conversation, or items of a response's input. At eight tokens a message they fill a context of 16,384 tokens."""
PARTS = 4096
"""Content parts of a request, over all of its messages."""
CALLS = 4096
"""Tool calls of a request, over all of its messages."""
ANSWER_CALLS = 128
"""Tool calls of one answer: who puts its chunks together makes room for as many as an index says."""
CHOICES = 8
"""Of one completion (``n``): each is decoded by itself."""
TOOLS = 128
"""As in OpenAI's API."""
STOPS = 8
STOP_CHARS = 256
DESCRIPTION_CHARS = 16_384
"""Of a tool or a schema."""
TEXT_CHARS = 1_000_000
"""Characters of all texts of a request together: some 250,000 tokens."""
METADATA = 16
METADATA_KEY_CHARS = 64
METADATA_CHARS = 4096
"""Of one value."""
NAME_CHARS = 256
"""Of a name or an id: a model's, a call's, a user's."""
TABLE_CELLS = 50_000
"""Of all tables of a request together."""

SCHEMA_LEVELS = 32
"""Lists and objects in each other in a JSON Schema."""
SCHEMA_VALUES = 5000
"""JSON values of one schema: keywords, names, members of an enum."""
SCHEMA_CHARS = 65_536
"""Of one schema, written as JSON."""
SCHEMA_VISITS = 5000
"""Parts of one schema that the same value is held against, each as often as references lead to it."""
REQUEST_SCHEMA_VALUES = 20_000
"""JSON values of all schemas of a request together."""


def at_most(limit: int, given: int, what: str, *path: str | int) -> None:
    """For validators: raises PydanticCustomError, which names what is too many or too long, the limit and the value."""
    if given > limit:
        field = f"{'.'.join(map(str, path))}: " if path else ""
        raise PydanticCustomError(
            "over_limit",
            "{field}{given} {what} are more than the limit of {limit}",
            {"field": field, "given": given, "what": what, "limit": limit},
        )


def check_metadata(metadata: dict[str, str]) -> dict[str, str]:
    """Raises PydanticCustomError: an entry is too long."""
    for key, value in metadata.items():
        at_most(METADATA_KEY_CHARS, len(key), "characters of a key")
        at_most(METADATA_CHARS, len(value), "characters of a value", key[:METADATA_KEY_CHARS])
    return metadata


def check_count(values: Sequence[object], limit: int, what: str) -> None:
    at_most(limit, len(values), what)
