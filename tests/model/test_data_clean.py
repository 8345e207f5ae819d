from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.tuner.data.clean import cleaned, fault, tidied, unsaid
from model.tuner.data.row import called, result, row, said, tool

FERRY = tool(
    "book_ferry",
    "Books",
    {"to": {"type": "string"}, "seats": {"type": "integer"}, "extras": {"type": "object"}},
    ["to", "seats"],
)
ASKED = said("user", "Two seats to Capri, that is 2")


def ferry(*messages, **fields):
    return row("own", [ASKED, *messages], [FERRY], **fields)


def booked(**arguments):
    return ferry(called([("book_ferry", arguments)]), result(0, "done"), said("assistant", "Booked."))


def test_a_good_row_has_no_fault():
    assert fault(booked(to="Capri", seats=2)) is None
    assert fault(row("own", [said("user", "Hi"), said("assistant", "Hello")])) is None


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (booked(to="Capri"), r"a call does not fit its tool's schema (required)"),
        (booked(to="Capri", seats="2"), r"a call does not fit its tool's schema (type)"),
        (booked(to="Capri", seats=2, date="now"), r"a call does not fit its tool's schema (unknown name)"),
        (ferry(called([("book_train", {})])), "a call of a tool that is not offered"),
        (ferry(said("assistant", " ... ")), "an assistant message is empty"),
        (row("own", [said("user", "\u200b"), said("assistant", "Yes?")]), "a user message is empty"),
        (row("own", [said("assistant", "Yes?")]), "no user message"),
        (row("own", [ASKED]), "no assistant message"),
        (ferry(result(7, "done"), said("assistant", "Done")), "a result does not belong to a call"),
        (row("own", [{"text": "hi"}]), "a message or a tool is not in OpenAI's format (KeyError)"),
    ],
)
def test_faults_are_named(bad, reason):
    assert fault(bad) == reason


def test_arguments_must_be_an_object():
    made = booked(to="Capri", seats=2)
    for text in ("[1]", "{"):
        made["messages"][1]["tool_calls"][0]["function"]["arguments"] = text
        assert fault(cleaned(made)) == "a call's arguments are not a JSON object"


def test_a_schema_that_is_none_is_a_fault():
    made = row("own", [ASKED, called([("f", {})])], [tool("f", "F", {"x": {"type": "text"}})])
    assert fault(made) == "a call does not fit its tool's schema (not a JSON Schema)"


@pytest.mark.parametrize(
    ("answer", "fits"), [('{"mood": "glad"}', True), ('{"mood": "so so"}', False), ("glad", False)]
)
def test_an_answer_fits_its_format(answer, fits):
    schema = {"type": "object", "properties": {"mood": {"enum": ["glad", "sad"]}}, "required": ["mood"]}
    form = {"type": "json_schema", "json_schema": {"name": "mood", "schema": schema}}
    made = row("own", [said("user", "I laugh"), said("assistant", answer)], response_format=form)
    assert (fault(made) is None) is fits


def test_required_values_that_were_not_said_are_counted():
    assert unsaid(booked(to="Capri", seats=2)) == 0
    assert unsaid(booked(to="CAPRI", seats=2, extras={"meal": "fish"})) == 0
    assert unsaid(booked(to="Ischia", seats=2)) == 1
    assert unsaid(booked(to="Cap", seats=2)) == 1


def test_what_is_not_seen_goes_from_messages_and_calls_alike():
    made = booked(to="Capri\u200b ", seats=2)
    made["messages"][0]["content"] = "To Capri\u200b\x00  \r\n\n\n\nfor 2 "
    clean = cleaned(made)
    assert clean["messages"][0]["content"] == "To Capri\n\nfor 2"
    assert json.loads(clean["messages"][1]["tool_calls"][0]["function"]["arguments"])["to"] == "Capri"
    assert clean["messages"][2] == made["messages"][2]
    assert made["messages"][0]["content"].endswith(" ")


@given(st.text())
def test_tidying_is_done_once(text):
    assert tidied(tidied(text)) == tidied(text)
