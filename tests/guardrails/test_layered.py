"""Guards in layers: what one of them blocks or withholds in a stream, no other one releases."""

import pytest

from flightloop.verdicts import Action
from guardrails.guard import Guard
from guardrails.holdback import StreamBlocked
from guardrails.layered import Layered
from guardrails.policy import parse_policy
from guardrails.types import GuardContext

KEY = "sk-proj-" + "Ab3" * 8
SAID = f"Write to anna@example.org with {KEY} today."
BLOCKS_KEYS = "{rail: secrets, action: block}"
REDACTS_MAIL = "{rail: pii, kinds: [email]}"


def guard(rail: str, streaming: str = "live") -> Guard:
    egress = "egress: {contacts: allow}"
    stages = f"stages: {{stream: {{rails: [{rail}]}}}}"
    return Guard(parse_policy(f"name: desk\nversion: '1'\nstreaming: {streaming}\n{egress}\n{stages}\n"))


def left_of(layered: Layered, *pieces: str) -> tuple[str, StreamBlocked]:
    """What a stream releases until it is blocked, with the text before the finding."""
    stream, released = layered.stream(GuardContext()), ""
    try:
        for piece in pieces:
            released += stream.push(piece)
        released += stream.finish()
    except StreamBlocked as blocked:
        return released + blocked.before, blocked
    raise AssertionError(f"not blocked: {released}")


@pytest.mark.parametrize("pieces", [(SAID,), tuple(SAID), (SAID[:40], SAID[40:])])
@pytest.mark.parametrize("order", [1, -1])
def test_the_text_before_a_blocked_key_is_redacted_by_the_other_guard(pieces: tuple[str, ...], order: int) -> None:
    guards = [guard(BLOCKS_KEYS), guard(REDACTS_MAIL)][::order]
    left, blocked = left_of(Layered(guards), *pieces)
    assert left.startswith("Write to [redacted:email]")
    assert "anna" not in left
    assert KEY not in left
    assert {verdict.rail: verdict.action for verdict in blocked.ruling.verdicts}["secrets"] is Action.BLOCK
    assert blocked.ruling.action is Action.BLOCK


def test_a_guard_that_holds_its_answers_releases_nothing_of_a_blocked_one() -> None:
    left, _ = left_of(Layered([guard(BLOCKS_KEYS), guard(REDACTS_MAIL, streaming="held")]), SAID)
    assert left == ""


def test_a_blocked_stream_stays_blocked() -> None:
    stream = Layered([guard(BLOCKS_KEYS), guard(REDACTS_MAIL)]).stream(GuardContext())
    for _ in range(2):
        with pytest.raises(StreamBlocked):
            stream.push(SAID)
    with pytest.raises(StreamBlocked) as blocked:
        stream.finish()
    assert blocked.value.before == ""
