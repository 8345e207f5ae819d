"""A call is the same under an alias, and beside what a default makes anew for each one."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel, Field, PlainValidator, StringConstraints, WithJsonSchema

from flightloop.tool import ToolContext, tool, tool_of
from tools.validated import known_by

CONTEXT = ToolContext("run:0:0", "default", "desk", "session", "run", Path("/data"))


class Line(BaseModel):
    id: UUID = Field(default_factory=uuid4)
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    sku: Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True)]
    count: int


@tool(effect="keyed")
def order_lines(lines: list[Line]) -> None:
    """Orders some goods."""


@tool(effect="keyed")
def send_to(
    to: Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True), Field(alias="recipient")],
    amount: Decimal,
) -> None:
    """Sends money."""


class Opaque:
    """Nothing that is written of it tells two apart."""


@tool(effect="keyed")
def send_by(
    to: Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True), Field(alias="recipient")],
    way: Annotated[Any, PlainValidator(lambda value: Opaque()), WithJsonSchema({"type": "string"}), Field(alias="by")],
) -> None:
    """Sends money in some way."""


@pytest.mark.parametrize(
    ("function", "one", "same", "other"),
    [
        (
            order_lines,
            {"lines": [{"sku": "a1", "count": 1}]},
            {"lines": [{"sku": " A1 ", "count": 1}]},
            {"lines": [{"sku": "a2", "count": 1}]},
        ),
        (
            send_to,
            {"recipient": "bob", "amount": "5"},
            {"recipient": " BOB", "amount": "5.0"},
            {"recipient": "ann", "amount": "5"},
        ),
        (
            send_by,
            {"recipient": "bob", "by": "post"},
            {"recipient": " BOB", "by": "post"},
            {"recipient": "ann", "by": "post"},
        ),
    ],
)
def test_what_is_made_for_a_call_and_what_it_is_called_with_do_not_tell_calls_apart(
    function: Any, one: dict[str, Any], same: dict[str, Any], other: dict[str, Any]
) -> None:
    declared = tool_of(function)
    forms = [known_by(declared, one_call, CONTEXT, 65536) for one_call in (one, same, other)]
    assert forms[0] == forms[1] != forms[2]
    assert forms[0] is not None
