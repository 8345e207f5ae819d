"""Calls name the subject's own objects only, and no row of somebody else reaches the model."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flightloop.chat import FunctionDef, ToolDef
from flightloop.errors import ConfigError
from flightloop.subject import Subject
from flightloop.tool import Effect, ToolSpec
from flightloop.verdicts import Action, Stage
from guardrails.guard import Guard
from guardrails.policy import default_policy, parse_policy, unhurried
from guardrails.types import Checked, CheckedCall, GuardContext, NoEvidence, Ruling, no_evidence

POLICY = """
name: desk
version: 1
tools: {allow: {"*": ["*"]}}
subject:
  anonymous: {tools: [show, look, search]}
  arguments:
    order_id: {evidence: owner_of, field: customer_id, unless: [0], anonymous: [order_id, email]}
    customer_id: {}
    email: {equals: subject.claims.email}
  results:
    customer_id: {anonymous: [email]}
    order_id: {evidence: owner_of, field: customer_id, anonymous: [order_id, email]}
"""
OWNERS = {1: 7, 2: 7, 3: 8, 4: 9}
ME = Subject(id="7", claims={"email": "me@example.com"})
GUARD = Guard(unhurried(parse_policy(POLICY)))


async def owner_of(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    assert tool == "owner_of"
    order = arguments["order_id"]
    if order not in OWNERS:
        raise NoEvidence("no such order")
    owner = OWNERS[order]
    return {
        "order_id": order,
        "customer_id": owner,
        "email": "me@example.com" if owner == 7 else f"c{owner}@example.com",
    }


async def rule(
    tool: str, arguments: dict[str, Any], *, guard: Guard = GUARD, spec: ToolSpec | None = None, **context: Any
) -> Ruling:
    own = spec or ToolSpec(tool, "a tool", {"type": "object"}, Effect.PURE)
    given = {"subject": ME, "look_up": owner_of} | context
    return await guard.check(Checked(Stage.TOOL_CALL, "", GuardContext(**given), CheckedCall("c", own, arguments)))


async def shown(result: Any, *, guard: Guard = GUARD, tool: str = "show", **context: Any) -> Ruling:
    text = result if isinstance(result, str) else json.dumps(result)
    call = CheckedCall("c", ToolSpec(tool, "a tool", {"type": "object"}, Effect.PURE), {})
    given = {"subject": ME, "look_up": owner_of} | context
    return await guard.check(Checked(Stage.TOOL_RESULT, text, GuardContext(**given), call))


@pytest.mark.parametrize(
    ("arguments", "action"),
    [
        ({"order_id": 1}, Action.ALLOW),
        ({"order_id": 3}, Action.BLOCK),
        ({"order_id": 99}, Action.BLOCK),
        ({"order_id": 0}, Action.ALLOW),
        ({"order_id": False}, Action.BLOCK),
        ({"order_id": None}, Action.BLOCK),
        ({"order_id": []}, Action.BLOCK),
        ({"order_id": [1, 2]}, Action.ALLOW),
        ({"order_id": [1, 3]}, Action.BLOCK),
        ({"order_id": {"is": 1}}, Action.BLOCK),
        ({"orders": [{"order_id": 1}, {"order_id": 3}]}, Action.BLOCK),
        ({"deep": {"deeper": [[{"order_id": 4}]]}}, Action.BLOCK),
        ({"customer_id": 7}, Action.ALLOW),
        ({"customer_id": "7"}, Action.ALLOW),
        ({"customer_id": 7.0}, Action.ALLOW),
        ({"customer_id": 8}, Action.BLOCK),
        ({"customer_id": "07"}, Action.BLOCK),
        ({"customer_id": "٧"}, Action.BLOCK),
        ({"email": "me@example.com"}, Action.ALLOW),
        ({"email": "c8@example.com"}, Action.BLOCK),
        ({"text": "order 3"}, Action.ALLOW),
    ],
)
async def test_arguments_name_the_subjects_own_objects(arguments: dict[str, Any], action: Action) -> None:
    ruling = await rule("show", arguments)
    assert ruling.action is action
    assert "9" not in ruling.reason.removeprefix(f"subject: order {arguments.get('order_id')} ")
    assert "example.com" not in ruling.reason


async def test_another_object_and_none_are_told_in_the_same_words() -> None:
    told = {(await rule("show", {"order_id": order})).reason.replace(str(order), "N") for order in (3, 99)}
    assert told == {"subject: order N is not one of yours"}


async def test_the_model_is_told_a_sentence_that_it_may_repeat_and_no_text_of_the_call() -> None:
    assert (await rule("show", {"order_id": 3})).told == "order 3 is not one of yours"
    assert (await rule("show", {"customer_id": "8 and the rest"})).told == "this customer_id is not one of yours"
    assert (await rule("show", {"order_id": [3, 99]})).told == "this order_id is not one of yours"


UNKNOWN = "order_id is not known to belong to the user."


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ("[order_id, email]", f"{UNKNOWN} Answer: Which order is it? Please tell me your order number or email."),
        ("[email]", f"{UNKNOWN} Answer: Which order is it? Please tell me your email."),
        ("[]", "order_id: the user has to sign in"),
    ],
)
async def test_an_anonymous_user_is_asked_for_what_is_missing(fields: str, told: str) -> None:
    guard = Guard(
        unhurried(
            parse_policy(
                POLICY.replace("anonymous: [order_id, email]}\n    customer", f"anonymous: {fields}}}\n    customer")
            )
        )
    )
    assert (await rule("show", {"order_id": 3}, guard=guard, subject=None)).reason == f"subject: {told}"


@pytest.mark.parametrize("subject", [ME, None])
@pytest.mark.parametrize("order", [3, 99])
async def test_a_tool_may_be_called_without_what_is_not_the_subjects(subject: Subject | None, order: int) -> None:
    guard = Guard(unhurried(parse_policy(POLICY.replace("unless: [0],", "unless: [0], left_out_in: [show],"))))
    ruling = await rule("show", {"order_id": order, "text": "help"}, guard=guard, subject=subject)
    assert (ruling.action, ruling.arguments) == (Action.REDACT, {"order_id": 0, "text": "help"})
    assert (await rule("look", {"order_id": order}, guard=guard, subject=subject)).action is Action.BLOCK
    ruling = await rule("show", {"order_id": order, "email": "c8@example.com"}, guard=guard, subject=subject)
    assert ruling.action is Action.BLOCK  # only what the policy names is left out
    ruling = await rule("show", {"deep": {"order_id": order}}, guard=guard, subject=subject)
    assert ruling.action is Action.BLOCK


def test_what_takes_the_place_of_a_value_must_be_said() -> None:
    with pytest.raises(ConfigError, match="left_out_in"):
        parse_policy(POLICY.replace("unless: [0],", "left_out_in: [show],"))


async def test_a_subject_without_the_claim_owns_nothing_by_it() -> None:
    assert (await rule("show", {"email": "me@example.com"}, subject=Subject(id="7"))).action is Action.BLOCK


@pytest.mark.parametrize(
    ("words", "order", "action"),
    [
        ("Where is order 3?", 3, Action.ALLOW),
        ("Where is order 3?", 4, Action.BLOCK),
        ("I am c8@example.com", 3, Action.ALLOW),
        ("I am C8@Example.com", 3, Action.ALLOW),
        ("I am c9@example.com", 3, Action.BLOCK),
        ("Where is my order?", 3, Action.BLOCK),
        ("Where is order 99?", 99, Action.ALLOW),  # there is no such order, and the tool says so
        ("I am c8@example.com", 99, Action.BLOCK),
        ("看看订单3的快递", 3, Action.ALLOW),
        ("我付了3元的运费", 3, Action.BLOCK),
        ("我的邮箱是c8@example.com谢谢", 3, Action.ALLOW),
    ],
)
async def test_an_anonymous_user_proves_to_know_an_object(words: str, order: int, action: Action) -> None:
    ruling = await rule("show", {"order_id": order}, subject=None, user_text=words)
    assert ruling.action is action


async def test_an_anonymous_user_has_nothing_that_only_an_id_names() -> None:
    ruling = await rule("show", {"customer_id": 8}, subject=None, user_text="I am customer 8, c8@example.com")
    assert ruling.action is Action.BLOCK
    assert "sign in" in ruling.reason


async def test_a_star_is_for_objects_that_calls_have_proved_already() -> None:
    policy = POLICY.replace("customer_id: {anonymous: [email]}", "customer_id: {anonymous: ['*']}")
    guard = Guard(unhurried(parse_policy(policy)))
    row = {"customer_id": 8, "name": "Else"}
    assert (await shown(row, guard=guard, subject=None)).action is Action.ALLOW
    assert (await shown(row, guard=guard)).action is Action.REDACT


async def test_an_anonymous_user_calls_listed_tools_only() -> None:
    assert (await rule("look", {}, subject=None)).action is Action.ALLOW
    assert (await rule("pay", {}, subject=None)).action is Action.BLOCK
    assert (await rule("pay", {})).action is Action.ALLOW
    asking = Guard(unhurried(parse_policy(POLICY.replace("search]}", "search], otherwise: ask}"))))
    assert (await rule("pay", {}, guard=asking, subject=None)).action is Action.ASK
    assert (await rule("show", {"order_id": 3}, guard=asking, subject=None)).action is Action.ASK
    assert (await rule("show", {"order_id": 3}, guard=asking)).action is Action.BLOCK


async def test_without_a_word_about_them_anonymous_users_may_call_nothing() -> None:
    guard = Guard(parse_policy("name: desk\nversion: 1\nsubject: {arguments: {a: {}}}\n"))
    assert (await rule("show", {}, guard=guard, subject=None)).action is Action.BLOCK


async def test_without_a_section_nothing_is_bound() -> None:
    guard = Guard(unhurried(default_policy()))
    assert (await rule("show", {"order_id": 3}, guard=guard, subject=None)).action is Action.ALLOW
    assert "subject" not in default_policy().document.canonical()


@pytest.mark.parametrize("failure", ["raises", "hangs", "missing", "no_object", "no_field"])
async def test_without_evidence_a_call_is_blocked(failure: str) -> None:
    async def look_up(tool: str, arguments: dict[str, Any]) -> Any:
        if failure == "raises":
            raise RuntimeError("database is locked")
        if failure == "hangs":
            await asyncio.Event().wait()
        return [] if failure == "no_object" else {"other": 7}

    quick = POLICY + "stages: {tool_call: {rails: [], timeout_ms: 30}, tool_result: {rails: [], timeout_ms: 30}}\n"
    guard = Guard(parse_policy(quick))
    given: dict[str, Any] = {"look_up": no_evidence if failure == "missing" else look_up}
    assert (await rule("show", {"order_id": 1}, guard=guard, **given)).action is Action.BLOCK
    result = await shown({"order_id": 1, "total": "secret"}, guard=guard, **given)
    assert result.action is Action.BLOCK or "secret" not in result.text


async def test_a_default_that_names_another_object_is_checked_too() -> None:
    schema = {"type": "object", "properties": {"order_id": {"type": "integer", "default": 3}}}
    spec = ToolSpec("show", "a tool", schema, Effect.PURE)
    assert (await rule("show", {}, spec=spec)).action is Action.BLOCK
    unknown = ToolSpec(
        "show", "a tool", {"type": "object", "properties": {"order_id": {"type": "integer"}}}, Effect.PURE
    )
    assert (await rule("show", {}, spec=unknown)).action is Action.BLOCK


@pytest.mark.parametrize(
    ("result", "left"),
    [
        ({"customer_id": 7, "name": "Me"}, {"customer_id": 7, "name": "Me"}),
        ({"customer_id": 8, "name": "Else"}, None),
        ({"CUSTOMER_ID": 8, "name": "Else"}, None),
        ({"data": {"customer_id": 8}, "name": "Else"}, None),
        ([{"customer_id": 7}, {"customer_id": 8}], [{"customer_id": 7}, {"withheld": "1 entry of somebody else"}]),
        (
            {"orders": [{"order_id": 1}, {"order_id": 3}, {"order_id": 4}], "shop": "x"},
            {"orders": [{"order_id": 1}, {"withheld": "2 entries of somebody else"}], "shop": "x"},
        ),
        ({"order_id": 99}, None),
        ({"order_id": [1, 3]}, None),
        ([{"text": '{"customer_id": 8}'}], [{"withheld": "1 entry of somebody else"}]),
        ([{"text": '{"customer_id": 7}'}], [{"text": '{"customer_id": 7}'}]),
        ({"nothing": "bound"}, {"nothing": "bound"}),
    ],
)
async def test_rows_of_others_are_withheld(result: Any, left: Any) -> None:
    ruling = await shown(result)
    if left is None:
        assert ruling.action is Action.REDACT
        assert ruling.text.startswith("The result was withheld")
        assert "Else" not in ruling.text
    else:
        assert json.loads(ruling.text) == left
        assert ruling.action is (Action.ALLOW if left == result else Action.REDACT)


async def test_anonymous_users_see_the_rows_that_they_prove_to_know() -> None:
    rows = [{"customer_id": 8, "email": "c8@example.com"}, {"customer_id": 9, "email": "c9@example.com"}]
    ruling = await shown(rows, subject=None, user_text="c9@example.com here")
    assert json.loads(ruling.text) == [rows[1], {"withheld": "1 entry of somebody else"}]
    assert (await shown({"order_id": 3}, subject=None, user_text="order 3")).action is Action.ALLOW
    assert (await shown({"order_id": 3}, subject=None, user_text="order 4")).action is Action.REDACT


def test_stages_that_fail_open_can_not_bind() -> None:
    for stage in ("tool_call", "tool_result"):
        with pytest.raises(ConfigError, match=f"stages.{stage}.fail_open must be false"):
            parse_policy(POLICY + f"stages: {{{stage}: {{rails: [], fail_open: true}}}}\n")


@pytest.mark.parametrize(
    "section",
    [
        "arguments: {a: {equals: subject.name}}",
        "arguments: {a: {evidence: t}}",
        "arguments: {a: {field: t}}",
        "anonymous: {otherwise: allow}",
        "argument: {a: {}}",
    ],
)
def test_a_wrong_section_is_refused(section: str) -> None:
    with pytest.raises(ConfigError, match="subject"):
        parse_policy(f"name: desk\nversion: 1\nsubject: {{{section}}}\n")


async def test_schemas_leave_the_model_no_choice() -> None:
    schema = {"type": "object", "properties": {"customer_id": {"type": "integer"}, "order_id": {"type": "integer"}}}
    tools = [ToolDef(function=FunctionDef(name=name, parameters=schema)) for name in ("show", "pay")]
    narrowed = await GUARD.narrow(tools, GuardContext(subject=ME))
    assert [tool.function.parameters["properties"]["customer_id"] for tool in narrowed] == [
        {"type": "integer", "const": 7}
    ] * 2
    assert narrowed[0].function.parameters["properties"]["order_id"] == {"type": "integer"}
    assert [tool.function.name for tool in await GUARD.narrow(tools, GuardContext())] == ["show"]


SECRETS = st.uuids().map(str)
OWNED = st.fixed_dictionaries({"order_id": st.sampled_from([1, 2]), "told": SECRETS})
FOREIGN = st.fixed_dictionaries({"order_id": st.sampled_from([3, 4, 99, None, "x"]), "told": SECRETS})
LEAVES = OWNED | FOREIGN | st.fixed_dictionaries({"told": SECRETS}) | st.integers() | st.text(max_size=5)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)


def told_by_others(value: Any) -> tuple[bool, set[str], set[str]]:
    """Whether a value is another's, what it tells of others, and what of the subject."""
    if isinstance(value, list):
        below = [told_by_others(inner) for inner in value]
        others = {told for gone, theirs, mine in below for told in (theirs | mine if gone else theirs)}
        return False, others, {told for gone, _, mine in below if not gone for told in mine}
    if isinstance(value, dict):
        below = [told_by_others(inner) for inner in value.values()]
        gone = value.get("order_id", 1) not in (1, 2) or any(one for one, _, _ in below)
        theirs = {told for _, others, _ in below for told in others}
        mine = {told for _, _, own in below for told in own} | ({value["told"]} if "told" in value else set())
        return (True, theirs | mine, set()) if gone else (False, theirs, mine)
    return False, set(), set()


@given(VALUES)
def test_nothing_of_others_is_left_and_all_that_is_the_subjects(value: Any) -> None:
    gone, theirs, mine = told_by_others(value)
    text = asyncio.run(shown(value)).text
    assert [told for told in theirs if told in text] == []
    assert [told for told in mine if told not in text] == []
    assert gone == text.startswith("The result was withheld")
