"""Times of day that stand nowhere are cut out of an answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flightloop.verdicts import Action, Stage
from guardrails.rail_entries import InventedTimesEntry
from guardrails.rails.invented_times import invented_times_rail
from guardrails.types import Checked, GuardContext, Judgement


async def checked(said: str, result: str = "", action: Action = Action.REDACT, **context: object) -> Judgement:
    rail = invented_times_rail(InventedTimesEntry(rail="invented_times", action=action))
    known = GuardContext(results=(result,), **context)  # type: ignore[arg-type]
    return await rail(Checked(Stage.FINAL, said, known))


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("It is expected on 1 March at 10:00.", "It is expected on 1 March."),
        ("One for Saturday at 12:00 and one for Tuesday at 2 pm.", "One for Saturday and one for Tuesday."),
        ("It comes around 7 o'clock tomorrow.", "It comes tomorrow."),
        ("Es kommt am 1. März um 10:00.", "Es kommt am 1. März."),
        ("预计3月1日上午10点送达。", "预计3月1日送达。"),
        ("It comes on Fri. at 10:00 with the van.", "It comes on Fri. with the van."),
        ("It comes at 10 a.m. on Monday.", "It comes on Monday."),
        ("Be at home by 10 a.m. We ring.", "Be at home. We ring."),
        ("Es kommt gegen 10:00 Uhr am Montag.", "Es kommt am Montag."),
        ("预计3月1日上午10点左右送达。", "预计3月1日送达。"),
        ("It is on its way. At 10:00, it arrives.", "It is on its way. It arrives."),
        ("It comes on Monday.\nAt about 10:00 the driver rings.", "It comes on Monday.\nThe driver rings."),
        ("At 10:00 the driver rings.", "The driver rings."),
    ],
)
async def test_an_hour_that_stands_nowhere_is_cut(said: str, left: str) -> None:
    judgement = await checked(said, '{"expected_on": "2026-03-01"}')
    (verdict,) = judgement.verdicts
    assert (verdict.action, judgement.text) == (Action.REDACT, left)
    assert all(said[span.start : span.end].strip() in verdict.reason for span in verdict.spans)


@pytest.mark.parametrize(
    ("said", "result"),
    [
        ("It comes at 3 pm.", "due at 15:00"),
        ("It comes at 15:00.", "due 3pm"),
        ("You are booked at 10:00.", "slot 10-12"),
        ("预计下午3点送达。", "2026-03-01T15:00"),
        ("We are open from 10:00 to 18:00.", ""),  # no phrase that a sentence can lose
        ("The score was 3:10.", ""),
        ("It comes on 1 March.", ""),
        ("At about 10:00.", ""),
        ("Um 10:00 Uhr kommt es.", ""),
        ("- at 10:00\n- at 11:00", ""),
        ("It took about 10:00 minutes.", ""),
    ],
)
async def test_what_stands_somewhere_or_cannot_be_cut_stays(said: str, result: str) -> None:
    assert await checked(said, result) == Judgement()


async def test_the_user_the_instructions_and_earlier_answers_are_evidence() -> None:
    for context in ({"user_text": "At 10:00?"}, {"instructions": "Open at 10:00."}, {"answered": ("At 10:00.",)}):
        assert await checked("Come at 10:00.", **context) == Judgement()


async def test_another_action_changes_nothing() -> None:
    judgement = await checked("Come at 10:00.", action=Action.ALLOW)
    assert (judgement.text, judgement.verdicts[0].action) == (None, Action.ALLOW)


@given(
    st.lists(st.sampled_from(["at 10:00", "um 9:30", "3 pm", "to", "-", "10点", "now", ".", "，", "2026"]), max_size=9)
)
async def test_only_phrases_with_times_go(words: list[str]) -> None:
    said = " ".join(words)
    judgement = await checked(said)
    left = said if judgement.text is None else judgement.text
    assert left.count("2026") == said.count("2026")
    assert left.count("now") == said.count("now")
    assert all(left.count(mark) <= said.count(mark) for mark in ("10:00", "9:30", "3 pm", "10点"))
