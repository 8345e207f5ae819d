"""Calls that count towards limits over time, and processes that are killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from agent.store import sql_journal
from flightloop.content import TextPart
from flightloop.events import RunCreated, RunEnded
from flightloop.runs import Budget, RunStatus, StopReason

ROOT = Path(__file__).resolve().parents[3]
CREATED = RunCreated(agent="a", session_id="s", input=[TextPart(text="hi")], budget=Budget())
BEGINNING = """
import asyncio, os, sys
from decimal import Decimal
from agent.store import sql_journal
from flightloop.events import ToolIntent
from guardrails.limit_share import LimitShare

async def begin():
    journal = sql_journal(sys.argv[1])
    claim = await journal.claim("the dead", 3600)
    known = dict(args_sha256="", policy_sha256="", fence=1)
    intent = ToolIntent(call_id="c", tool="pay", arguments={}, key="k", effect="unsafe", **known)
    share = LimitShare(0, "pay", ("pay",), "sum amount", (), None, Decimal(100), Decimal(sys.argv[2]))
    written = await journal.append(claim.run.id, [intent], claim.lease, (), [("c", share)])
    os._exit(3 if written.refused else 9)

asyncio.run(begin())
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_what_a_killed_process_has_begun_counts(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/journal.db" if kind == "sqlite" else request.getfixturevalue("server").database()
    journal = sql_journal(url)
    codes = []
    for amount in ("99", "99", "1"):
        run = (await journal.create(CREATED)).run
        died = await asyncio.create_subprocess_exec(sys.executable, "-c", BEGINNING, url, amount, cwd=ROOT)
        codes.append(await died.wait())
        while (claim := await journal.claim("the living", 3600)) is None:  # the server hears of the death later
            await journal.wait_for_work(0.1)
        assert claim.run.id == run.id
        ended = RunEnded(status=RunStatus.FAILED, stop_reason=StopReason.ERROR)
        await journal.append(run.id, [ended], claim.lease)
    assert codes == [9, 3, 9]
    await journal.close()
