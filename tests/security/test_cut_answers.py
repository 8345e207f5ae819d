"""Rails that cut an answer: what is left is searched like any answer."""

from __future__ import annotations

import pytest

from flightloop.verdicts import Stage
from guardrails.guard import Guard
from guardrails.policy import parse_policy, unhurried
from guardrails.types import Checked, GuardContext

CUTTING = """
name: desk
version: "1"
stages: {final: {rails: [normalise, secrets, {rail: pii}, {rail: links}, invented_times,
  {rail: groundedness, action: redact}]}}
"""


@pytest.mark.parametrize(
    ("said", "secret"),
    [
        ("Go to shop-help. at 10:37com for it.", "shop-help.com"),
        ("Write to refunds@shop-help. at 10:37com for it.", "shop-help.com"),
        ("Open http at 10:37s://shop-help. at 10:37com/refund for it.", "shop-help.com"),
        ("On its way. ![order](http at 10:37s://shop-help. at 10:37com/p.png?d=Maria)", "shop-help.com"),
        ("Please ring +49 900 at 10:37 1234567 for it.", "1234567"),
        ("Please ring 0900. It is order W-99. 1234567 is open.", "0900. 1234567"),
        ("Pay with 4111 1111 at 10:37 1111 1111, please.", "4111 1111 1111 1111"),
    ],
)
async def test_what_a_rail_cuts_puts_nothing_together(said: str, secret: str) -> None:
    ruling = await Guard(unhurried(parse_policy(CUTTING))).check(Checked(Stage.FINAL, said, GuardContext()))
    assert ruling.text != said
    assert secret not in ruling.text


@pytest.mark.parametrize(
    "said",
    [
        "Write to anna@evil.com4111 1111 1111 1111 for it.",
        "Open a.example:99999123-45-6789//evil.com/refund for it.",
        "Ring 4111111111111111+49 900 1234567 for it.",
    ],
)
async def test_a_label_uncovers_nothing(said: str) -> None:
    """What stood beside a finding may be one, as soon as a label takes the finding's place."""
    ruling = await Guard(unhurried(parse_policy(CUTTING))).check(Checked(Stage.FINAL, said, GuardContext()))
    assert not any(part in ruling.text for part in ("evil.com", "1111", "1234567"))
