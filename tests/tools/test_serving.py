"""What becomes of results that are not JSON."""

from __future__ import annotations

from typing import Any

import pytest

from tools.serving import as_json


def _deep(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "shown", "told"),
    [
        ({"weight": float("nan")}, "{'weight': nan}", "a dict that JSON cannot hold (Out of range float"),
        ({"scan": b"x"}, "{'scan': b'x'}", "a dict that JSON cannot hold (Object of type bytes"),
        (b"x", "b'x'", "not JSON but bytes"),
        (_deep(100_000), "a list of too many levels to show", "a list of too many levels for JSON"),
    ],
)
def test_the_note_says_why_a_result_became_text(value: Any, shown: str, told: str) -> None:
    text, note = as_json(value, 1000)
    assert text == shown
    assert note is not None
    assert told in note
    assert note.endswith("; this is its text")
