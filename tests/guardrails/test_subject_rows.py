"""Tables and texts in results: no form of a row tells of somebody else, and the subject's own rows are left."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flightloop.subject import Subject
from flightloop.verdicts import Action
from guardrails.guard import Guard
from guardrails.policy import parse_policy, unhurried
from tests.guardrails.test_subject import shown


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ('{"customer_id": 8, "name": "Else", "no', False),  # cut
        ('{"customer_id": 7, "name": "Me", "no', True),
        ('{"customer_id": 7, "customer_id": 8, "name": "Else"}', False),  # readers differ
        ('{"customer\\u005fid": 8, "name": "Else"}', False),
        ("customer_id,name\n8,Else", False),
        ("| customer_id | name |\n| 8 | Else |", False),
        ("customer_id: 8\nname: Else", False),
        ("customer_id: 7\nname: Me", True),
        ("customer_id: 7\ncustomer_id = 8", False),
        ("(the result was cut: 9 bytes)", True),
        ("error: give a customer_id", True),
        ("error: the customer_id is missing. Ask for it.", True),
        ("error: customer_id: Input should be a valid integer; order_id: Field required", True),
        ("error: customer_id,email\n2224,bob@x", False),
        ("error: customer_id, email\n2224, bob@x", False),
        ("error: customer_id email\n2224 bob@x", False),
        ("error: customer_id 2224, email bob@x", False),
        ('error: {"columns": ["customer_id"], "rows": [[8]]}', False),
        ("customer_id: [7, 8]", False),
        ("customer_id: [7]", True),
        ("customer_id: 7, 8", False),
        ("customer_id: 7 and 8", False),
        ("customer_id: 7 / 8", False),
        ("customer_id: 7 8", False),
        ("customer_id: 7 (8 Else)", False),
        ("customer_id: 7 (since 2019)", True),
        ("customer_id=7\n" * 6000, False),
        ("customer_id: 7\n8\n", False),
        ("customer_id:\n- 7\n- 8", False),
        ("customer_id: 7, name: Me", True),
        ("customer_id: 7, who lives in Bonn.", True),
        ("customer_id: 7.", True),
        ("customer_id 8 is Else", False),
        ("customer_id is 7", True),
        ("customer_id：8", False),
        ('{"customer_id": [7, 8], "x": "bob"}\n(2 parts that are not text were left out)', False),
        ('{"customer_id": [7], "x": "me"}\n(2 parts that are not text were left out)', True),
        ('{"customer_id": 7}\n{"customer_id": 8}', False),
        ('{"customer_id": 7}\n{"customer_id": 7}', True),
        ('{"customer_id": 7}\ncustomer_id,email\n8,else@example.com', False),
        ('{"customer\\u005fid": 8, "name": "Els', False),
        ('{"columns": ["customer_id", "name"], "rows": [[8, "Else"], [8, "El', False),
        ("error: customer_id=8 has no such order", False),
        ("[" * 3000 + '{"customer_id": 8}', False),
    ],
)
async def test_a_text_about_others_is_withheld(text: str, kept: bool) -> None:
    ruling = await shown(text)
    assert (ruling.text == text) is kept
    assert kept or "Else" not in ruling.text


GONE = {"withheld": "1 entry of somebody else"}
HEAD = ["customer_id", "name"]
LOUD, TWICE = ["c.Customer_ID ", "name"], ["customer_id", "customer_id"]
MY_TEXTS = [{"text": "customer_id: 7"}, {"text": "name: Me"}]
LINES = [{"text": "customer_id: 8"}, {"text": "Else"}]


@pytest.mark.parametrize(
    ("result", "left"),
    [
        ({"columns": HEAD, "rows": [[8, "Else"]]}, {"columns": HEAD, "rows": [GONE]}),
        ({"columns": HEAD, "rows": [[7, "Me"], [8, "Else"]]}, {"columns": HEAD, "rows": [[7, "Me"], GONE]}),
        ({"columns": HEAD, "rows": [[7, "Me"]]}, {"columns": HEAD, "rows": [[7, "Me"]]}),
        ({"columns": HEAD, "rows": []}, {"columns": HEAD, "rows": []}),
        (
            {"rows": [[8, "Else"]], "columns": LOUD},
            {"rows": [GONE], "columns": LOUD},
        ),
        (
            {"columns": TWICE, "rows": [[8, 7]]},
            {"columns": TWICE, "rows": [GONE]},
        ),
        ({"columns": HEAD, "row": [8, "Else"]}, None),
        ({"columns": HEAD, "values": [8, "Else", 7, "Me"]}, None),
        ({"columns": HEAD, "rows": [[8, "Else", "x"]]}, None),
        ({"columns": HEAD, "rows": ["8,Else"]}, None),
        ({"columns": HEAD, "other": ["order_id"], "rows": [[7, "Else"]]}, None),
        ({"columns": HEAD, "rows": [{"v": [8, "Else"]}]}, None),
        ({"columns": HEAD, "rows": [{"name": "Else"}]}, None),
        ({"columns": HEAD, "rows": [{"name": "Else", "customer_id": 8}]}, {"columns": HEAD, "rows": [GONE]}),
        ({"columns": HEAD, "notes": [], "row": [8, "Else"]}, None),
        ({"columns": HEAD, "notes": [], "rows": 8}, None),
        ({"schema": {"columns": HEAD}, "rows": [[8, "Else"]]}, None),
        ({"schema": [{"name": "customer_id"}, {"name": "name"}], "rows": [[8, "Else"]]}, None),
        ({"columns": HEAD, "rows": [[7, "customer_id: 8, Else"]]}, {"columns": HEAD, "rows": [GONE]}),
        (
            {"customer_id": 7, "columns": HEAD, "rows": [[8, "Else"]]},
            {"customer_id": 7, "columns": HEAD, "rows": [GONE]},
        ),
        ([HEAD, [8, "Else"]], None),
        ([HEAD, [7, "Me"], [8, "Else"]], [HEAD, [7, "Me"], GONE]),
        ([["People"], HEAD, [7, "Me"], [8, "Else"]], [["People"], HEAD, [7, "Me"], GONE]),
        ([HEAD, "8,Else"], None),
        ([["customer_id", "8"], ["name", "Else"]], None),
        ([["name", "Else"], ["customer_id", 8]], None),
        (["customer_id: 8", "name: Else"], None),
        (["customer_id: 7", "name: Me"], ["customer_id: 7", "name: Me"]),
        (["customer_id", 8, "name", "Else"], None),
        (["customer_id,name", "8,Else"], None),
        ({"content": [{"text": "customer_id: 8"}, {"text": "name: Else"}]}, None),
        (
            {"content": [{"text": "customer_id: 7"}, {"text": "name: Me"}]},
            {"content": [{"text": "customer_id: 7"}, {"text": "name: Me"}]},
        ),
        (
            [{"order_id": 1}, {"order_id": 2, "lines": LINES}],
            [{"order_id": 1}, GONE],
        ),
        ({"customer_id": 7, "csv": "customer_id,name\n8,Else"}, None),
    ],
)
async def test_rows_of_tables_and_of_texts_in_lists_are_read(result: Any, left: Any) -> None:
    for text, note in ((json.dumps(result), ""), (json.dumps(result), "\n(only the first 50 rows are shown)")):
        ruling = await shown(text + note)
        assert "Else" not in ruling.text
        if left is None:
            assert ruling.text.startswith("The result was withheld")
        else:
            assert ruling.text.endswith(note)
            assert json.loads(ruling.text.removesuffix(note)) == left
            assert ruling.action is (Action.ALLOW if left == result else Action.REDACT)


@pytest.mark.parametrize(
    ("subject", "result", "kept"),
    [
        ("2135", {"id": "2135", "text": "I did it, and I decided to."}, True),
        ("2135", {"id": "2136", "text": "I did it."}, False),
        ("2135", {"id": "2135", "rows": ["Your id is known.", "An order-pid: 9"]}, True),
        ("2135", {"id": "2135", "text": "The other id is 2136."}, False),
        ("7", {"email": "me@example.com", "note": "We sent you an email."}, True),
        ("7", {"email": "me@example.com", "note": "Hello,\nwe sent you an email.\nYours"}, True),
        ("7", {"email": "me@example.com", "note": "Sent by email, as you asked"}, True),
        ("7", {"email": "me@example.com", "note": "name email phone\nBob b@example.com 1"}, False),
        ("7", {"email": "me@example.com", "note": "name, email\nBob, b@example.com"}, False),
        ("7", {"email": "me@example.com", "note": "name\temail"}, False),
        ("7", {"email": "me@example.com", "note": "email b@example.com"}, False),
        ("7", {"email": "me@example.com", "note": "email ME@example.com"}, True),
        ("7", {"email": "Me@Example.COM"}, True),
        ("7", {"email": "\u212ae@example.com"}, False),
        ("7", {"note": "The email of Bob is known."}, False),
    ],
)
async def test_short_and_ordinary_names_are_whole_identifiers(subject: str, result: Any, kept: bool) -> None:
    policy = "name: d\nversion: 1\nsubject: {results: {id: {}, email: {equals: subject.claims.email}}}\n"
    who = Subject(id=subject, claims={"email": "me@example.com"})
    ruling = await shown(result, guard=Guard(unhurried(parse_policy(policy))), subject=who)
    assert (ruling.action is Action.ALLOW) is kept


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("你的订单号：7", True),
        ("订单号 7", True),
        ("你的订单号：8", False),
        ("订单号是8", False),
        ("我的订单号为8。", False),
    ],
)
async def test_names_in_scripts_without_blanks_are_found(text: str, kept: bool) -> None:
    guard = Guard(unhurried(parse_policy("name: d\nversion: 1\nsubject: {results: {订单号: {}}}\n")))
    assert ((await shown(text, guard=guard)).action is Action.ALLOW) is kept


TABLES = st.lists(st.tuples(st.sampled_from([1, 2, 3, 99]), st.uuids().map(str)), max_size=5)
SHAPES = ("columns", "head", "objects", "lines")


@given(TABLES, st.sampled_from(SHAPES), st.booleans())
def test_no_form_of_a_table_tells_of_others(table: list[tuple[int, str]], shape: str, noted: bool) -> None:
    result: Any = {
        "columns": {"columns": ["told", "order_id"], "rows": [[told, order] for order, told in table]},
        "head": [["order_id", "told"], *map(list, table)],
        "objects": [{"order_id": order, "told": told} for order, told in table],
        "lines": [f"order_id={order}, told={told}" for order, told in table],
    }[shape]
    text = asyncio.run(shown(json.dumps(result) + "\n(a note)" * noted)).text
    assert [told for order, told in table if order not in (1, 2) and told in text] == []
    if shape in ("columns", "objects") or (table and all(order in (1, 2) for order, _ in table)):
        assert [told for order, told in table if order in (1, 2) and told not in text] == []
