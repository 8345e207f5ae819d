"""Schema-guided dialogues as rows."""

from __future__ import annotations

import json

import pytest

from flightloop.errors import ConfigError
from model.chat.compact import CompactChat
from model.tuner.data.clean import fault
from model.tuner.data.convert import convert
from model.tuner.data.row import calls_of
from model.tuner.examples import example_of
from model.weights.tiny import embedded_tokenizer


def dump(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def slot(name, *values):
    return {"name": name, "description": f"The {name}", "is_categorical": bool(values), "possible_values": list(values)}


def service(name, *intents, slots):
    return {"service_name": name, "description": name, "slots": slots, "intents": list(intents)}


def intent(name, required, optional=(), writes=False):
    about = {"name": name, "description": f"Does {name}", "is_transactional": writes, "result_slots": []}
    return {**about, "required_slots": list(required), "optional_slots": dict(optional)}


BOATS = service(
    "Boats_1",
    intent("FindBoat", ["lake"], {"seats": "2", "motor": "dontcare"}),
    intent("HireBoat", ["boat"], writes=True),
    slots=[slot("lake"), slot("boat"), slot("seats", "1", "2", "3"), slot("motor", "True", "False"), slot("colour")],
)
KITES = service("Kites_1", intent("FindKite", ["size"]), slots=[slot("size")])


def act(name, slot="", *values):
    return {"act": name, "slot": slot, "values": list(values), "canonical_values": list(values)}


def user(text, active, *acts):
    state = {"active_intent": active, "requested_slots": [], "slot_values": {}}
    return {
        "speaker": "USER",
        "utterance": text,
        "frames": [{"service": "Boats_1", "slots": [], "state": state, "actions": list(acts)}],
    }


def system(text, *acts, call=None, results=()):
    frame = {"service": "Boats_1", "slots": [], "actions": list(acts)}
    if call:
        frame |= {"service_call": {"method": call[0], "parameters": call[1]}, "service_results": list(results)}
    return {"speaker": "SYSTEM", "utterance": text, "frames": [frame]}


FOUND = [
    {"boat": name, "lake": "Como", "motor": "False", "seats": "2", "colour": "red", "depth": "1", "age": "3"}
    for name in ("Tern", "Gull", "Coot", "Swan")
]
HIRED = {"boat": "Coot", "colour": "red"}
TURNS = [
    user("I want a boat.", "FindBoat", act("INFORM_INTENT", "intent", "FindBoat")),
    system("On which lake?", act("REQUEST", "lake")),
    user("On Como, for two.", "FindBoat", act("INFORM", "lake", "Como"), act("INFORM", "seats", "2")),
    system(
        "There are 4, Tern is one.",
        act("OFFER", "boat", "Tern"),
        act("INFORM_COUNT", "count", "4"),
        call=("FindBoat", {"lake": "Como", "seats": "2", "motor": "dontcare"}),
        results=FOUND,
    ),
    user("Another one?", "FindBoat", act("REQUEST_ALTS")),
    system("Coot is free.", act("OFFER", "boat", "Coot")),
    user("Hire that.", "HireBoat", act("INFORM_INTENT", "intent", "HireBoat")),
    system("Hired.", act("NOTIFY_SUCCESS"), call=("HireBoat", {"boat": "Coot"}), results=[HIRED]),
]


@pytest.fixture
def dialogues(tmp_path):
    dump(tmp_path / "train" / "schema.json", [BOATS, KITES])

    def write(*turns, services=("Boats_1",)):
        found = [{"dialogue_id": "1_0", "services": list(services), "turns": list(turns)}]
        dump(tmp_path / "train" / "dialogues_001.json", found)
        return tmp_path

    return write


def test_a_dialogue_becomes_calls_results_and_replies(dialogues):
    (row,) = convert("sgd", dialogues(*TURNS)).rows
    roles = [message["role"] for message in row["messages"]]
    called = ["user", "assistant", "tool", "assistant"]
    assert roles == ["system", "user", "assistant", *called, "user", "assistant", *called]
    assert [(name, arguments) for _, name, arguments in calls_of(row)] == [
        ("FindBoat", {"lake": "Como", "seats": 2}),
        ("HireBoat", {"boat": "Coot"}),
    ]
    tools = {tool["function"]["name"]: tool["function"]["parameters"] for tool in row["tools"]}
    assert set(tools) == {"FindBoat", "HireBoat", "FindKite"}
    assert tools["FindBoat"] == {
        "type": "object",
        "properties": {
            "lake": {"type": "string", "description": "The lake"},
            "seats": {"type": "integer", "enum": [1, 2, 3], "description": "The seats", "default": 2},
            "motor": {"type": "boolean", "description": "The motor"},
        },
        "required": ["lake"],
    }
    assert row["source"] == "sgd"


def test_results_hold_what_is_told_of_them_and_little_more(dialogues):
    (row,) = convert("sgd", dialogues(*TURNS)).rows
    found, hired = (json.loads(message["content"]) for message in row["messages"] if message["role"] == "tool")
    assert found["count"] == 4
    assert [each["boat"] for each in found["results"]] == ["Tern", "Gull", "Coot"]
    assert all(len(each) == 4 for each in found["results"])
    assert hired == {"status": "success", "boat": "Coot", "colour": "red"}


def test_a_call_that_failed_says_so(dialogues):
    failed = system("It is taken.", act("NOTIFY_FAILURE"), call=("HireBoat", {"boat": "Coot"}), results=[])
    (row,) = convert("sgd", dialogues(*TURNS[:6], user("Hire it", "HireBoat"), failed)).rows
    assert json.loads(row["messages"][-2]["content"]) == {"status": "failed"}


def test_a_long_dialogue_is_cut_behind_an_answer(dialogues):
    rows = convert("sgd", dialogues(*TURNS), fits=lambda row: len(row["messages"]) <= 7).rows
    (row,) = rows
    assert [message["role"] for message in row["messages"]][-1] == "assistant"
    assert len(row["messages"]) == 7


def test_a_long_dialogue_is_parted_where_a_new_wish_needs_nothing_of_before(dialogues):
    again = [
        user("Now a boat on Garda.", "FindBoat", act("INFORM_INTENT", "i", "FindBoat"), act("INFORM", "lake", "Garda")),
        system("Tern is there.", act("OFFER", "boat", "Tern"), call=("FindBoat", {"lake": "Garda"}), results=FOUND[:1]),
    ]
    rows = convert("sgd", dialogues(*TURNS, *again), fits=lambda row: len(row["messages"]) <= 14).rows
    assert [len(row["messages"]) for row in rows] == [13, 5]
    assert [arguments for _, _, arguments in calls_of(rows[1])] == [{"lake": "Garda"}]


def test_a_wish_goes_with_all_that_it_needs_however_far_back(dialogues):
    between = [
        user("Any kites?", "FindBoat", act("INFORM_INTENT", "i", "FindBoat"), act("INFORM", "lake", "Garda")),
        system(
            "Gull is there.", act("OFFER", "boat", "Gull"), call=("FindBoat", {"lake": "Garda"}), results=FOUND[1:2]
        ),
    ]
    turns = [*TURNS[:6], *between, *TURNS[6:]]  # Coot is hired, which only the first wish told of
    (row,) = convert("sgd", dialogues(*turns), fits=lambda row: len(row["messages"]) <= 16).rows
    assert [message["content"] for message in row["messages"]][-1] == "Gull is there."


def test_a_dialogue_that_cannot_be_told_apart_or_cut_is_reported(dialogues):
    made = convert("sgd", dialogues(*TURNS, services=["Boats_1", "Kites_1"]))
    assert len(made.rows) == 1
    with pytest.raises(ConfigError, match="contains no rows of sgd"):
        convert("sgd", dialogues(*TURNS, services=["Boats_1", "Boats_1"]))
    with pytest.raises(ConfigError, match="contains no rows of sgd"):
        convert("sgd", dialogues(*TURNS, services=["Trains_9"]))


def test_rows_can_be_learned_from(dialogues):
    for row in convert("sgd", dialogues(*TURNS)).rows:
        assert fault(row) is None
        assert len(example_of(row, CompactChat(embedded_tokenizer()), 2048)) > 20
