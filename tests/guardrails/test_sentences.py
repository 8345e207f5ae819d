from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from flightloop.verdicts import Action, Stage
from guardrails.rail_entries import GroundednessEntry
from guardrails.rails.groundedness import groundedness_rail
from guardrails.text.sentences import sentence_spans, without_sentences
from guardrails.types import Checked, GuardContext


@given(st.text(alphabet="ab1.!? \n\"'。", max_size=80))
def test_spans_cover_the_text_but_its_blanks(text: str) -> None:
    spans = sentence_spans(text)
    assert all(text[start:end].strip() for start, end in spans)
    assert all(first[1] <= second[0] for first, second in pairwise(spans))
    assert "".join("".join(text[start:end] for start, end in spans).split()) == "".join(text.split())


def test_decimals_do_not_end_a_sentence() -> None:
    text = "It is 12.5 now. It was 9.5! Why?\nNobody knows"
    assert [text[start:end].strip() for start, end in sentence_spans(text)] == [
        "It is 12.5 now.", "It was 9.5!", "Why?", "Nobody knows",
    ]  # fmt: skip


def test_sentences_with_a_place_are_left_out() -> None:
    text = "One is good. Two is bad. Three is good."
    at = text.index("bad")
    assert without_sentences(text, [(at, at + 3)]) == "One is good. Three is good."
    assert without_sentences(text, []) == text
    assert without_sentences(text, [(0, len(text))]) == ""


async def test_groundedness_removes_sentences_without_evidence() -> None:
    rail = groundedness_rail(GroundednessEntry(rail="groundedness", action=Action.REDACT))
    context = GuardContext(results=("Lima: 81.8",))
    found = await rail(Checked(Stage.FINAL, "Lima has 81.8. Rome has 99.5. That is all.", context))
    assert found.text == "Lima has 81.8. That is all."
    [verdict] = found.verdicts
    assert (verdict.action, verdict.scores) == (Action.REDACT, {"groundedness": 0.5})
    clean = await rail(Checked(Stage.FINAL, "Lima has 81.8.", context))
    assert (clean.text, clean.action) == (None, Action.ALLOW)
