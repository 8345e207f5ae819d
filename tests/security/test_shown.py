"""Text that is shown to a person holds nothing that the person can't see."""

from __future__ import annotations

import pytest

from flightloop.shown import shown

MARK = "\N{REPLACEMENT CHARACTER}"
READABLE = (
    "Grüße, 你好, שלום, مرحبا",
    "می\u200cخواهم",
    "क्\u200dष",
    "\u1820\u180b",
    "❤\ufe0f 1\ufe0f\u20e3 ☎\ufe0e",
    "👨\u200d👩\u200d👧 🏳\ufe0f\u200d🌈 👍🏽",
)


@pytest.mark.parametrize("text", READABLE)
def test_what_scripts_and_emoji_need_is_kept(text: str) -> None:
    assert shown(text) == text


@pytest.mark.parametrize(
    "selector", ["\ufe00", "\ufe0f", "\u180b", "\u034f", "\u200d", "\u200c", "\u17b4", "\U000e0101"]
)
@pytest.mark.parametrize("base", ["0", "a", "DE89", " ", ""])
def test_selectors_hide_no_text_behind_plain_characters(base: str, selector: str) -> None:
    """Attack: two selectors spell out a byte, and an account number of many of them looks like the account."""
    assert shown(base + selector * 3) == base + MARK * 3


@pytest.mark.parametrize("base", ["é", "❤", "م"])
def test_nor_in_a_row(base: str) -> None:
    for selector in ("\ufe0f", "\u200d"):
        assert shown(base + selector * 9).count(MARK) >= 8


def test_a_blank_that_is_no_space_is_seen() -> None:
    assert shown("a\u2800b") == f"a{MARK}b"
