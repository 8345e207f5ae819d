"""Runs in terminals of several widths."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest

from flightloop.cli.console import PlainConsole
from flightloop.cli.listing import run_table
from flightloop.cli.render import line_or_lines
from flightloop.runs import Budget, Run, RunStatus

NOON = datetime(2026, 3, 2, 12).astimezone(UTC)
INPUTS = (
    "Where is my order A-10293? It should have been here on Monday.",
    "\u200b\u202e" * 40,
    "我的订单在哪里" * 10,
    "Hi",
)


def runs() -> list[Run]:
    return [
        Run(
            id=f"run_{index:032x}",
            agent="support",
            session_id="s",
            status=RunStatus.WAITING_APPROVAL if index else RunStatus.SUCCEEDED,
            input=text,
            budget=Budget(),
            created_at=NOON - timedelta(hours=9 * index),
        )
        for index, text in enumerate(INPUTS)
    ]


def lines(width: int) -> list[str]:
    written = io.StringIO()
    PlainConsole(file=written, width=width).print(run_table(runs(), width, NOON))
    return [line.rstrip() for line in written.getvalue().splitlines()]


@pytest.mark.parametrize("width", [54, 60, 80, 100, 130, 300])
def test_each_run_is_a_line_with_its_whole_id(width: int) -> None:
    first, *rest = lines(width)
    assert first.startswith("run ")
    assert [line[:36] for line in rest] == [f"run_{index:032x}" for index in range(4)]


def test_eighty_columns_have_room_for_the_input() -> None:
    first, *rest = lines(80)
    assert first.split() == ["run", "status", "created", "input"]
    assert rest[0].split(maxsplit=3)[1:] == ["succeeded", "12:00", "Where is my or…"]
    assert rest[3].split(maxsplit=2)[1:] == ["waiting_approval", "01 Mar   Hi"]


def test_wide_terminals_show_more() -> None:
    first, *rest = lines(300)
    assert first.split() == ["run", "status", "agent", "created", "input"]
    assert rest[0].endswith(f"succeeded         support  02 Mar 12:00:00  {INPUTS[0]}")


def test_an_id_is_not_broken() -> None:
    parts = ("run_" + "0" * 32, "session ses_" + "0" * 32)
    assert line_or_lines(parts, 83) == " · ".join(parts)
    assert line_or_lines(parts, 82) == "\n".join(parts)
