from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from flightloop.verdicts import Action, Stage
from guardrails.evidence.grounds import claims
from guardrails.rail_entries import GroundednessEntry
from guardrails.rails.groundedness import groundedness_rail
from guardrails.types import Checked, GuardContext, Utterance

EVIDENCE = GuardContext(
    user_text="Order W-1042, I'm anna@example.org",
    results=('{"total": "1,299.50 EUR", "placed_on": "2024-03-12", "tracking": "JD0002", "items": 12}',),
)


async def score(text, context=EVIDENCE, **entry):
    rail = groundedness_rail(GroundednessEntry(rail="groundedness", **entry))
    return (await rail(Checked(Stage.FINAL, text, context))).verdicts[0]


@pytest.mark.parametrize(
    "text",
    [
        "Your order W-1042 costs 1299.50 euros.",
        "Order #w-1042 of 12 March 2024",
        "Placed on March 12th, 2024, or 12.03.2024, or 3/12/2024",
        "Anna@Example.org has 12 items, parcel jd0002",
    ],
)
async def test_what_stands_in_the_evidence_is_supported(text):
    verdict = await score(text)
    assert verdict.scores == {"groundedness": 1.0}
    assert verdict.spans == []


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        ("It costs 1299.51 euros.", "1299.51"),
        ("Order W-1043 is lost.", "W-1043"),
        ("It came on 13 March 2024.", "13 March 2024"),
        ("Write to bob@example.org", "bob@example.org"),
    ],
)
async def test_what_stands_nowhere_is_marked(text, claim):
    verdict = await score(text)
    assert verdict.scores == {"groundedness": 0.0}
    assert [text[span.start : span.end] for span in verdict.spans] == [claim]
    assert verdict.action is Action.ALLOW


async def test_the_score_is_a_share_and_the_action_is_the_policys():
    text = "Order W-1042 costs 1,299.50 EUR and comes on 2024-03-20 with 77 gifts."
    verdict = await score(text, minimum=0.6, action=Action.ASK)
    assert (verdict.scores["groundedness"], verdict.action) == (0.5, Action.ASK)
    assert (await score(text, minimum=0.5, action=Action.ASK)).action is Action.ALLOW


async def test_without_claims_there_is_no_score():
    assert (await score("I am happy to help. 1. Look. 2. Wait for 3 days.")).scores == {}


def test_a_date_is_one_claim():
    assert [claim.kind for claim in claims("On 2024-03-12, 12 March 2024 and 12.03.2024.")] == ["date"] * 3


@pytest.mark.parametrize(
    ("said", "asked", "result"),
    [
        ("订单58641一共91.70元，9月16日送达。", "看看订单58641", '{"total": "91.70 EUR", "due": "2026-09-16"}'),
        ("XZ-3041没有查到。", "看看XZ-3041总共多少钱", ""),
        ("Es kommt am 17. Juni um 16:30 Uhr.", "", "2026-06-17T16:30"),
        ("Twelve or 12 are left.", "", "a dozen"),
    ],
)
async def test_values_count_in_any_notation(said, asked, result):
    verdict = await score(said, GuardContext(user_text=asked, results=(result,)))
    assert verdict.scores == {"groundedness": 1.0}, verdict.reason


@pytest.mark.parametrize("said", ["订单58642已送达。", "9月17日送达。", "XZ-3042没有查到。"])
async def test_wrong_values_beside_chinese_words_are_marked(said):
    context = GuardContext(user_text="看看订单58641和XZ-3041", results=('{"due": "2026-09-16"}',))
    assert (await score(said, context)).scores == {"groundedness": 0.0}


async def test_tomorrow_in_the_users_words_is_a_date():
    said = (Utterance("Do you have a table tomorrow?", datetime(2026, 9, 15, 12, tzinfo=UTC)),)
    context = GuardContext(user_text=said[0].text, said=said)
    assert (await score("Yes, on 16 September.", context)).scores == {"groundedness": 1.0}
    assert (await score("Yes, on 17 September.", context)).scores == {"groundedness": 0.0}


@pytest.mark.parametrize(
    ("said", "unsupported"),
    [
        ("The parcel is in Porto.", []),
        ("Your parcel went to Lisbon, Ms Kaya.", ["Lisbon"]),
        ("Good morning! Nothing was found.", []),
        ("Hello Anna Weber, it is with you.", ["Anna Weber"]),
    ],
)
async def test_names_need_evidence_if_the_policy_wants_it(said, unsupported):
    context = GuardContext(user_text="I am Tom Kaya.", results=('{"at": "Porto"}',))
    verdict = await score(said, context, names=True)
    assert [said[span.start : span.end] for span in verdict.spans] == unsupported
    assert not (await score(said, context)).spans


