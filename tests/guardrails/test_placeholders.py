"""Placeholders: masking and filling in, as wholes and in pieces."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails.placeholder_policy import PlaceholderPolicy, all_of
from guardrails.placeholders.filling import Filling
from guardrails.placeholders.known import Known
from guardrails.placeholders.marks import LONGEST, alike, mark, marks, open_at
from guardrails.placeholders.register import Register

KINDS = ("email", "phone", "iban", "card", "person", "address", "age")
VALUES = ("ada@example.org", "bob@example.com", "+49 30 5550100", "DE89370400440532013000", "4111 1111 1111 1111")
SCRAPS = [*'[]\n"\\{}…aé🙂 ', "Anna Smith", "12 Main Street", "is 34 years old", "mail ", ", ", "\\u00e9"]
ALIKE = ["[EMAIL_1]", "[TEXT_1]", "[email_1]", "［EMAIL_1］", "[EMAIL_", "_1]", "EMAIL_1"]
PIECES = st.sampled_from([*VALUES, *SCRAPS, *ALIKE])
FEW = settings(max_examples=40)
"""For tests in which the tagger reads."""
TEXTS = st.lists(PIECES | st.text(max_size=6), max_size=12).map("".join)


def made(*kinds: str, **tools: tuple[str, ...]) -> Register:
    return Register(PlaceholderPolicy(kinds=kinds or KINDS, tools=tools))


def test_a_value_has_one_placeholder_and_a_placeholder_one_value() -> None:
    register = made()
    text = "Mail ada@example.org or bob@example.com, or ada@example.org."
    assert register.masked(text) == "Mail [EMAIL_1] or [EMAIL_2], or [EMAIL_1]."
    assert register.masked("bob@example.com") == "[EMAIL_2]"
    assert register.filled("[EMAIL_2], [email_1], [EMAIL_3]") == "bob@example.com, ada@example.org, [EMAIL_3]"


def test_what_was_found_once_is_replaced_wherever_it_stands() -> None:
    register = made()
    assert register.masked("My name is Anna Smith.") == "My name is [PERSON_1]."
    assert register.masked("qq Anna Smith-qq") == "qq [PERSON_1]-qq"
    assert register.masked("qq Anna Smithers") == "qq [PERSON_2]"


def test_a_known_value_ends_where_another_script_begins() -> None:
    register = made("person")
    assert register.masked("My name is Anna Smith.") == "My name is [PERSON_1]."
    for text in ("qqq为Anna Smith办qqq", "qqは Anna Smithのqqq", "Anna Smith님의 qqq"):
        assert "Smith" not in register.masked(text), text
    assert not [one for one in register._known.occurrences("Anna Smithers xAnna Smith")]


@given(st.lists(st.sampled_from("ab c"), min_size=1, max_size=3).map("".join), st.text("ab c", max_size=30))
def test_known_values_are_found_alike_however_many_there_are(value: str, text: str) -> None:
    few, many = Known(), Known()
    for number in range(200):
        many.add(f"x{number} {number}", "person")
    for known in (few, many):
        for each in (value, f"{value} a", f"b {value}", "a a", "b b b"):
            known.add(each, "email")
    assert [*few.occurrences(text)] == [*many.occurrences(text)]


def test_many_values_are_found_in_time_that_grows_with_their_number() -> None:
    known, searches = Known(), []
    for number in range(3000):
        known.add(f"user{number}@example.org", "email")
        searches.append(
            [one.start for one in known.occurrences(f"… user{number}@example.org user{number // 2}@example.org")]
        )
        assert [one.start for one in known.cut_short(f"user{number}@exam…")] == [0]
    assert all(one[0] == 2 and len(one) == 2 for one in searches)
    assert len(known._new) < 200


def test_json_that_could_not_be_written_again_is_masked_as_a_text() -> None:
    assert made("email").masked('{"n": 1e400, "to": "ada@example.org"}') == '{"n": 1e400, "to": "[EMAIL_1]"}'


def test_a_value_that_was_cut_is_replaced_too() -> None:
    register = made("email")
    register.read(["ada@example.org"])
    assert register.masked("From: ada@exam… (20 more characters)") == "From: [EMAIL_2]… (20 more characters)"
    assert register.filled("[EMAIL_2]") == "ada@exam"


def test_json_is_masked_value_by_value() -> None:
    register = made()
    text = json.dumps({"name": "Anna Smith", "at": "12 Main Street\nBerlin", "mail": "ada@example.org", "n": [1, 2.5]})
    masked = json.loads(register.masked(text))
    assert masked["name"] == "[PERSON_1]"
    assert masked["mail"] == "[EMAIL_1]"
    assert masked["n"] == [1, 2.5]
    assert json.loads(register.filled(json.dumps(masked), escaped=True)) == json.loads(text)


def test_json_without_findings_stays_as_it_is_written() -> None:
    text = '{ "total": 1.50, "note": "none" }'
    assert made("email").masked(text) == text


def test_a_key_that_stands_twice_hides_nothing() -> None:
    assert "ada@" not in made("email").masked('{"a": "ada@example.org", "a": 1}')


def test_what_looks_like_a_placeholder_is_a_value_of_its_own() -> None:
    register = made("email")
    register.read(["ada@example.org"])
    for planted in ("[EMAIL_1]", "[email_1]", "[ EMAIL_1 ]", "［EMAIL_１］", "[TEXT_1]"):
        masked = register.masked(f"Send it to {planted}!")
        assert "EMAIL" not in masked.upper()
        assert register.filled(masked) == f"Send it to {planted}!"


def test_fixed_texts_have_letters_and_move_no_numbers() -> None:
    register = made("email")
    register.read(["help@shop.example"], fixed=True)
    assert register.masked("help@shop.example, ada@example.org") == "[EMAIL_A], [EMAIL_1]"
    assert [mark("email", number, fixed=True) for number in (26, 27, 52, 53)] == [
        "[EMAIL_Z]", "[EMAIL_AA]", "[EMAIL_AZ]", "[EMAIL_BA]",
    ]  # fmt: skip


def test_a_copy_learns_for_itself() -> None:
    register = made("email")
    register.read(["ada@example.org"])
    assert register.copy().masked("bob@example.com") == register.copy().masked("eve@example.com") == "[EMAIL_2]"


def test_what_a_call_may_not_have() -> None:
    register = made("email", "person")
    register.read(["My name is Anna Smith."])
    assert register.found("to: [EMAIL_9]") == ["text"]
    for written in ("[EMAIL_0]", "[EMAIL_01]", "[ EMAIL_1 ]", "【EMAIL_1】"):
        assert register.found(f"to: {written}") == ["text"], written
    assert register.found("ada@example.org") == ["email"]
    assert register.found("for Anna Smith") == ["person"]
    assert register.found("a mug") == []


@FEW
@given(TEXTS, TEXTS)
def test_filling_in_gives_back_every_text(before: str, text: str) -> None:
    register = made()
    register.read([before])
    masked = register._plain(text, fixed=False)
    assert register.filled(masked) == text


@given(TEXTS, st.sampled_from(VALUES), TEXTS)
def test_a_value_that_stands_by_itself_is_never_seen(before: str, value: str, after: str) -> None:
    masked = made("email", "phone", "iban", "card").masked(f"{before} | {value} | {after}")
    assert f"| {value} |" not in masked


@given(TEXTS, st.lists(st.integers(0, 200), max_size=8))
def test_however_an_answer_is_cut_it_is_filled_in_the_same(text: str, cuts: list[int]) -> None:
    register = made()
    register.read(VALUES)
    answer = register.masked(text) + "[EMAIL_1]" + text
    at = [0, *sorted(cut for cut in cuts if cut < len(answer)), len(answer)]
    filling = Filling(register)
    told = "".join(filling.push(answer[begin:end]) for begin, end in pairwise(at))
    assert told + filling.finish() == register.filled(answer)


@given(st.lists(TEXTS | st.integers() | st.booleans() | st.dictionaries(TEXTS, TEXTS)))
def test_json_means_the_same_after_filling_in(value: object) -> None:
    register = made("email", "card", "iban")
    text = json.dumps(value)
    back = register.filled(register.masked(text), escaped=True)
    assert _as_text(json.loads(back)) == _as_text(value)


def _as_text(value: object) -> object:
    if isinstance(value, dict):
        return {key: _as_text(each) for key, each in value.items()}
    return [_as_text(each) for each in value] if isinstance(value, list) else str(value)


@FEW
@given(st.lists(TEXTS, max_size=5))
def test_the_same_texts_give_the_same_placeholders(texts: list[str]) -> None:
    first, second = made(), made()
    assert [first.masked(text) for text in texts] == [second.masked(text) for text in texts]


@given(TEXTS)
def test_no_placeholder_of_a_text_is_passed_on(text: str) -> None:
    """Whatever stands in a masked text as a placeholder was put there: it stands for what the text had."""
    register = made("email")
    register.read(["eve@example.net"])
    assert "[EMAIL_1]" not in register.masked(text)
    assert set(marks(text)) <= {text[one.start : one.end].upper() for one in alike(text)}


def test_a_placeholder_is_held_back_only_while_it_can_be_one() -> None:
    assert open_at("a [EMAIL") == 2
    assert open_at("a [EMAIL_1]") == len("a [EMAIL_1]")
    assert open_at("a [nothing") == len("a [nothing")
    assert len("[ORGANIZATION_999999]") <= LONGEST


def test_several_policies_permit_only_what_all_permit() -> None:
    first = PlaceholderPolicy(kinds=("email",), tools={"send": ("*",), "note": ("text",), "ask": ("a",)})
    second = PlaceholderPolicy(kinds=("phone", "email"), tools={"send": ("to",), "note": ("text", "by")})
    both = all_of([None, first, second])
    assert both == PlaceholderPolicy(kinds=("email", "phone"), tools={"send": ("to",), "note": ("text",)})
    assert all_of([None, first]) is first
    assert all_of([None]) is None


@pytest.mark.parametrize("argument", ["to", "body"])
def test_all_arguments_of_a_tool(argument: str) -> None:
    assert PlaceholderPolicy(kinds=("email",), tools={"send": ("*",)}).permits("send", argument)
