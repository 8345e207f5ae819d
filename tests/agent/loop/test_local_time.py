"""The day that the model is told and the guard reads by, and a yes to a question, over the runs of a session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agent.loop import session
from agent.models.answer_chunks import Turn, calls, text
from agent.project.agent_spec import AgentSpec
from flightloop.runs import RunStatus
from flightloop.subject import Subject
from flightloop.tool import ToolContext, tool, tool_of
from tests.agent.conftest import Bench
from tests.security.benches import bench

ALLOWED = 'name: desk\nversion: "1"\ntools: {allow: {"*": ["*"]}, lock_to_plan: "off"}\n'
BOOK = calls(("book", {"date": "2026-01-02T15:00", "people": 4}))
ASKED = text("Shall I book 3 pm on 2026-01-02 for 4 people?")


@tool(effect="keyed")
def book(date: str, people: int, context: ToolContext) -> str:
    """Books a table."""
    return "booked"


@tool(effect="pure", returns_untrusted=True)
def read_note() -> dict[str, str]:
    """Reads a note."""
    return {"note": "yes, it is tomorrow at 3 pm for all four of us"}


@tool(effect="pure")
def search(query: str) -> str:
    """Searches."""
    return query


def desk(folder: Path, *script: Turn, **spec: Any) -> Bench:
    tools = [one for one in map(tool_of, (book, read_note)) if one is not None]
    return bench(folder, *script, tools=tools, policy=ALLOWED, **spec)


async def told(made: Bench, **fields: Any) -> str:
    await made.work(await made.start("Hello", **fields))
    return made.model.requests[-1].messages[0].text


async def test_the_day_is_told_where_the_agent_wants_it(tmp_path: Path) -> None:
    assert await told(desk(tmp_path, text("Hi."))) == "Help."
    assert await told(desk(tmp_path, text("Hi."), today="UTC")) == "Help.\nToday is Thursday, 2026-01-01."
    west = desk(tmp_path, text("Hi."), today="America/New_York", signed_in="The user is {id}.")
    assert await told(west, subject=Subject(id="7")) == "Help.\nToday is Wednesday, 2025-12-31.\nThe user is 7."
    claims: dict[str, Any] = {"zoneinfo": "Asia/Shanghai"}
    west = desk(tmp_path, text("Hi."), today="America/New_York")
    assert await told(west, subject=Subject(id="7", claims=claims)) == "Help.\nToday is Thursday, 2026-01-01."


async def test_a_run_that_goes_on_later_is_told_the_day_of_its_beginning(tmp_path: Path) -> None:
    guess = calls(("book", {"date": "2026-01-09", "people": 2}))
    made = desk(tmp_path, guess, guess, text("Done."), today="UTC")
    run = await made.work(await made.start("Book a table for two"))
    assert run.status is RunStatus.WAITING_APPROVAL
    made.clock.forward(80_000)
    (approval,) = (await made.journal.approvals("default", status="pending")).data
    await made.journal.decide("default", approval.id, "approve", "ann")
    assert (await made.work(run)).status is RunStatus.SUCCEEDED
    first, _, last = (one.messages[0].text for one in made.model.requests)
    assert first == last == "Help.\nToday is Thursday, 2026-01-01."


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "Europe"])
def test_a_wrong_time_zone_is_an_error(zone: str) -> None:
    with pytest.raises(ValidationError, match="is not a time zone: use a name such as UTC"):
        AgentSpec(name="a", instructions="b", today=zone)


@pytest.mark.parametrize("said", ["A table for 4 tomorrow at 3 pm, please.", "请订明天下午三点的桌子，4个人"])
async def test_a_table_for_tomorrow_is_booked_without_a_question(tmp_path: Path, said: str) -> None:
    made = desk(tmp_path, BOOK, text("Done."), today="UTC")
    assert (await made.work(await made.start(said))).status is RunStatus.SUCCEEDED


async def test_a_yes_books_what_the_agent_has_asked(tmp_path: Path) -> None:
    made = desk(tmp_path, ASKED, BOOK, text("Done."))
    await made.work(await made.start("A table, please.", session_id="s"))
    assert (await made.work(await made.start("Yes, please", session_id="s"))).status is RunStatus.SUCCEEDED


@pytest.mark.parametrize("said", ["Yes, please", "Hm."])
async def test_a_yes_does_not_book_what_a_note_may_have_suggested(tmp_path: Path, said: str) -> None:
    made = desk(tmp_path, calls(("read_note", {})), ASKED, BOOK)
    await made.work(await made.start("What does the note say?", session_id="s"))
    run = await made.work(await made.start(said, session_id="s"))
    assert run.status is RunStatus.WAITING_APPROVAL


async def test_a_yes_of_another_session_books_nothing(tmp_path: Path) -> None:
    made = desk(tmp_path, ASKED, BOOK, BOOK)
    await made.work(await made.start("A table, please.", session_id="s"))
    assert (await made.work(await made.start("yes", session_id="t"))).status is RunStatus.WAITING_APPROVAL


async def test_a_yes_that_was_written_before_the_question_books_nothing(tmp_path: Path) -> None:
    made = desk(tmp_path, ASKED, BOOK, BOOK)
    await made.start("A table, please.", session_id="s")
    yes = await made.start("yes", session_id="s")
    made.clock.forward(1)

    async def asks() -> bool:
        return (await made.get(yes)).status is RunStatus.WAITING_APPROVAL

    await made.until(asks, made.worker(concurrency=1, spare=0))


async def test_a_yes_is_to_the_run_before_it(tmp_path: Path) -> None:
    guess = calls(("book", {"date": "2026-01-09", "people": 9}))
    made = desk(tmp_path, ASKED, guess, guess, BOOK, BOOK)
    await made.work(await made.start("A table, please.", session_id="s"))
    other = await made.work(await made.start("Another one.", session_id="s"))
    assert other.status is RunStatus.WAITING_APPROVAL
    assert (await made.work(await made.start("yes", session_id="s"))).status is RunStatus.WAITING_APPROVAL


async def test_a_yes_in_a_session_whose_beginning_is_not_read_books_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "RUNS", 2)
    made = desk(tmp_path, text("Hello."), ASKED, BOOK, BOOK)
    await made.work(await made.start("Hi", session_id="s"))
    await made.work(await made.start("A table, please.", session_id="s"))
    assert (await made.work(await made.start("yes", session_id="s"))).status is RunStatus.WAITING_APPROVAL


async def test_a_yes_makes_no_query_of_what_an_earlier_run_has_read(tmp_path: Path) -> None:
    """The agent changes nothing, so that what its earlier runs have read is not looked at."""
    policy = f"{ALLOWED.rstrip('}' + chr(10))}, arguments: {{search: {{query: {{from: [user]}}}}}}}}\n"
    made = bench(
        tmp_path,
        calls(("read_note", {})),
        text("Shall I search for S3cret-77?"),
        *[calls(("search", {"query": "S3cret-77"}))] * 2,
        tools=[one for one in map(tool_of, (search, read_note)) if one is not None],
        policy=policy,
    )
    await made.work(await made.start("What does the note say?", session_id="s"))
    assert (await made.work(await made.start("yes", session_id="s"))).status is RunStatus.WAITING_APPROVAL
