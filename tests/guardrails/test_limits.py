"""Limits over time: what a policy may say, what a call adds, and what the verdict tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flightloop.errors import ConfigError
from flightloop.subject import Subject
from flightloop.tool import Effect, ToolSpec
from flightloop.verdicts import Action, Stage
from guardrails.evidence.limit_amounts import amount_of, key_value
from guardrails.guard import Guard
from guardrails.limit_rules import LARGEST
from guardrails.limit_share import LimitShare, millionths
from guardrails.policy import default_policy, parse_policy, unhurried
from guardrails.types import Checked, CheckedCall, GuardContext, NoEvidence, Ruling

HEAD = """
name: p
version: "1"
tools: {provenance: allow, allow: {"*": ["*"]}, repeated_writes: allow}
"""
SUBJECT = """
subject:
  arguments:
    order_id: {evidence: owner_of, field: customer}
"""
PARAMETERS = {"type": "object", "properties": {"order_id": {"type": "integer"}, "amount": {"type": "number"}}}


def guard(limits: str, more: str = "") -> Guard:
    return Guard(unhurried(parse_policy(f"{HEAD}{more}\nlimits:\n{limits}")))


async def ruled(
    guard: Guard,
    arguments: dict[str, Any],
    used: str | float = "0",
    tool: str = "refund",
    context: GuardContext | None = None,
) -> Ruling:
    async def read(call_id: str, shares: Sequence[LimitShare]) -> list[Decimal]:
        return [Decimal(str(used)) for _ in shares]

    spec = ToolSpec(tool, "", PARAMETERS, Effect.KEYED)
    context = replace(context or GuardContext(agent="a", session_id="s"), used=read)
    return await guard.check(Checked(Stage.TOOL_CALL, "", context, CheckedCall("c", spec, arguments)))


SUM = "  - {tools: [refund], sum: amount, per: [order_id], maximum: 100}"


@pytest.mark.parametrize(
    ("amount", "used", "action"),
    [
        (99, 0, "allow"),
        (1, 99, "allow"),
        (1.01, 99, "block"),
        (99, 99, "block"),
        (0.1, 99.9, "allow"),
        (0.2, 99.9, "block"),
        ("99.50", 0, "allow"),
        ("100.000001", 0, "block"),
        (0, 100, "allow"),
        (0, 150, "block"),
    ],
)
async def test_a_sum_is_compared_exactly(amount: Any, used: float, action: str) -> None:
    ruling = await ruled(guard(SUM), {"order_id": 7, "amount": amount}, used)
    assert ruling.action == action


@pytest.mark.parametrize(
    "amount", [-1, float("nan"), float("inf"), 10**400, "9,5", "1e3", "", "٣", True, [1], {"a": 1}]
)
async def test_what_is_no_amount_leaves_no_room(amount: Any) -> None:
    ruling = await ruled(guard(SUM), {"order_id": 7, "amount": amount})
    assert ruling.action is Action.BLOCK
    assert "can't be counted: amount is not a number from 0 to 1000000000" in ruling.reason


async def test_what_is_left_out_leaves_no_room_either() -> None:
    assert "amount is not a number" in (await ruled(guard(SUM), {"order_id": 7})).reason
    assert "order_id is not given" in (await ruled(guard(SUM), {"amount": 1})).reason


async def test_a_call_that_a_person_may_allow_uses_up_a_limit_that_cannot_count_it() -> None:
    asking = guard("  - {tools: [refund], sum: amount, per: [order_id], maximum: 100, action: ask}")
    ruling = await ruled(asking, {"order_id": 7, "amount": -5}, 40)
    assert ruling.action is Action.ASK
    (share,) = ruling.shares
    assert (share.amount, share.bound) == (100, 140)


async def test_the_reason_tells_the_limit_what_is_used_and_what_is_left() -> None:
    ruling = await ruled(guard(SUM), {"order_id": 7, "amount": 99}, "99")
    assert ruling.reason == (
        "limits: the sum of amount of refund per order_id is limited to 100: 99 used, 1 left, and this call adds 99"
    )
    counting = guard("  - {tools: [refund, pay], count: 3, per: [agent], window: 1d, reason: too many}")
    assert (await ruled(counting, {}, 3, tool="pay")).reason == (
        "limits: too many: the number of calls of refund and pay per agent within 1d is limited to 3: 3 used, 0 left,"
        " and this call adds 1"
    )


async def test_the_reason_tells_nothing_about_others() -> None:
    anna = GuardContext(agent="a", session_id="s", subject=Subject(id="anna"))
    told = {}
    for per in ("agent", "subject", "session", "order_id"):
        counting = guard(f"  - {{tools: [refund], count: 3, per: [{per}]}}")
        told[per] = "used" in (await ruled(counting, {"order_id": 7}, 3, context=anna)).reason
    assert told == {"agent": False, "subject": True, "session": True, "order_id": False}


@pytest.mark.parametrize("key", ["subject", "session", "agent", "day", "tenant"])
async def test_a_key_that_is_no_argument_stays_one_if_an_argument_has_its_name(key: str) -> None:
    counting = guard(f"  - {{tools: [refund], count: 3, per: [{key}]}}")
    anna = GuardContext(agent="a", session_id="s", subject=Subject(id="anna"))
    given: list[dict[str, Any]] = [{}, {key: 1}, {key: 2}, {key: []}]
    names = [(await ruled(counting, one, context=anna)).shares[0].names("s", "2026-01-01") for one in given]
    assert names == [names[0]] * len(names)


class Shop:
    """Evidence: the even orders are Anna's."""

    asked = 0

    async def look_up(self, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        self.asked += 1
        assert tool == "owner_of"
        if arguments["order_id"] > 100:
            raise NoEvidence("no such order")
        return {"customer": "anna" if arguments["order_id"] % 2 == 0 else "bob"}


async def test_a_limit_per_owner_counts_the_orders_of_one_customer_together() -> None:
    per_owner = guard("  - {tools: [refund], count: 1, per: [order_id.owner, day], action: ask}", SUBJECT)
    anna = GuardContext(agent="a", session_id="s", subject=Subject(id="anna"), look_up=Shop().look_up)
    names = []
    for order in (2, 4):
        ruling = await ruled(per_owner, {"order_id": order}, context=anna)
        assert ruling.action is Action.ALLOW
        names += ruling.shares[0].names("s", "2026-01-01")
    assert names[0] == names[1]
    assert "1 used" in (await ruled(per_owner, {"order_id": 2}, 1, context=anna)).reason


async def test_somebody_elses_order_is_blocked_before_its_limit_tells_anything() -> None:
    per_order = guard("  - {tools: [refund], count: 1, per: [order_id]}", SUBJECT)
    anna = GuardContext(agent="a", session_id="s", subject=Subject(id="anna"), look_up=Shop().look_up)
    ruling = await ruled(per_order, {"order_id": 3}, 1, context=anna)
    assert ruling.action is Action.BLOCK
    assert "limits" not in ruling.reason


async def test_amounts_in_another_unit_cannot_be_counted() -> None:
    euros = guard("  - {tools: [refund], sum: amount, unit: {currency: EUR}, maximum: 100}")
    assert (await ruled(euros, {"amount": 5, "currency": "eur"})).action is Action.ALLOW
    assert "currency is not EUR" in (await ruled(euros, {"amount": 5, "currency": "USD"})).reason
    assert "currency is not EUR" in (await ruled(euros, {"amount": 5})).reason


async def test_an_amount_that_stands_for_another_is_looked_up() -> None:
    reading = guard(
        "  - {tools: [refund], sum: amount, per: [order_id], maximum: 100,\n"
        "     read: {when: [0], key: order_id, field: total}}"
    )
    known = GuardContext(trusted_results=('{"order_id": 7, "total": "80.00 EUR"}',), written_before=(0,))
    for given_amount in ({"amount": 0}, {"amount": 0.0}, {}, {"amount": "0"}):
        ruling = await ruled(reading, {"order_id": 7, **given_amount}, context=known)
        assert (ruling.action, ruling.shares[0].amount) == ("allow", 80)
    assert (await ruled(reading, {"order_id": 7, "amount": 0}, 21, context=known)).action is Action.BLOCK
    assert "no result tells it" in (await ruled(reading, {"order_id": 8, "amount": 0}, context=known)).reason


async def test_where_nothing_is_counted_limited_calls_are_blocked() -> None:
    spec = ToolSpec("refund", "", PARAMETERS, Effect.KEYED)
    checked = Checked(Stage.TOOL_CALL, "", GuardContext(), CheckedCall("c", spec, {"order_id": 1, "amount": 1}))
    ruling = await guard(SUM).check(checked)
    assert ruling.action is Action.BLOCK
    assert "can only be made in runs" in ruling.reason


async def test_other_tools_are_not_limited() -> None:
    ruling = await ruled(guard(SUM), {}, 1000, tool="find")
    assert (ruling.action, ruling.shares) == (Action.ALLOW, ())
    everything = guard("  - {tools: ['*'], count: 5, window: session}")
    assert (await ruled(everything, {}, 5, tool="find")).action is Action.BLOCK


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        ("{tools: [refund], maximum: 3}", '"sum" or "count" is required'),
        ("{tools: [refund], sum: amount}", '"maximum" is required with "sum"'),
        ("{tools: [refund], count: 3, maximum: 3}", "not possible"),
        ("{tools: [refund], count: 3, window: P1D}", "write 30m, 12h or 7d"),
        ("{tools: [refund], count: 3, window: 0d}", "write 30m, 12h or 7d"),
        ("{tools: [refund], count: 3, window: 9999d}", "at most 3660d"),
        ("{tools: [refund], count: 3, per: [day], window: 1d}", "counts each calendar day by itself"),
        ("{tools: [refund], count: 3, unit: {currency: EUR}}", "a count has no amounts"),
        ("{tools: [refund], count: -1}", "greater than or equal to 0"),
        ("{tools: [refund], count: 3, action: allow}", "ask"),
        ("{tools: [refund], sum: amount, maximum: .nan}", "finite"),
        ("{tools: ['*'], sum: amount, maximum: 3}", "needs the tools by name"),
        ("{tools: [refund], count: 3, per: [day, day]}", "twice"),
        ("{tools: [refund], count: 3, per: [order_id.owner]}", "needs subject.arguments.order_id"),
        ("{tools: [], count: 3}", "at least 1 item"),
        ("{tools: [refund], count: 3, windows: 1d}", "did you mean"),
    ],
)
def test_an_invalid_limit_is_refused_with_its_line(limit: str, told: str) -> None:
    with pytest.raises(ConfigError, match=r"policy:\d") as error:
        guard(f"  - {limit}")
    assert told.lower() in error.value.message.lower()


