"""What a call is known by: by its tool's schema, and by the types of its function."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, Field, SecretStr, StringConstraints

from flightloop.tool import Effect, Tool, ToolContext, ToolSpec, tool, tool_of
from tools.identity import MOST_PARTS, identity
from tools.registry import Registry
from tools.validated import known_by

CONTEXT = ToolContext("run:0:0", "default", "desk", "session", "run", Path("/data"))
MONEY = {"anyOf": [{"type": "number"}, {"type": "string"}]}
MOMENT = {"type": "string", "format": "date-time"}
TAGS = {"type": "array", "uniqueItems": True, "items": {"anyOf": [{"type": "integer"}, {"type": "string"}]}}


class Person(BaseModel):
    name: Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True)]
    age: int = 7


@dataclass
class Box:
    width: Decimal
    height: Decimal = Decimal("1.50")


def typed(kind: Any) -> Tool:
    def take(value: Any, context: ToolContext) -> None:
        """Takes a value."""
        raise AssertionError("the function is not called")

    take.__annotations__["value"] = kind
    take.__annotations__["context"] = ToolContext
    found = tool_of(tool(effect="keyed")(take))
    assert found is not None
    return found


def form(declared: Tool, value: Any) -> str:
    found = known_by(declared, {"value": value}, CONTEXT, 64 * 1024)
    assert found is not None
    return json.dumps(found, sort_keys=True)


def by_schema(part: dict[str, Any], value: Any, **more: Any) -> Any:
    return identity({"x": value}, {"type": "object", "properties": {"x": part}, "required": ["x"], **more})["x"]


@pytest.mark.parametrize(
    ("part", "spellings", "other"),
    [
        (MONEY, [5, 5.0, "5", "5.0", "05", " 5", "5e0", "+5", "0.5e1"], "5.01"),
        ({"type": ["number", "string", "null"]}, [0.1, "0.1", "1e-1", "0.10"], "0.11"),
        (MONEY, ["1" + "0" * 5000, "1e5000"], "1e5001"),
        (MONEY, ["-0", 0, "0.000", "0e9"], "1e-9"),
        (
            MOMENT,
            ["2026-01-01T10:00:00Z", "2026-01-01t10:00:00z", "2026-01-01T12:00+02:00", "2026-01-01 10:00:00.000Z"],
            "2026-01-01T10:00:00",
        ),
        ({"anyOf": [MOMENT, {"type": "null"}]}, ["2026-01-01T00:00Z", "2025-12-31T19:00-05:00"], "2026-01-01T00:01Z"),
        ({"type": "string", "format": "date"}, ["2026-01-01", "2026-01-01T00:00:00"], "2026-01-02"),
        ({"type": "string", "format": "time"}, ["10:00Z", "12:00:00+02:00"], "10:00"),
        ({"type": "string", "format": "duration"}, ["PT90M", "PT1H30M", "01:30:00"], "PT91M"),
        (
            {"type": "string", "format": "uuid"},
            ["0F0E0D0C-0B0A-4908-8706-050403020100", "0f0e0d0c0b0a49088706050403020100"],
            "0f0e0d0c-0b0a-4908-8706-050403020101",
        ),
        ({"type": "string", "format": "ipv6"}, ["::1", "0:0::0:1"], "::2"),
        (TAGS, [["a", "b", 5], ["b", "5", "a"], [5, "5.0", "a", "b"]], ["a", "b"]),
        (
            {"type": "array", "prefixItems": [MONEY, MOMENT]},
            [[5, "2026-01-01T00:00Z"], ["5", "2026-01-01T00:00+00:00"]],
            [5],
        ),
        ({"type": "object", "additionalProperties": MONEY}, [{"a": 5}, {"a": "5"}], {"b": 5}),
    ],
)
def test_spellings_that_a_schema_tells_of(part: dict[str, Any], spellings: list[Any], other: Any) -> None:
    forms = {json.dumps(by_schema(part, one)) for one in spellings}
    assert len(forms) == 1
    assert json.dumps(by_schema(part, other)) not in forms


def test_what_stays_as_it_is() -> None:
    for part in (
        {"type": "string"},
        {"type": "number"},
        {},
        True,
        {"format": ["date"]},
        {"type": "string", "format": "x"},
    ):
        for value in ("05", " 5", 0.5, True, None, [2, 1], "2026-01-01T10:00Z"):
            assert by_schema(part, value) == value  # type: ignore[arg-type]
    for text in ("", "five", "2026-13-01T10:00Z", "1e99999999999999999999", "9" * 30 + "-"):
        assert by_schema(MONEY, text) == text
        assert by_schema(MOMENT, text) == text
    assert by_schema(MONEY, True) is True


def test_behind_references_and_alternatives_of_objects() -> None:
    defs = {"A": {"properties": {"x": MONEY}}, "B": {"properties": {"at": MOMENT}}, "Loop": {"$ref": "#/$defs/Loop"}}
    part = {"oneOf": [{"$ref": f"#/$defs/{name}"} for name in (*defs, "None")]}
    first, again = (by_schema(part, one, **{"$defs": defs}) for one in ({"x": "5.0"}, {"x": 5}))
    assert first == again == {"x": 5}
    assert by_schema(part, {"at": "2026-01-01T02:00+02:00"}, **{"$defs": defs}) == {"at": "2026-01-01T00:00:00+00:00"}


def test_behind_a_reference_to_an_alternative() -> None:
    defs = {"When": {"anyOf": [{"type": "null"}, MOMENT]}}
    part = {"$ref": "#/$defs/When/anyOf/1"}
    assert by_schema(part, "2026-01-01T02:00+02:00", **{"$defs": defs}) == "2026-01-01T00:00:00+00:00"


@pytest.mark.parametrize("value", ["9" * 2_000_000, "0." + "0" * 2_000_000, " " * 2_000_000 + "5", ["5"] * 200_000])
def test_long_values_take_no_longer_than_their_length(value: Any) -> None:
    wide = {
        "anyOf": [MONEY, MOMENT, {"type": "array", "items": {"anyOf": [MONEY] * 5 * MOST_PARTS}, "uniqueItems": True}]
    }
    began = time.thread_time()
    by_schema(wide, value)
    assert time.thread_time() - began < 5


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3) | st.sampled_from(["5.0", " 1e3", "nan", "2026-01-01T10:00+01:00", "10:00", "P1D"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=8,
)  # fmt: skip
PART = st.recursive(
    st.sampled_from([MONEY, MOMENT, TAGS, {"format": "time"}, {"format": "duration"}, {"type": "string"}, True, {}]),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "anyOf": st.lists(inner, max_size=3),
            "items": inner,
            "uniqueItems": st.booleans(),
            "properties": st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
            "additionalProperties": inner,
        },
    ),
    max_leaves=8,
)


@given(PART, JSON)
def test_the_form_has_itself_as_its_form(part: Any, value: Any) -> None:
    found = by_schema(part, value)
    assert json.dumps(by_schema(part, found)) == json.dumps(found)


MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
ZONES = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


NUMBERS = st.decimals(-(10**20), 10**20, places=4)  # of more digits, the next one would be rounded away


@given(NUMBERS, st.integers(0, 5), st.sampled_from(["", " ", "\t"]))
def test_a_number_is_one_in_any_digits(number: Decimal, zeros: int, blank: str) -> None:
    again = f"{blank}{number:f}{'0' * zeros if '.' in f'{number:f}' else ''}{blank}"
    assert Decimal(again) == number
    assert form(DECIMAL, str(number)) == form(DECIMAL, again) == form(DECIMAL, f"{number:E}")
    assert by_schema(MONEY, str(number)) == by_schema(MONEY, again)
    assert form(DECIMAL, str(number)) != form(DECIMAL, str(number + Decimal("0.0001")))


@given(MOMENTS, ZONES)
def test_a_moment_is_one_in_all_zones(moment: datetime, zone: timezone) -> None:
    there = moment.astimezone(zone).isoformat()
    assert form(WHEN, moment.isoformat()) == form(WHEN, there)
    assert by_schema(MOMENT, moment.isoformat()) == by_schema(MOMENT, there)
    assert form(WHEN, there) != form(WHEN, (moment + timedelta(microseconds=1)).isoformat())


@given(st.sets(st.text(max_size=3), max_size=5), st.randoms())
def test_a_set_is_one_in_any_order(items: set[str], chance: Any) -> None:
    shuffled = [*items]
    chance.shuffle(shuffled)
    assert form(SET, [*items]) == form(SET, shuffled) == form(SET, shuffled * 2)


DECIMAL, WHEN, SET = typed(Decimal), typed(datetime), typed(set[str])


@pytest.mark.parametrize(
    ("kind", "spellings", "other"),
    [
        (Decimal, [5, 5.0, "5", "5.0", "05", " 5", "5e0", "５"], "50"),
        (int | str, [5, "5", "5.0", "5e0"], "six"),
        (Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True)], ["Ada", " ada ", "ADA"], "Bob"),
        (Annotated[str, AfterValidator(lambda text: text.split("#")[0])], ["Ada", "Ada#1"], "Bob"),
        (Person, [{"name": "Ada"}, {"name": "ADA ", "age": 7, "more": [1]}], {"name": "Ada", "age": 8}),
        (Box, [{"width": "2"}, {"width": 2.0, "height": "1.5"}], {"width": "2", "height": "2"}),
        (list[Person] | Person, [[{"name": "Ada"}], [{"name": "ada"}]], {"name": "ada"}),
        (dict[Decimal, datetime], [{"1.0": "2026-01-01T00:00Z"}, {"1": "2026-01-01T01:00+01:00"}], {}),
        (frozenset[Decimal], [["1.0", "2"], [2, 1]], ["1"]),
        (Path, ["/a/./b", "/a//b"], "/a/c"),
        (UUID, ["0F0E0D0C-0B0A-4908-8706-050403020100", "0f0e0d0c0b0a49088706050403020100"], str(UUID(int=1))),
        (timedelta, ["PT90M", 5400], "PT1S"),
        (SecretStr, ["a"], "b"),
        (complex, ["1+2j"], "1+3j"),
    ],
)
def test_spellings_of_which_the_types_make_the_same(kind: Any, spellings: list[Any], other: Any) -> None:
    declared = typed(kind)
    forms = {form(declared, one) for one in spellings}
    assert len(forms) == 1
    assert form(declared, other) not in forms


class Marked(BaseModel):
    name: Annotated[str, StringConstraints(to_lower=True)]
    mark: UUID = Field(default_factory=uuid4)


def test_what_comes_out_otherwise_each_time_counts_as_it_is_given() -> None:
    marked = typed(Marked)
    assert form(marked, {"name": "Ada"}) == form(marked, {"name": "Ada"}) != form(marked, {"name": "Bob"})


class Odd:
    pass


def test_what_is_not_to_be_written_counts_as_it_is_given() -> None:
    odd = typed(Annotated[str, AfterValidator(lambda text: Odd())])
    assert form(odd, "a") == json.dumps({"value": "a"})


def test_arguments_that_no_call_is_possible_with_have_no_form() -> None:
    def broken(text: str) -> str:
        raise RuntimeError(text)

    for kind, value in ((Decimal, "five"), (Annotated[str, AfterValidator(broken)], "x")):
        assert known_by(typed(kind), {"value": value}, CONTEXT, 1000) is None
    assert known_by(typed(str), {"other": 1}, CONTEXT, 1000) is None


def test_a_long_form_is_told_by_its_hash() -> None:
    text, again = "a" * 2000, f" {'A' * 2000}"
    declared = typed(Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True)])
    first, second, third = (known_by(declared, {"value": one}, CONTEXT, 1000) for one in (text, again, text[1:]))
    assert first == second != third
    assert [*first] == ["sha256"]  # type: ignore[misc]


def test_a_registry_tells_what_the_schema_does() -> None:
    make: Callable[..., Tool] = lambda **known: Tool(ToolSpec("pay", "Pays.", known, Effect.KEYED), str)  # noqa: E731
    registry = Registry([make(type="object", properties={"amount": MONEY})])
    assert registry.canonical("pay", {"amount": "5.0"}) == {"amount": "5.0"}
    assert registry.identity("pay", {"amount": "5.0"}) == {"amount": 5}
