import pytest

from flightloop.verdicts import Action, Stage
from guardrails.rail_entries import GroundednessEntry
from guardrails.rails.groundedness import claims, groundedness_rail
from guardrails.types import Checked, GuardContext

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