def test_limits_hold_although_a_stage_fails_open() -> None:
    with pytest.raises(ConfigError, match="fail_open must be false"):
        guard(SUM, "stages: {tool_call: {rails: [], fail_open: true}}")


def test_policies_without_limits_keep_their_hash() -> None:
    assert "limits" not in default_policy().document.canonical()
    assert guard(SUM).policy.document.canonical()["limits"][0]["maximum"] == "100"


async def test_a_changed_policy_counts_on() -> None:
    changed = "  - {tools: [pay, refund], sum: amount, per: [order_id], maximum: 500, window: 7d, action: ask}"
    shares = [(await ruled(guard(limits), {"order_id": 7, "amount": 1})).shares[0] for limits in (SUM, changed)]
    assert len({share.name("s", "2026-01-01") for share in shares}) == 1
    assert set(shares[0].names("s", "2026-01-01")) < set(shares[1].names("s", "2026-01-01"))


@given(st.decimals(min_value=0, max_value=LARGEST, allow_nan=False, places=6))
def test_an_amount_is_counted_as_it_is_written(amount: Decimal) -> None:
    assert amount_of(f"{amount:f}") == amount
    assert millionths(amount) == int(amount.scaleb(6))


@given(st.floats(min_value=0, max_value=LARGEST))
def test_a_float_never_counts_less_than_it_is(amount: float) -> None:
    counted = amount_of(amount)
    assert counted is not None
    assert 0 <= counted - Decimal(repr(amount)) <= Decimal("0.000001")


