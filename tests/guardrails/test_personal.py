from itertools import pairwise

import pytest
import regex
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flightloop.subject import Subject
from flightloop.verdicts import Action
from guardrails.compile import detectors
from guardrails.egress_document import Egress
from guardrails.entities.segments import segments
from guardrails.entities.tokens import tokens
from guardrails.finders.pattern import merged, redact
from guardrails.finders.personal import KINDS, TAGGED, personal_finder
from guardrails.holdback import HoldBack
from guardrails.masked import masked, masked_numbers
from guardrails.policy import default_policy, parse_policy
from guardrails.rail_entries import PiiEntry
from guardrails.rails.detector import Detector
from guardrails.rails.detectors import detector_of
from guardrails.types import GuardContext

FINDER = personal_finder(KINDS)
MUST = [
    ("person", "Anna Beck", "My name is Anna Beck and I can't log in."),
    ("person", "Jürgen Großmann", "Herr Jürgen Großmann hat angerufen."),
    ("person", "Siobhan O'Connor", "Please ask Siobhan O'Connor to call me."),
    ("person", "王芳", "我叫王芳，住在北京市。"),
    ("person", "María López García", "Me llamo María López García y vivo en Sevilla."),
    ("person", "Hélène Dubois", "Bonjour, je m'appelle Hélène Dubois."),
    ("title", "Dr.", "Dr. Miller will see you now."),
    ("organization", "Keller Insurance", "I work for Keller Insurance in Leeds."),
    ("address", "1450 Maple Avenue", "I live at 1450 Maple Avenue, Springfield."),
    ("address", "Lindenstraße 12", "Meine Adresse ist Lindenstraße 12, 10969 Berlin."),
    ("place", "Portugal", "I was born in Portugal."),
    ("postal_code", "90210", "My zip code is 90210."),
    ("nationality", "Norwegian", "My husband is Norwegian."),
    ("date", "March 3, 2021", "It arrived on March 3, 2021."),
    ("birth_date", "12/05/1984", "My date of birth is 12/05/1984."),
    ("age", "47", "I am 47 years old."),
    ("local_phone", "020 7946 0018", "My old number was 020 7946 0018."),
    ("document", "D4438817", "My passport number is D4438817."),
    ("ip", "203.0.113.7", "The login came from 203.0.113.7 last night."),
    ("ip", "2001:db8::8a2e:370:7334", "It is 2001:db8::8a2e:370:7334."),
    ("domain", "www.anna-beck.com", "My site is www.anna-beck.com."),
    ("cn_ric", "11010519491231002X", "身份证11010519491231002X。"),
    ("de_idnr", "36 574 261 809", "Steuer-ID 36 574 261 809"),
    ("email", "anna@mail.example.org", "Write to anna@mail.example.org."),
    ("card", "4111 1111 1111 1111", "Card 4111 1111 1111 1111"),
    ("card", "5018 0000 0009", "Card 5018 0000 0009"),
]
MUST_NOT = [
    "Where is my order 10487?",
    "I'd like to return the blue lamp that I bought last week.",
    "Write a short story about a dragon who lost his fire.",
    "Please cancel the order and refund 49.90 euros.",
    "Version 1.2.3 is out, and it has 300 new features.",
    "def main():\n    return total + 1",
    "The item is in stock: 14 pieces.",
    "Terms and Conditions",
    "1. Preheat the oven\n2. Mix the flour\n3. Bake for 20 minutes",
    '{"status": "open", "total": 12}',
    "Die Lieferung dauert drei Tage.",
    "请帮我取消订单10487。",
    "std::vector<int> a::b",
    "SKU 12345678, size 42",
]


@pytest.mark.parametrize(("kind", "value", "text"), MUST)
def test_each_kind_is_found(kind, value, text):
    assert (kind, value) in {(one.label, text[one.start : one.end]) for one in FINDER.find(text)}


@pytest.mark.parametrize("text", MUST_NOT)
def test_ordinary_text_is_left_alone(text):
    assert [(one.label, text[one.start : one.end]) for one in FINDER.find(text)] == []


def test_names_are_looked_for_only_where_the_policy_lists_them():
    text = "My name is Anna Beck, I live at 1450 Maple Avenue."
    assert spans_of("pii", text) == []
    assert spans_of({"rail": "pii", "kinds": ["person"]}, text) == ["Anna Beck"]
    for detector in detectors(default_policy().document)[0]:
        assert detector.find(text) == []


SAID = "I'm Anna Beck, born 12/05/1984. My doctor is Paul Keller."


@pytest.mark.parametrize(
    ("text", "strange"),
    [
        ("Anna Beck was born on 12/05/1984.", []),
        ("Good morning Ms. Beck!", ["Ms."]),
        ("Dear Anna, Paul called.", []),
        ("Dear Anna, Robert Miller called.", ["Robert Miller"]),
        ("Anna Miller called.", ["Anna Miller"]),
    ],
)
def test_what_the_user_said_may_be_said(text, strange):
    assert spans_of(PiiEntry(rail="pii", kinds=TAGGED), text, GuardContext(user_text=SAID)) == strange
    assert spans_of(PiiEntry(rail="pii", kinds=TAGGED), text, GuardContext(results=(SAID,))) == strange


