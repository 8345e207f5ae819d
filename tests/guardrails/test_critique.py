from dataclasses import replace

import pytest

from flightloop.verdicts import Action, Stage
from guardrails.fakes import ScriptedJudge
from guardrails.guard import Guard
from guardrails.layered import Layered
from guardrails.placeholder_policy import PlaceholderPolicy
from guardrails.policy import parse_policy
from guardrails.types import Checked, GuardContext

POLICY = parse_policy(
    """
name: mine
version: 1
stages: {final: {rails: [{rail: terms, terms: [forbidden]}, secrets]}}
constitution: {enabled: true, max_revisions: 2, principles: [Be polite.]}
"""
)
OBJECTION = "VIOLATION: 1, it is rude"

SAID = GuardContext(user_text="I am ada@example.org.")


async def judged(*answers, text="Go away."):
    judge = ScriptedJudge(answers)
    return await Guard(POLICY, judge).check(Checked(Stage.FINAL, text, GuardContext())), judge


async def test_a_good_answer_stays():
    ruling, judge = await judged("ok.")
    assert (ruling.action, ruling.text, len(judge.prompts)) == (Action.ALLOW, "Go away.", 1)
    assert "Be polite." in judge.prompts[0]


async def test_a_revised_answer_replaces_the_first():
    ruling, judge = await judged(OBJECTION, "Please leave.", OBJECTION, "Would you leave, please?", "OK")
    assert (ruling.action, ruling.text) == (Action.REDACT, "Would you leave, please?")
    assert "it is rude" in judge.prompts[1]


async def test_after_the_last_revision_it_is_refused():
    ruling, judge = await judged(OBJECTION, "Leave.", OBJECTION, "Leave!", OBJECTION)
    assert (ruling.action, len(judge.prompts)) == (Action.BLOCK, 5)


@pytest.mark.parametrize("answers", [("Hm",) * 5, ("VIOLATION:",) * 5, (), (OBJECTION,), (OBJECTION, " ")])
async def test_no_clear_word_is_a_refusal(answers):
    assert (await judged(*answers))[0].action is Action.BLOCK


async def test_a_revision_passes_the_other_rails_too():
    assert (await judged(OBJECTION, "This is forbidden.", "OK"))[0].action is Action.BLOCK
    ruling, _ = await judged(OBJECTION, "Your key is AKIAIOSFODNN7EXAMPLE, dear.", "OK")
    assert ruling.text == "Your key is [redacted:aws_key], dear."


async def test_without_a_judge_it_blocks():
    assert (await Guard(POLICY).check(Checked(Stage.FINAL, "Hello.", GuardContext()))).action is Action.BLOCK


async def test_what_the_other_rails_block_is_not_judged():
    ruling, judge = await judged("OK", text="forbidden")
    assert (ruling.action, judge.prompts) == (Action.BLOCK, [])


async def test_the_judge_reads_placeholders_where_the_policy_hides_data():
    document = POLICY.document.model_copy(update={"placeholders": PlaceholderPolicy(kinds=("email",))})
    judge = ScriptedJudge((OBJECTION, "Please write to [EMAIL_1].", "OK"))
    guard = Guard(replace(POLICY, document=document), judge)
    ruling = await guard.check(Checked(Stage.FINAL, "Write to ada@example.org!", SAID))
    assert ruling.text == "Please write to ada@example.org."
    assert not any("ada@example.org" in prompt for prompt in judge.prompts)


async def test_the_judge_of_a_sub_run_hides_what_the_callers_hide():
    document = POLICY.document.model_copy(update={"placeholders": PlaceholderPolicy(kinds=("email",))})
    judge = ScriptedJudge(("OK", "OK"))
    guards = [Guard(replace(POLICY, document=document), judge), Guard(POLICY, judge)]
    await Layered(guards).check(Checked(Stage.FINAL, "Write to ada@example.org!", SAID))
    assert len(judge.prompts) == 2
    assert not any("ada@example.org" in prompt for prompt in judge.prompts)
