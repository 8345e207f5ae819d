from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flightloop.verdicts import Action
from guardrails.finders.pattern import merged, redact
from guardrails.finders.pii import PATTERNS, pii_finder
from guardrails.finders.secrets import secrets_finder
from guardrails.guard import Guard
from guardrails.holdback import HoldBack, StreamBlocked
from guardrails.policy import parse_policy
from guardrails.rails.detector import Detector
from guardrails.rails.detectors import terms_finder
from guardrails.text.normalise import visible
from guardrails.types import GuardContext

KEY = "sk-proj-" + "Ab3" * 8
PIECES = [
    "anna@example.org",
    "4111 1111 1111 1111",
    "DE89 3704 0044 0532 0130 00",
    "+49 30 1234567",
    "301474d3-2478-4083-8133-4865a941dc5b",
    "301474d3-2478-4083-8133-4865",
    "b204200936de43498204411149a1eb1a",
    "ab4111111111111111cd",
    KEY,
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_" + "a1" * 18,
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-def",
    "https://user:pa55word@example.com/x",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE-x\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----\nMII",
    "aws_key = 'wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEYxx'",
    "project  falcon",
    "Project Falconry",
    "12345678Z",
    "the order 20240312 of",
    "Hello,",
    "1",
    "-",
    "@",
    "\u200b",
    "é",
]
texts = st.lists(st.one_of(st.sampled_from(PIECES), st.text("aZ1 -@.:/+s", max_size=6)), max_size=8).flatmap(
    lambda pieces: st.sampled_from(["", " ", ", ", "\n"]).map(lambda glue: glue.join(pieces))
)


def detectors(action=Action.REDACT):
    return [
        Detector("secrets", secrets_finder(), action),
        Detector("pii", pii_finder(tuple(PATTERNS)), action),
        Detector("terms", terms_finder(["project falcon"]), action),
    ]


def cut(text, cuts):
    marks = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[start:end] for start, end in pairwise(marks)]


def whole(text):
    clean = visible(text)
    return redact(clean, [item for detector in detectors() for item in detector.finder.find(clean)])


@settings(max_examples=250, deadline=None)
@given(texts, st.lists(st.integers(0, 500), max_size=12))
@example("-----BEGIN PRIVATE KEY-----\nMII-----END PRIVATE KEY----- and on", list(range(60)))
def test_every_way_to_cut_a_text_gives_what_the_whole_gives(text, cuts):
    stream = HoldBack(detectors(), GuardContext())
    assert "".join([*map(stream.push, cut(text, cuts)), stream.finish()]) == whole(text)


@settings(max_examples=150, deadline=None)
@given(texts)
def test_character_by_character_nothing_of_a_redacted_span_is_released(text):
    text = visible(text)
    spans = merged(item for detector in detectors() for item in detector.finder.find(text))
    stream = HoldBack(detectors(), GuardContext())
    released = ""
    for taken, character in enumerate(text, start=1):
        released += stream.push(character)
        open_span = next((span for span in spans if span.start < taken < span.end), None)
        if open_span:
            assert len(released) <= len(redact(text[: open_span.start], [s for s in spans if s.end <= open_span.start]))
    assert released + stream.finish() == redact(text, spans)


@settings(max_examples=250, deadline=None)
@given(texts, texts, st.lists(st.integers(0, 500), max_size=12))
def test_every_way_to_cut_a_blocked_text_releases_the_same(before, after, cuts):
    text = f"{before} project falcon {after}"
    terms = Detector("terms", terms_finder(["project falcon"]), Action.BLOCK)
    assert released_of([*detectors()[:2], terms], cut(text, cuts)) == released_of([*detectors()[:2], terms], [text])


def released_of(chosen, pieces):
    stream, released = HoldBack(chosen, GuardContext()), ""
    try:
        for piece in pieces:
            released += stream.push(piece)
        released += stream.finish()
    except StreamBlocked as blocked:
        return released + blocked.before
    raise AssertionError("it was not blocked")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_a_blocked_term_ends_the_stream_before_its_first_character(size):
    text = "We can tell you about Project Falcon and more."
    stream, released = HoldBack(detectors(Action.BLOCK), GuardContext()), ""
    with pytest.raises(StreamBlocked) as caught:  # noqa: PT012 (which piece raises is not the point)
        for start in range(0, len(text), size):
            released += stream.push(text[start : start + size])
        stream.finish()
    assert released + caught.value.before == "We can tell you about "
    assert caught.value.ruling.action is Action.BLOCK
    assert "terms" in {verdict.rail for verdict in caught.value.ruling.verdicts if verdict.labels}
    with pytest.raises(StreamBlocked):
        stream.push("more")


def test_plain_text_is_hardly_held():
    stream = HoldBack(detectors(), GuardContext())
    for word in [
        "Your",
        "parcel",
        "left",
        "our",
        "house",
        "on",
        "Monday",
        "and",
        "should",
        "be",
        "with",
        "you",
        "soon.",
    ]:
        stream.push(word + " ")
        assert stream.holding <= 32


def test_held_streams_release_all_at_the_end():
    guard = Guard(parse_policy("name: mine\nversion: 1\nstreaming: held\n"))
    stream = guard.stream(GuardContext())
    assert stream.push("Write to anna@example.org. ") == ""
    assert stream.finish() == "Write to [redacted:email]. "


def test_what_the_user_wrote_may_be_said_and_the_rest_is_in_the_ruling():
    guard = Guard(parse_policy("name: mine\nversion: 1\nstreaming: live\n"))
    stream = guard.stream(GuardContext(user_text="I am Anna@Example.org"))
    text = stream.push("anna@example.org and bob@example.org ") + stream.finish()
    assert text == "anna@example.org and [redacted:email] "
    ruling = stream.ruling()
    assert ruling.action is Action.REDACT
    assert {verdict.policy_sha256 for verdict in ruling.verdicts} == {guard.policy.sha256}
    spans = {verdict.rail: [span.start for span in verdict.spans] for verdict in ruling.verdicts if verdict.spans}
    assert spans == {"pii": [21], "contacts": [21]}


@pytest.mark.parametrize("held", [False, True])
def test_a_detector_that_fails_ends_the_answer(held):
    class Broken:
        def find(self, text, start=0, before=None):
            raise OSError("no such file of weights")

        def live(self, text, start=0):
            return len(text)

    broken = Detector("pii", Broken(), Action.REDACT)
    stream = HoldBack([*detectors(), broken], GuardContext(), held=held)
    with pytest.raises(StreamBlocked) as caught:
        stream.push("The order ") + stream.finish()
    assert caught.value.before == ""
    failed = caught.value.ruling.verdicts[-1]
    assert (failed.action, failed.labels) == (Action.BLOCK, ["fail_closed"])
    assert "OSError: no such file of weights" in caught.value.ruling.reason
    with pytest.raises(StreamBlocked):
        stream.finish()
