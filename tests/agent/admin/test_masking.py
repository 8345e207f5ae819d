from __future__ import annotations

import json
import random
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stdnum import iban, luhn

from agent.admin.masking import Masking, mask_file
from flightloop.errors import ConfigError
from guardrails.finders.pii import PATTERNS, pii_finder

DIGITS = string.digits


def card(body):
    return body + luhn.calc_check_digit(body)


def german_iban(body):
    return f"DE{98 - int(body + '131400') % 97:02d}{body}"


def spaced(text):
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


emails = st.builds("{}@{}.org".format, *[st.text(string.ascii_lowercase, min_size=3, max_size=9)] * 2)
phones = st.builds("+49 170 {}".format, st.text(DIGITS, min_size=7, max_size=7))
cards = st.builds(card, st.text(DIGITS, min_size=14, max_size=14).map("4".__add__))
ibans = st.builds(german_iban, st.text(DIGITS, min_size=18, max_size=18))
keys = st.text(string.ascii_letters + DIGITS, min_size=20, max_size=30).map("sk-proj-".__add__)
values = st.one_of(emails, phones, cards, ibans, keys)


def said_and_called(said, *arguments):
    call = {"name": "note", "arguments": json.dumps({str(at): value for at, value in enumerate(arguments)})}
    return {
        "messages": [
            {"role": "user", "content": said},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": call}]},
            {"role": "tool", "tool_call_id": "1", "content": json.dumps({"noted": list(arguments)})},
        ],
        "tools": [],
    }


def masked(row, seed=0):
    made = Masking(random.Random(seed)).row(row)
    user, call, result = made["messages"]
    arguments = json.loads(call["tool_calls"][0]["function"]["arguments"])
    return user["content"], list(arguments.values()), json.loads(result["content"])["noted"]


@settings(deadline=None)
@given(st.lists(values, min_size=1, max_size=3, unique=True), st.integers(0, 99))
def test_what_is_called_with_stays_equal_to_what_was_said(found, seed):
    said, arguments, noted = masked(said_and_called("Note " + " and ".join(found) + ", please", *found), seed)
    assert said == "Note " + " and ".join(arguments) + ", please"
    assert noted == arguments
    for before, after in zip(found, arguments, strict=True):
        assert before not in said
        assert before != after


@settings(deadline=None)
@given(cards, ibans)
def test_numbers_keep_their_kind_and_their_checks(number, account):
    said, (masked_number, masked_account), _ = masked(
        said_and_called(f"{spaced(number)} or {spaced(account)}", number, account)
    )
    assert luhn.is_valid(masked_number)
    assert masked_number[:2] == number[:2]
    assert iban.is_valid(masked_account)
    assert masked_account[:2] == "DE"
    assert said == f"{spaced(masked_number)} or {spaced(masked_account)}"
    labels = [finding.label for finding in pii_finder(tuple(PATTERNS)).find(said)]
    assert {"card", "iban"} <= set(labels)


def test_a_number_is_known_again_without_the_word_before_it():
    said, (digits, number), _ = masked(said_and_called("My phone: 030 1234567", "0301234567", 301234567))
    assert said == f"My phone: {digits[:3]} {digits[3:]}"
    assert digits != "0301234567"
    assert number == 301234567  # without its zero it is another number


def test_numbers_in_calls_stay_numbers():
    said, (number,), _ = masked(said_and_called("Call +49 170 1234567", 491701234567))
    assert isinstance(number, int)
    assert said.replace(" ", "") == f"Call+{number}"


def test_case_and_writing_follow_each_place():
    said, (lower, key), _ = masked(said_and_called("de89 3704 0044 0532 0130 00", "DE89370400440532013000", True))
    assert lower[:2] == "DE"
    assert said == spaced(lower.lower())
    assert key is True


def test_secrets_keep_their_prefix_alone():
    secret = "sk-proj-" + "a1" * 12
    block = "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----"
    said, (key,), _ = masked(said_and_called(f"{secret} {block}", secret))
    assert key.startswith("sk-proj-")
    assert len(key) == len(secret)
    assert "abc" not in said
    assert "PRIVATE KEY" in said


def test_a_row_without_personal_data_stays_as_it_is():
    row = {**said_and_called("Order 10073 for Ann, at 17:30 on 2024-05-01", "10073", 3.5, None), "source": "own"}
    row["messages"][0]["content"] = [{"type": "text", "text": "Order 10073"}, {"type": "text", "text": '{"a": 1}'}]
    assert Masking(random.Random(0)).row(row) == row


def test_an_address_that_ends_like_another_is_not_changed_within():
    said, (one, other), _ = masked(
        said_and_called("ann@north.org, joann@north.org", "ann@north.org", "joann@north.org")
    )
    assert said == f"{one}, {other}"
    assert not other.startswith("jo" + one[:3])


def test_preferences_are_masked_with_their_conversation():
    row = {
        **said_and_called("I am ann@north.org"),
        "chosen": {"role": "assistant", "content": "Hello ann@north.org"},
        "rejected": [{"role": "assistant", "content": "Who is ann@north.org?"}],
    }
    made = Masking(random.Random(0)).row(row)
    address = made["messages"][0]["content"].removeprefix("I am ")
    assert made["chosen"]["content"] == f"Hello {address}"
    assert made["rejected"][0]["content"] == f"Who is {address}?"
    assert "north" not in address


def test_two_rows_have_two_surrogates_for_one_value():
    first, second = (masked(said_and_called("I am ann@north.org", "ann@north.org"), seed)[0] for seed in (1, 2))
    assert first != second


def test_a_file_is_masked_and_what_it_held_is_told(tmp_path):
    file, out = tmp_path / "rows.jsonl", tmp_path / "masked.jsonl"
    rows = [said_and_called("I am ann@north.org"), said_and_called("I am Ann")]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{}\n")
    told = []
    assert mask_file(file, out, told.append) == {"email": 1}
    assert told == [
        'skipped: rows.jsonl:3: not an object with a list of "messages"',
        f"{out}: 2 rows, 1 of them masked: 1 email",
    ]
    assert "north" not in out.read_text()
    with pytest.raises(ConfigError, match="overwritten"):
        mask_file(file, file, told.append)
