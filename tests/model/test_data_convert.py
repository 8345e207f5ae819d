from __future__ import annotations

import csv
import json

import pytest

from flightloop.chat import ChatRequest
from flightloop.errors import ConfigError
from model.chat.compact import CompactChat
from model.tuner.data.clean import fault
from model.tuner.data.convert import SOURCES, convert
from model.tuner.data.row import calls_of
from model.tuner.examples import example_of, read
from model.weights.tiny import embedded_tokenizer


def dump(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def lines(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(value if isinstance(value, str) else json.dumps(value) for value in values))


def table(path, fields, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([fields, *rows])


# ---- Seal-Tools


def seal_tool(api, **parameters):
    return {
        "api_name": api,
        "api_description": f"Does {api}",
        "parameters": {key: {"type": kind, "description": f"The {key}"} for key, kind in parameters.items()},
        "required": list(parameters),
        "responses": {},
    }


def sealed(folder, *callings):
    tools = [seal_tool("weigh", mass="float", times="int"), seal_tool("paint", dry="bool", name="str")]
    lines(folder / "set" / "tool.jsonl", [*tools, *(seal_tool(f"other{number}", x="str") for number in range(6))])
    records = [
        {"id": f"dev-{number}", "query": "Weigh 2.5 kilos 3 times and paint", "calling": calling}
        for number, calling in enumerate(callings)
    ]
    lines(folder / "set" / "dev.jsonl", records)
    return folder


WEIGH = {"api": "weigh", "parameters": {"mass": 2.5, "times": 3}, "responses": ["API_call_0"]}
PAINT = {"api": "paint", "parameters": {"dry": True, "name": "it"}, "responses": ["API_call_1"]}
NESTED = {"api": "paint", "parameters": {"dry": True, "name": "API_call_0"}, "responses": ["API_call_1"]}


def test_calls_of_a_request_are_made_at_once(tmp_path):
    made = convert("seal-tools", sealed(tmp_path, [WEIGH, PAINT], [WEIGH, NESTED], [{**WEIGH, "api": "unheard"}]))
    (row,) = made.rows
    assert [(place, name) for place, name, _ in calls_of(row)] == [(1, "weigh"), (1, "paint")]
    types = {tool["function"]["name"]: tool["function"]["parameters"]["properties"] for tool in row["tools"]}
    assert [each["type"] for each in types["weigh"].values()] == ["number", "integer"]
    assert [each["type"] for each in types["paint"].values()] == ["boolean", "string"]
    assert 3 <= len(types) <= 6
    assert [str(each) for each in made.bad] == [
        "dev.jsonl:2: a call uses another's result, which the set does not have",
        "dev.jsonl:3: unheard is not among the tools",
    ]


def test_the_tools_beside_depend_on_seed_and_record_alone(tmp_path):
    both = convert("seal-tools", sealed(tmp_path / "a", [WEIGH], [PAINT])).rows
    assert both == convert("seal-tools", sealed(tmp_path / "b", [WEIGH], [PAINT])).rows
    assert both[0] == convert("seal-tools", sealed(tmp_path / "c", [WEIGH])).rows[0]


# ---- API-Bank

INFO = """description = "Finds the key of a door. The 'number' is that of the door."
input_parameters = {
    'number': {'type': 'int', 'description': 'Of the door.'}
}
output_parameters = {}"""


def api_bank(folder, *dialogues):
    table(folder / "data" / "all_apis.csv", ["类名", "api_info"], ["FindKey", INFO], ["Broken", "nothing"])
    for number, dialogue in enumerate(dialogues):
        lines(folder / "lv1-lv2-samples" / "level-1" / f"{number}.jsonl", dialogue)
    return folder


def api(name, arguments, output, exception=None):
    outcome = {"api_name": name, "input": arguments, "output": output, "exception": exception}
    return {"role": "API", "api_name": name, "param_dict": arguments, "result": outcome}


def spoken(role, text):
    return {"role": role, "text": text}


SEARCHED = {"name": "OpenDoor", "description": "Opens a door.", "input_parameters": {"key": {"type": "str"}}}


def test_announcements_and_searches_are_left_out(tmp_path):
    dialogue = [
        spoken("User", "Open door 7"),
        spoken("AI", "Let me look for a tool."),
        api("ToolSearcher", {"keywords": "door"}, SEARCHED),
        spoken("AI", "I get the key."),
        api("FindKey", {"number": 7}, "K7"),
        spoken("AI", "Now the door."),
        api("OpenDoor", {"key": "K7"}, None, "It is stuck."),
        spoken("AI", "It is stuck."),
    ]
    made = convert("api-bank", api_bank(tmp_path, dialogue, [spoken("User", "Hi"), spoken("AI", "Hello")], ["{"]))
    (row,) = made.rows
    roles = [message["role"] for message in row["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "tool", "assistant"]
    assert [name for _, name, _ in calls_of(row)] == ["FindKey", "OpenDoor"]
    assert row["messages"][-2]["content"] == '{"error": "It is stuck."}'
    assert {tool["function"]["name"] for tool in row["tools"]} == {"FindKey", "OpenDoor"}
    assert [each.reason.split(":")[0] for each in made.bad] == [
        "unreadable",
        "Broken",
        "no calls",
    ]


def test_a_tool_takes_what_its_calls_give_where_its_description_does_not_fit(tmp_path):
    dialogue = [spoken("User", "Door 7"), api("FindKey", {"door": "7"}, "K7"), spoken("AI", "K7")]
    (row,) = convert("api-bank", api_bank(tmp_path, dialogue)).rows
    (tool,) = row["tools"]
    assert tool["function"]["description"] == "Finds the key of a door."
    assert tool["function"]["parameters"]["properties"] == {"door": {"type": "string"}}
    assert fault(row) is None


# ---- NESTFUL


def test_the_first_step_of_nested_calls_is_learned(tmp_path):
    spec = [
        {"name": "area", "description": "An area", "query_parameters": {"side": {"type": "Number", "required": True}}},
        {"name": "paint", "description": "Paint", "arguments": {"size": {"description": "m2", "required": True}}},
        {"name": "spare", "description": "Spare", "parameters": {"kind": {"type": "Enum", "allowed_values": ["a"]}}},
    ]
    area = {"name": "area", "arguments": {"side": 2}, "label": "var1"}
    paint = {"name": "paint", "arguments": {"size": "$var1.area$"}, "label": "var2"}
    end = {"name": "var_result", "arguments": {"paint": "$var2$"}}
    data = [
        {"input": "Paint for a wall of 2 by 2", "output": [area, paint, end]},
        {"input": "Only paint", "output": [paint, end]},
        {"input": "Something else", "output": [{**area, "name": "unheard"}, end]},
    ]
    dump(tmp_path / "x" / "a-spec.json", spec)
    dump(tmp_path / "x" / "a-data.json", data)
    made = convert("nestful", tmp_path)
    (row,) = made.rows
    assert [(name, arguments) for _, name, arguments in calls_of(row)] == [("area", {"side": 2})]
    properties = {tool["function"]["name"]: tool["function"]["parameters"]["properties"] for tool in row["tools"]}
    assert properties["area"]["side"]["type"] == "number"
    assert properties["spare"]["kind"] == {"type": "string", "enum": ["a"]}
    assert [each.reason for each in made.bad] == ["its first call uses a result", "unheard is not among the tools"]


# ---- MetaTool


@pytest.fixture
def meta(tmp_path):
    words = ["apples", "bridges", "candles", "drums", "engines", "fossils"]
    dump(tmp_path / "dataset" / "plugin_des.json", {f"{word}&Co": f"All on {word}." for word in words})
    queries = [[f"Ask {number} on apples", "apples&Co"] for number in range(60)]
    table(tmp_path / "dataset" / "data" / "all_clean_data.csv", ["Query", "Tool"], *queries, ["Hm", "unheard"])
    several = [{"query": "apples and drums", "tool": ["apples&Co", "drums&Co"]}]
    dump(tmp_path / "dataset" / "data" / "multi_tool_query_golden.json", several)
    return tmp_path


def test_a_tool_is_chosen_or_none(meta):
    made = convert("metatool", meta)
    assert [str(each) for each in made.bad] == ["all_clean_data.csv, record 62: unheard is not among the tools"]
    refused = 0
    for row in made.rows[:-1]:
        offered = {tool["function"]["name"] for tool in row["tools"]}
        chosen = [name for _, name, _ in calls_of(row)]
        assert chosen == (["applesAndCo"] if "applesAndCo" in offered else [])
        refused += not chosen
    assert 2 <= refused <= 30
    assert [name for _, name, _ in calls_of(made.rows[-1])] == ["applesAndCo", "drumsAndCo"]


# ---- intents


@pytest.fixture
def intents(tmp_path):
    labels = [f"wish_{number}" for number in range(30)]
    table(tmp_path / "data" / "train" / "a.csv", ["utterance", "intent"], *[[f"I {x}", x] for x in labels], ["", "x"])
    table(tmp_path / "banking_data" / "train.csv", ["text", "category"], *[[f"I {x}", x] for x in labels], ["I y", "y"])
    dump(tmp_path / "banking_data" / "categories.json", labels)
    dump(
        tmp_path / "data" / "data_full.json",
        {"train": [[f"I {x}", x] for x in labels], "oos_train": [["What is this", "oos"], [" ", "oos"]]},
    )
    return tmp_path


@pytest.mark.parametrize("name", ["bitext", "banking77", "clinc150"])
def test_an_intent_is_one_of_8_to_20(intents, name):
    made = convert(name, intents)
    assert len(made.bad) == 1
    assert len(made.rows) == 30 + (name == "clinc150")
    for row in made.rows:
        labels = row["response_format"]["json_schema"]["schema"]["properties"]["intent"]["enum"]
        assert 8 <= len(labels) == len(set(labels)) <= 20
        assert json.loads(row["messages"][-1]["content"]) == {"intent": row["intent"]}
        assert row["intent"] in labels
        assert name != "clinc150" or "out_of_scope" in labels
    if name == "clinc150":
        assert made.rows[-1]["intent"] == "out_of_scope"


# ---- all


def test_rows_can_be_learned_from(tmp_path, meta, intents):
    chat = CompactChat(embedded_tokenizer())
    made = [
        *convert("metatool", meta).rows,
        *convert("bitext", intents).rows,
        *convert("seal-tools", sealed(tmp_path, [WEIGH, PAINT])).rows,
    ]
    for row in made:
        assert fault(row) is None
        ChatRequest(model="", messages=row["messages"], tools=row.get("tools"))
        assert len(example_of(row, chat, 2048)) > 20
    path = tmp_path / "rows.jsonl"
    lines(path, made)
    bare = [{key: value for key, value in row.items() if key not in ("source", "intent")} for row in made]
    lines(tmp_path / "bare.jsonl", bare)
    assert read(path, chat, 2048).items == read(tmp_path / "bare.jsonl", chat, 2048).items


def test_what_is_drawn_of_more_depends_on_the_seed(intents):
    few = convert("bitext", intents, most=5).rows
    assert len(few) == 5
    assert few == convert("bitext", intents, most=5).rows
    assert few != convert("bitext", intents, most=5, seed=1).rows


def test_a_row_that_cannot_be_cut_is_reported_as_too_long(intents):
    with pytest.raises(ConfigError, match="contains no rows"):
        convert("bitext", intents, fits=lambda row: False)


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_a_folder_that_holds_something_else_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match=str(tmp_path)):
        convert(name, tmp_path)


def test_a_set_or_part_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="there is no set 'nothing'; choose one of api-bank"):
        convert("nothing", None)
    with pytest.raises(ConfigError, match="sgd has no part 'test'; choose one of train, dev"):
        convert("sgd", None, "test")