async def test_an_answer_of_which_nothing_is_left_becomes_the_policys():
    rail = groundedness_rail(GroundednessEntry(rail="groundedness", action=Action.REDACT, otherwise="I don't know."))
    judgement = await rail(Checked(Stage.FINAL, "Order W-1043 is lost.", EVIDENCE))
    assert judgement.text == "I don't know."
    assert judgement.verdicts[0].reason == '1 of 1 claims have no evidence: "W-1043"'


@pytest.mark.parametrize(("asked", "told"), [("Where is it?", "Unknown."), ("它在哪里？", "不知道。")])
async def test_the_policys_answer_has_the_language_of_the_latest_message(asked, told):
    texts = {"zh": "不知道。", "en": "Unknown."}
    rail = groundedness_rail(GroundednessEntry(rail="groundedness", action=Action.REDACT, otherwise=texts))
    now = datetime(2027, 1, 4, tzinfo=UTC)
    said = (Utterance("你好 and hello", now), Utterance(asked, now))
    assert (await rail(Checked(Stage.FINAL, "Order W-1043 is lost.", replace(EVIDENCE, said=said)))).text == told


@dataclass(frozen=True)
class Stated:
    """A number in a text that a source of facts knows."""

    start: int
    end: int
    right: bool = False
    numbers: tuple[float, ...] = (24.0,)
    strict: bool = False
    fact: str = "Scented Candle has no warranty"


@pytest.mark.parametrize(
    ("entry", "left"),
    [
        ({"contradicted": Action.REDACT}, "It is order W-1043."),
        ({"action": Action.REDACT, "contradicted": Action.REDACT}, "Ask us."),
        ({"action": Action.REDACT}, "Ask us."),
        ({}, None),
    ],
)
async def test_what_contradicts_the_facts_has_an_action_of_its_own(entry, left):
    text = "It is order W-1043. The warranty is 24 months."

    async def facts(said, asked):
        return [Stated(said.index("24"), said.index("24") + 2)]

    context = replace(EVIDENCE, facts=facts)
    rail = groundedness_rail(GroundednessEntry(rail="groundedness", otherwise="Ask us.", **entry))
    judgement = await rail(Checked(Stage.FINAL, text, context))
    assert judgement.text == left
    assert "against the facts: Scented Candle has no warranty" in judgement.verdicts[0].reason


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("I can't find order 12345. What is your order number?", "What is your order number?"),
        ("Use the code SAVE-20271 today. It takes 3 to 17 days.", "It takes 3 to 17 days."),
        ("Order 12345 costs 99.00 EUR.", "Ask us."),
        ("It is on its way. It is expected on 20 March.", "It is on its way."),
        ("It was sent in 2019 and weighs 17 kg.", None),
        ("It is a pillow. It costs 17 EUR.", "It is a pillow."),
        ("All 12 cost 15,594.00 EUR.", None),
        ("羽绒枕头的价格是 120 元。", "Ask us."),
        ("Shipping is €14.90 today.", "Ask us."),
        ("Order W-1043 is on its way.", None),
    ],
)
async def test_dates_prices_and_identifiers_from_nowhere_have_an_action_of_their_own(said, left):
    rail = groundedness_rail(GroundednessEntry(rail="groundedness", otherwise="Ask us.", exact=Action.REDACT))
    judgement = await rail(Checked(Stage.FINAL, said, EVIDENCE))
    assert judgement.text == left
    assert judgement.verdicts[0].action is (Action.REDACT if left else Action.ALLOW)


async def test_an_identifier_that_the_user_named_is_left():
    rail = groundedness_rail(GroundednessEntry(rail="groundedness", exact=Action.BLOCK))
    context = replace(EVIDENCE, user_text="Where is 12345?")
    judgement = await rail(Checked(Stage.FINAL, "I can't find order 12345.", context))
    assert judgement.verdicts[0].action is Action.ALLOW


async def test_what_the_facts_confirm_is_left():
    async def facts(said, asked):
        return [Stated(said.index("24"), said.index("24") + 2, right=True)]

    verdict = await score("The warranty is 24 months.", replace(EVIDENCE, facts=facts), contradicted=Action.BLOCK)
    assert verdict.action is Action.ALLOW
