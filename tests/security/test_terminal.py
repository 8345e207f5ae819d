"""Text of models, tools and users can't steer the terminal that it is printed to."""

from __future__ import annotations

import io

import pytest

from dashboards.components import style
from flightloop.cli.console import PlainConsole


@pytest.mark.parametrize(
    "hostile", ["\x1b[2K\rapproved", "\x1b]0;title\x07", "\x9b31m", "\x08\x08", "\u202egnp.exe", "\u2066x\u2069"]
)
def test_what_steers_a_terminal_is_shown_and_not_sent(hostile: str) -> None:
    written = io.StringIO()
    console = PlainConsole(file=written, force_terminal=True, color_system=None, width=80)
    console.print(f"reason: {hostile}", markup=False)
    assert hostile not in written.getvalue()
    assert not set(written.getvalue()) & set("\x1b\r\x07\x08\x9b\u202e\u2066\u2069")


def test_what_is_plain_and_what_is_coloured_stays() -> None:
    written = io.StringIO()
    console = PlainConsole(file=written, force_terminal=True, color_system="standard", width=80)
    console.print("größe 中文\tok", style="red")
    assert "größe 中文" in written.getvalue()
    assert "\x1b[31m" in written.getvalue()


def test_what_a_person_approves_in_the_console_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(style.st, "html", told.append)
    style.pairs({"to\u200b": "\u202egro.evil@bob", "note": "\U0001f468\u200d\U0001f469 é \ufeff1"})
    assert not set(told[0]) & set("\u200b\u202e\ufeff")
    assert "\U0001f468\u200d\U0001f469 é \ufffd1" in told[0]
