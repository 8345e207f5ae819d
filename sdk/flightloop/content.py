"""Content parts of messages: text, images, tables."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    FailFast,
    Field,
    FiniteFloat,
    model_validator,
)
from pydantic_core import PydanticCustomError

from flightloop.limits import PARTS, TABLE_CELLS, at_most

T = TypeVar("T")


class _First(FailFast):
    def __hash__(self) -> int:  # a union of types is a set
        return id(self)


Many = Annotated[list[T], _First()]
"""A list that reports only its first validation error, because collecting all of a huge list takes long."""
Scalar = str | int | FiniteFloat | bool | None


class Wire(BaseModel):
    """Base of all wire types. Unknown fields are dropped, so that old clients can read new servers."""

    model_config = ConfigDict(extra="ignore")


class Body(Wire):
    """Base of request bodies. Unknown fields are rejected, because a misspelt limit would otherwise be ignored."""

    model_config = ConfigDict(extra="forbid")


class Asked(Wire):
    """Base of types in OpenAI requests: null means a field's default."""

    @model_validator(mode="before")
    @classmethod
    def _null_is_default(cls, value: Any) -> Any:
        if isinstance(value, dict) and any(one is None for one in value.values()):
            return {name: one for name, one in value.items() if one is not None}
        return value


def type_required(schema: dict[str, Any]) -> None:
    """Marks ``type`` as required in a part's JSON Schema, although it has a default in Python."""
    schema["required"] = sorted({"type", *schema.get("required", ())})


class TextPart(Wire):
    model_config = ConfigDict(json_schema_extra=type_required)

    type: Literal["text"] = "text"
    text: str


class ImageUrl(Asked):
    url: str
    detail: Literal["auto", "low", "high"] = "auto"


class ImagePart(Wire):
    """An image by URL or data URL, as in OpenAI's API."""

    model_config = ConfigDict(json_schema_extra=type_required)

    type: Literal["image_url"] = "image_url"
    image_url: ImageUrl


class Table(Wire):
    columns: Many[str] = Field(max_length=TABLE_CELLS)
    rows: Many[Many[Scalar]] = Field(max_length=TABLE_CELLS)

    @model_validator(mode="after")
    def _rows_fit(self) -> Self:
        at_most(TABLE_CELLS, len(self.columns) * (1 + len(self.rows)), "cells")
        for place, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise PydanticCustomError(
                    "ragged_table",
                    "rows.{row}: has {cells} cells, but the table has {columns} columns",
                    {"row": place, "cells": len(row), "columns": len(self.columns)},
                )
        return self


class TablePart(Wire):
    """A table with named columns; each row has one scalar per column."""

    model_config = ConfigDict(json_schema_extra=type_required)

    type: Literal["table"] = "table"
    table: Table


Part = Annotated[TextPart | ImagePart | TablePart, Discriminator("type")]


def _as_parts(value: Any) -> Any:
    return [{"type": "text", "text": value}] if isinstance(value, str) else value


Content = Annotated[
    Many[Part], Field(max_length=PARTS), BeforeValidator(_as_parts, json_schema_input_type=str | list[Part])
]
"""A list of parts; a plain string becomes one text part."""


def text_of(parts: Sequence[Part]) -> str:
    """Content as the model reads it: texts, and tables as text, joined by newlines. Images are left out."""
    texts = (_text(part) for part in parts)
    return "\n".join(text for text in texts if text is not None)


def with_text(parts: Sequence[Part], text: str) -> list[Part]:
    """Content with all text replaced by ``text``; images follow it."""
    return [TextPart(text=text), *(part for part in parts if _text(part) is None)]


def _text(part: Part) -> str | None:
    return part.text if isinstance(part, TextPart) else table_text(part.table) if isinstance(part, TablePart) else None


def table_text(table: Table) -> str:
    """A table as compact markdown."""
    rows: list[Sequence[Scalar]] = [table.columns, ["-"] * len(table.columns), *table.rows]
    return "\n".join("|" + "|".join(map(_cell, row)) + "|" for row in rows)


def _cell(value: Scalar) -> str:
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value)
    return " ".join(text.split()).replace("|", "\\|")


DIGEST = "sha256:"
"""Begin of the address of an image whose data is left out: the SHA-256 of its bytes in hex follows."""


def without_image_data(parts: Sequence[Part]) -> list[Part]:
    """Content whose images have a digest in place of their data, as in a run that is listed."""
    return [_digested(part) if isinstance(part, ImagePart) else part for part in parts]


def _digested(part: ImagePart) -> ImagePart:
    head, comma, body = part.image_url.url.partition(",")
    if not head.startswith("data:") or not comma:
        return part
    try:
        data = base64.b64decode(body, validate=True)
    except ValueError:
        data = body.encode()
    url = f"{DIGEST}{hashlib.sha256(data).hexdigest()}"
    return ImagePart(image_url=ImageUrl(url=url, detail=part.image_url.detail))


def has_images(parts: Sequence[Part]) -> bool:
    return any(isinstance(part, ImagePart) for part in parts)


def is_plain(parts: Sequence[Part]) -> bool:
    return all(isinstance(part, TextPart) for part in parts)