def test_a_name_in_the_subjects_claims_may_be_said_and_a_result_need_not_vouch():
    entry, text = PiiEntry(rail="pii", kinds=("person",), keep=("user",)), "Hello Anna Beck, this is about Paul Keller."
    context = GuardContext(subject=Subject(id="7", claims={"name": "Anna Beck"}), results=("Paul Keller",))
    assert spans_of(entry, text, context) == ["Paul Keller"]


def test_chinese_names_that_were_said_may_be_said():
    entry = PiiEntry(rail="pii", kinds=("person",))
    assert spans_of(entry, "我叫王芳。") == ["王芳"]
    assert spans_of(entry, "我叫王芳。", GuardContext(user_text="你好，我是王芳，请帮我。")) == []


def spans_of(entry, text, context=None):
    if not isinstance(entry, PiiEntry):
        entry = PiiEntry.model_validate({"rail": entry} if isinstance(entry, str) else entry)
    detector = detector_of(entry, Egress())
    return [text[one.start : one.end] for one in detector.spans(text, context or GuardContext())]


def test_a_policy_names_a_kind_that_does_not_exist():
    with pytest.raises(Exception, match="kinds"):
        parse_policy('name: a\nversion: "1"\nstages: {final: {rails: [{rail: pii, kinds: [surname]}]}}\n')


def test_masked_text_keeps_nothing_and_stays_json():
    text = '{"content": "I am Anna Beck,\\nborn 12/05/1984", "key": "sk-proj-Ab3Ab3Ab3Ab3Ab3Ab3Ab3Ab3"}'
    made = masked(text)
    assert not {"Anna", "Beck", "1984", "Ab3"} & set(regex.findall(r"\w+", made))
    assert made.startswith('{"content": "I am [redacted:person],\\nborn [redacted:')


def test_a_log_line_loses_numbers_and_keys_but_no_names_and_addresses_of_machines():
    line = "anna@mail.example.org paid with 4111 1111 1111 1111 at 10.0.0.7:8000, Anna Beck, 2026-11-30T03:47:28Z"
    assert masked_numbers(line) == (
        "[redacted:email] paid with [redacted:card] at 10.0.0.7:8000, Anna Beck, 2026-11-30T03:47:28Z"
    )


PIECES = [
    "Anna Beck", "Dr. ", "Mr. Smith", "王芳", "我叫", "1450 Maple Avenue", "Springfield, IL 62704", "e\u0301", "\u0301",
    "👩‍👩‍👧", "🇩🇪", "12 March 2021", "born ", "anna@example.org", "4111 1111 1111 1111", "10.0.0.1", "Lindenstraße 12",
    "\n", "\n\n", ". ", "! ", "。", "- ", "I live at ", "called", " ", ",", "'s", "O’Brien", "\r\n", "한", "ᄒ", "ᅡ",
    "+49 30. 1234567", "x" * 70, "A. B. C. ",
]  # fmt: skip
texts = st.lists(st.one_of(st.sampled_from(PIECES), st.text("aZ1 .\n'’é\u200d", max_size=5)), max_size=12).map("".join)


@settings(max_examples=200, deadline=None)
@given(texts)
@example(". \u200d’Anna BeckAnna BeckAnna BeckDr. ")
def test_the_taggers_spans_split_no_grapheme(text):
    edges = {0, *(match.end() for match in regex.finditer(r"\X", text))}
    for one in FINDER.find(text):
        if one.label in TAGGED:
            assert {one.start, one.end} <= edges


@settings(max_examples=200, deadline=None)
@given(texts)
def test_segments_and_tokens_cover_a_text(text):
    found = [*segments(text)]
    assert [0, *(end for _, end in found)] == [*(begin for begin, _ in found), len(text)]
    covered = {at for segment in found for span in tokens(text, *segment) for at in range(*span)}
    assert all(text[at].isspace() for at in set(range(len(text))) - covered)


@settings(max_examples=200, deadline=None)
@given(texts, st.lists(st.integers(0, 300), max_size=8))
@example("+49 30. 1234567 Anna Beck. I live at 1450 Maple Avenue", list(range(60)))
@example("x " * 400 + "Anna Beck called. " * 3, list(range(0, 900, 7)))
def test_every_way_to_cut_a_text_gives_what_the_whole_gives(text, cuts):
    stream = HoldBack([Detector("pii", FINDER, Action.REDACT)], GuardContext(), strip=False)
    marks = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    pieces = [text[start:end] for start, end in pairwise(marks)]
    assert "".join([*map(stream.push, pieces), stream.finish()]) == redact(text, merged(FINDER.find(text)))


@settings(max_examples=60, deadline=None)
@given(texts)
def test_a_stream_holds_at_most_the_open_segment_and_what_may_still_join_it(text):
    stream = HoldBack([Detector("pii", FINDER, Action.REDACT)], GuardContext(), strip=False)
    for taken, character in enumerate(text, start=1):
        stream.push(character)
        # A number may go on across the end of a sentence: it settles once no number reaches so far.
        settled = [end for _, end in segments(text[:taken], complete=False) if end <= taken - 40]
        assert stream.holding <= taken - max(settled, default=0)