@given(st.one_of(st.floats(max_value=-1e-300), st.just(float("nan")), st.integers(min_value=LARGEST + 1), st.text()))
def test_anything_else_is_no_amount(value: Any) -> None:
    counted = amount_of(value)
    assert counted is None or (isinstance(value, str) and counted == amount_of(value.strip()))


SEVENTEEN = [17, 17.0, "17", " #17", "017", "１７", "١٧", "17.0", "17.", "+17", "1_7", "1.7e1", "170E-1", "+0_17.00"]
HIDDEN = ["\u200b17", "1\u200d7", "17\ufeff", "\u00ad17", "1\u034f7", "17\ufe0f", "\u3164 17", "\x0017", "1\U000e00417"]
ORDER = ["ORD-7", "ord-7 ", "#ord-7", "# ORD-7", "ＯＲＤ－７", "O\u200bRD-\u20607"]
DASHES = [f"ord{dash}7" for dash in "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        *((one, "17") for one in (*SEVENTEEN, *HIDDEN)),
        *((one, "ord-7") for one in (*ORDER, *DASHES)),
        *((one, "a b") for one in ("a  b", "A B", "a\t\u200b b\u00a0")),
        *((one, "-7") for one in (-7, "-7", "\u22127", "-07.0", "\u20117")),
        *((one, "0") for one in (0, -0.0, "-0", "0e9", "+.0")),
        *((one, "0.5") for one in (0.5, ".5", "5e-1", "0.50")),
        ("1e999999", "1E+999999"),
        ("10e999998", "1E+999999"),
        ("nan", "nan"),
    ],
)
def test_spellings_of_a_key_count_together(value: Any, told: str) -> None:
    assert key_value("k", value).text == told


@given(st.integers(), st.integers(0, 40), st.sampled_from(["", "+", "0", "#", "\u200b", " "]))
def test_a_number_is_one_key_however_it_is_written(number: int, zeros: int, front: str) -> None:
    written = [str(number), f"{number}.{'0' * zeros}", f"{number}{'0' * zeros}e-{zeros}", f"{number:_}"]
    if number >= 0:
        written.append(f"{front}{number}")
    assert {key_value("k", one).text for one in (number, *written)} == {str(number)}


def test_a_key_of_very_many_digits_stays_exact() -> None:
    most = 10**5000
    keys = [key_value("k", one).text for one in (most, most + 1, "1" + "0" * 5000, "1e5000", "1" + "0" * 4999 + "1.0")]
    assert keys[0] == keys[2] == keys[3]
    assert keys[1] == keys[4]
    assert keys[0] != keys[1]


@pytest.mark.parametrize("value", [None, [1, 2], {"a": 1}, True, "", "  ", "\u200b", "#", float("nan"), float("-inf")])
def test_a_key_that_is_no_single_value_is_unclear(value: Any) -> None:
    assert key_value("k", value).unclear
