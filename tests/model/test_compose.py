"""Composed conversations: their calls fit their tools, and what is asked for is there, or is not."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from textwrap import dedent

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flightloop.chat import ChatRequest
from flightloop.errors import ConfigError
from model.chat.compact import turns_of
from model.tuner.compose.chinese import ChineseSource, written
from model.tuner.compose.compose import SITUATIONS, compose
from model.tuner.compose.dress import dress, style
from model.tuner.compose.family import Parameter, Tool, places, read, read_all
from model.tuner.compose.values import KINDS, Source, words
from model.tuner.compose.wish import _slipped, wish


def calls_of(row: dict) -> list[tuple[str, dict]]:
    return [
        (call["function"]["name"], json.loads(call["function"]["arguments"]))
        for message in row["messages"]
        for call in message.get("tool_calls", ())
    ]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_every_call_fits_its_tool(seed):
    for row in compose(read_all(), 4, seed):
        check(row)


def check(row: dict) -> None:
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in row["tools"]}
    assert len(schemas) == len(row["tools"])
    for name, arguments in calls_of(row):
        jsonschema.validate(arguments, {**schemas[name], "additionalProperties": False})
    fields = {key: row[key] for key in ("messages", "tools")}
    texts = [text for role, text in turns_of(ChatRequest(model="", **fields)) if role in ("user", "assistant")]
    assert not [text for text in texts if re.search(r"\{[a-z]+[_.]?[a-z]+\}", text)]


def test_the_same_seed_gives_the_same_conversations():
    assert list(compose(read_all(), 20, 7)) == list(compose(read_all(), 20, 7))
    assert list(compose(read_all(), 20, 7)) != list(compose(read_all(), 20, 8))


def test_conversations_with_the_same_tools_say_different_things():
    rows = list(compose(read_all(), 300, 3))
    follow = [(one, other) for one, other in pairwise(rows) if one["tools"] == other["tools"]]
    assert len(follow) > 100
    assert all(one["messages"] != other["messages"] for one, other in follow)
    assert {row["intent"] for _, row in follow} >= {"one_call", "several_calls", "none_fits"}


def test_all_situations_occur_and_only_some_of_them_call():
    rows = list(compose(read_all(), 600, 1))
    assert {row["intent"] for row in rows} == {situation.__name__ for situation in SITUATIONS}
    for row in rows:
        if row["intent"] == "none_fits":
            assert not calls_of(row)
            assert row["tools"]
        if row["intent"] == "several_calls":
            assert len(calls_of(row)) > 1


def test_the_latest_value_counts_and_a_known_result_is_not_looked_up_again():
    rows = list(compose(read_all(), 2_000, 1))
    corrected = [row for row in rows if row["intent"] == "corrected"]
    assert {len(calls_of(row)) for row in corrected} == {1, 2}
    for row in corrected:
        calls = calls_of(row)
        if len(calls) == 2:
            (_, first), (_, second) = calls
            assert row["messages"][-1]["tool_calls"]
            assert len([name for name in first if first[name] != second[name]]) == 1
    assert all(len(calls_of(row)) == 1 for row in rows if row["intent"] == "asked_again")


def test_masked_tools_are_told_by_their_descriptions_alone():
    masked = [row for row in compose(read_all(), 2_000, 1) if row["tools"][0]["function"]["name"].startswith("tool_")]
    assert masked
    for row in masked:
        offered = {tool["function"]["name"]: tool["function"] for tool in row["tools"]}
        for name, arguments in calls_of(row):
            assert set(arguments) <= set(offered[name]["parameters"]["properties"])


@given(st.integers(0, 10_000))
def test_a_slip_changes_two_letters_of_a_word_and_no_value(seed):
    text = "please find the {thing} between {place.street} and here"
    slipped = _slipped(text, Source(seed))
    assert sorted(slipped) == sorted(text)
    assert places(slipped) == places(text)
    assert sum(one != other for one, other in zip(text, slipped, strict=True)) in (0, 2)


@pytest.mark.parametrize("source", [Source(3), ChineseSource(3)], ids=["en", "zh"])
@pytest.mark.parametrize("kind", sorted({*KINDS, *words()}))
def test_every_kind_makes_values_that_are_said(kind, source):
    value = source.of(kind)
    assert value.said
    assert value.argument not in (None, "")


def test_chinese_values_are_said_in_chinese():
    source = ChineseSource(1)
    drawn = [(value.argument, value.said) for value in (source.of("time") for _ in range(60))]
    assert any("点" in said and argument[2] == ":" for argument, said in drawn)
    assert {written(number) for number in (2, 10, 15, 40, 41)} == {"二", "十", "十五", "四十", "四十一"}
    assert any("号" in source.of("date").said for _ in range(20))
    assert source.joined(["北京", "上海", "苏州"])[:3] == "北京、"
    assert all(source.spoken(number).isascii() or number < 100 or number >= 10_000 for number in range(150))


def test_a_range_makes_numbers_with_its_decimals():
    source = Source(0)
    assert {source.between("2..4").argument for _ in range(50)} == {2, 3, 4}
    assert all(0.5 <= source.between("0.5..1.5").argument <= 1.5 for _ in range(50))


BOOK = """
    domain: trains
    tools:
      - name: book
        parameters:
          to: {type: string, value: city}
          seats: {type: integer, value: 2..6, optional: true}
          address: {type: object, parameters: {street: {type: string, value: street}}}
          meal:
            type: object
            optional: true
            parameters: {dish: {type: string, value: food}, plates: {type: integer, value: 1..4}}
        asks: ["To {to}[ and {meal.plates} plates of {meal.dish}][ with {seats} seats], bill to {address.street}"]
      - {name: cancel, asks: ["stop it"]}
