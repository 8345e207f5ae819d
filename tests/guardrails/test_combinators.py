import pytest
from hypothesis import given
from hypothesis import strategies as st

from flightloop.tool import Effect, ToolSpec
from flightloop.verdicts import Action, Stage, Verdict
from guardrails.combinators import FAIL_OPEN, MOST_PASSES, chain, for_tools, named, parallel, settled
from guardrails.types import Checked, CheckedCall, GuardContext, Judgement

CHECKED = Checked(Stage.INPUT, "hello", GuardContext())
actions = st.sampled_from(list(Action))


def says(action, text=None, seen=None, tainted=False):
    async def rail(checked):
        if seen is not None:
            seen.append(checked)
        return Judgement((Verdict(action=action, rail="", stage=checked.stage),), text=text, tainted=tainted)

    return rail


async def raises(checked):
    raise ZeroDivisionError("broken")


async def undecided(checked):
    return None


def call_of(name):
    spec = ToolSpec(name, "a tool", {"type": "object", "properties": {}}, Effect.PURE)
    return Checked(Stage.TOOL_CALL, "", GuardContext(), CheckedCall("c1", spec, {}))


@given(st.lists(actions, min_size=1, max_size=5))
async def test_severest_action_wins(some):
    worst = max(some, key=lambda action: action.severity)
    assert (await parallel(*map(says, some))(CHECKED)).action is worst
    assert (await chain(*map(says, some))(CHECKED)).action is worst


async def test_chain_hands_on_the_replacement_and_the_taint():
    seen = []
    rail = chain(says(Action.REDACT, "clean", tainted=True), says(Action.ALLOW, seen=seen))
    judgement = await rail(CHECKED)
    assert (judgement.text, judgement.tainted) == ("clean", True)
    assert (seen[0].text, seen[0].context.tainted) == ("clean", True)


async def test_chain_ends_with_a_block():
    seen = []
    judgement = await chain(says(Action.BLOCK), says(Action.ALLOW, seen=seen))(CHECKED)
    assert judgement.action is Action.BLOCK
    assert seen == []


def strips(seen, most):
    """A rail that takes the last sign away, as long as the text has more than ``most``."""

    async def rail(checked):
        seen.append(checked.text)
        left = checked.text[:-1] if len(checked.text) > most else None
        action = Action.ALLOW if left is None else Action.REDACT
        return Judgement((Verdict(action=action, rail="", stage=checked.stage),), text=left)

    return rail


async def test_settled_goes_on_until_nothing_changes():
    seen = []
    judgement = await settled(strips(seen, 3))(CHECKED)
    assert (judgement.action, judgement.text, seen) == (Action.REDACT, "hel", ["hello", "hell", "hel"])
    assert (await settled(says(Action.ALLOW, seen=seen))(CHECKED)).text is None


async def test_settled_blocks_what_does_not_settle():
    seen = []
    judgement = await settled(strips(seen, 0))(Checked(Stage.FINAL, "h" * 20, GuardContext()))
    assert (judgement.action, len(seen)) == (Action.BLOCK, MOST_PASSES)


@pytest.mark.parametrize("combine", [chain, parallel])
async def test_no_rails_is_no_decision(combine):
    assert (await combine()(CHECKED)).action is Action.BLOCK


async def test_parallel_does_not_choose_between_two_replacements():
    judgement = await parallel(says(Action.REDACT, "one"), says(Action.REDACT, "two"))(CHECKED)
    assert judgement.action is Action.BLOCK


@pytest.mark.parametrize("rail", [raises, undecided])
async def test_a_failed_rail_blocks_unless_it_may_fail_open(rail):
    closed = await named("mine", rail)(CHECKED)
    assert (closed.action, closed.verdicts[0].rail) == (Action.BLOCK, "mine")
    opened = await named("mine", rail, fail_open=True)(CHECKED)
    assert (opened.action, opened.verdicts[0].labels) == (Action.ALLOW, [FAIL_OPEN])


async def test_for_tools_matches_exact_names():
    rail = for_tools(["refund"], says(Action.BLOCK))
    assert (await rail(call_of("refund"))).action is Action.BLOCK
    assert (await rail(call_of("refund_order"))).verdicts == ()
    assert (await rail(CHECKED)).verdicts == ()


async def test_named_measures_with_the_given_clock():
    ticks = iter([1.0, 1.25])
    judgement = await named("mine", says(Action.ALLOW), clock=lambda: next(ticks))(CHECKED)
    assert judgement.verdicts[0].milliseconds == 250
