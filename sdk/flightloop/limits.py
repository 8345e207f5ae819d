"""Limits on the size of one request: counts, lengths, depths.

They are generous to clients and bound the work that a request causes before the model sees it. The whole body is
limited by ``FLIGHTLOOP_MAX_BODY_BYTES``.
"""

from __future__ import annotations

from pydantic_core import PydanticCustomError

MESSAGES = 2048
"""Messages of a conversation, or input items of a response. At eight tokens each they fill 16,384 tokens."""
PARTS = 4096
"""Content parts of a request, over all messages."""
CALLS = 4096
"""Tool calls of a request, over all messages."""
ANSWER_CALLS = 128
"""Tool calls of one answer; a client that assembles chunks allocates up to the highest index."""
CHOICES = 8
"""Choices of one completion (``n``); each is decoded separately."""
TOOLS = 128
"""Tools of a request, as in OpenAI's API."""
STOPS = 8
STOP_CHARS = 256
DESCRIPTION_CHARS = 16_384
"""Characters of the description of a tool or schema."""
TEXT_CHARS = 1_000_000
"""Characters of all texts of a request together, some 250,000 tokens."""
METADATA = 16
METADATA_KEY_CHARS = 64
METADATA_CHARS = 4096
"""Characters of one value."""
NAME_CHARS = 256
"""Characters of a name or id: of a model, a call, a user."""
TABLE_CELLS = 50_000
"""Cells of all tables of a request together."""
IMAGES = 8
"""Images of a request together."""
IMAGE_URL_CHARS = 2000
"""Characters of the address of an image that is fetched."""

SCHEMA_LEVELS = 32
"""Nesting depth of a JSON Schema."""
SCHEMA_VALUES = 5000
"""JSON values of one schema: keywords, names, enum members."""
SCHEMA_CHARS = 65_536
"""Characters of one schema as JSON."""
SCHEMA_VISITS = 5000
"""Subschemas of one schema that apply to the same value, with references expanded."""
REQUEST_SCHEMA_VALUES = 20_000
"""JSON values of all schemas of a request together."""


def at_most(limit: int, given: int, what: str, *path: str | int) -> None:
    """For validators: raises PydanticCustomError, with field, value and limit, if ``given`` exceeds ``limit``."""
    if given > limit:
        field = f"{'.'.join(map(str, path))}: " if path else ""
        raise PydanticCustomError(
            "over_limit",
            "{field}{given} {what} exceed the limit of {limit}",
            {"field": field, "given": given, "what": what, "limit": limit},
        )


def check_metadata(metadata: dict[str, str]) -> dict[str, str]:
    """Raises PydanticCustomError if an entry is too long."""
    for key, value in metadata.items():
        at_most(METADATA_KEY_CHARS, len(key), "characters of a key")
        at_most(METADATA_CHARS, len(value), "characters of a value", key[:METADATA_KEY_CHARS])
    return metadata