"""


def saved(folder: Path, text: str) -> Path:
    file = folder / "trains.yaml"
    file.write_text(dedent(text), encoding="utf-8")
    return file


def test_an_ask_gives_the_arguments_that_it_says(tmp_path, monkeypatch):
    monkeypatch.setattr("model.tuner.compose.wish.SLIP", 0.0)
    book = read(saved(tmp_path, BOOK)).tools[0]
    for seed in range(20):
        made = wish(book, Source(seed))
        assert made.text.startswith(f"To {made.arguments['to']}")
        assert made.arguments["address"]["street"] in made.text
        assert ("seats" in made.arguments) == (" seats" in made.text)


def test_two_parameters_that_share_values_get_different_ones(tmp_path):
    text = BOOK.replace("seats: {type: integer, value: 2..6, optional: true}", "to_2: {type: string, value: [a, b, c]}")
    text = text.replace("to: {type: string, value: city}", "to: {type: string, value: [a, b, c]}")
    shared = read(saved(tmp_path, text.replace("[ with {seats} seats]", " or {to_2}"))).tools[0]
    drawn = [wish(shared, Source(seed)).arguments for seed in range(30)]
    assert all(made["to"] != made["to_2"] for made in drawn)


def test_renamed_parameters_are_renamed_in_the_call():
    parameters = {"sent_to": Parameter(type="string", value="city", also=["goal_city"])}
    tool = Tool(name="go_there", parameters=parameters, asks=["to {sent_to}"])
    domain = read_all()[0]
    for seed in range(30):
        source = Source(seed)
        dressed = dress(tool, domain, style(source), source)
        [shown] = dressed.definition["function"]["parameters"]["properties"]
        assert dressed.names.of({"sent_to": "Rome"}) == {shown: "Rome"}
        assert shown in ("sent_to", "goal_city", "sentTo", "goalCity")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("To {to}[", "To {nowhere}[", "not a parameter"),
        ("To {to}[", "To [{to}] [", "optional part"),
        ("To {to}[", "Somewhere[", "lacks the required {to}"),
        ("{address.street}", "{address}", "name its fields"),
        ("value: 2..6", "value: city", "does not make a value of type integer"),
        (" plates of {meal.dish}", " plates", "without {meal.dish}"),
        ("value: street", "value: nothing_known", "is not a kind of value"),
        ("value: street", "value: {off: [dark]}", "quote it"),
        ("seats], bill", "seats, bill", "brackets"),
        ("name: cancel", "name: 7", "name"),
    ],
)
def test_what_is_wrong_with_a_family_is_said(tmp_path, old, new, problem):
    assert old in BOOK
    with pytest.raises(ConfigError, match=problem):
        read(saved(tmp_path, BOOK.replace(old, new)))


def test_a_folder_without_families_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="no tool families"):
        read_all(tmp_path)
