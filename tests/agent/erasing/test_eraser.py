"""Erasure of a person from everything that a deployment stores."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.admin.erase import Wish, erase_content
from agent.config import Settings
from agent.erasing.eraser import Eraser
from agent.erasing.places import Places
from agent.run.erasure import ErasureFilter
from agent.run.journal import all_events
from agent.serve import factories
from agent.serve.home import open_home
from agent.store import memory_journal
from agent.store.backend import AuditContext
from flightloop.acts import Act
from flightloop.errors import ConfigError, Conflict, StoreUnavailable
from flightloop.events import RunEnded
from flightloop.runs import Run, RunStatus, StopReason
from guardrails.audit_keys import FixedKeys
from observability.trace_id import trace_id_of
from tests.agent.erasures import ANN, IN_BASE64, KEYS, OTHER, PERSON, WHO, WORD, Failing, creation, stored, whole_run

LONG = f"My name is {WORD} and I want my money back"


def write(path: Path, *lines: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")


def row(text: str, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "system", "content": "Help."}, {"role": "user", "content": text}], **fields}


def fill(home: Path, tasks: Path, run: Run, other: Run) -> None:
    """Files as the platform writes them, with a line of the person and one of somebody else in each."""
    for name in ("api-1.jsonl", "worker-7.jsonl", "worker-7.jsonl.1"):
        mine, theirs = ({"context": {"trace_id": f"0x{trace_id_of(one.id)}"}, "name": "chat"} for one in (run, other))
        write(home / "traces" / name, {**mine, "attributes": {"gen_ai.input.messages": WORD}}, theirs)
    write(home / "logs" / "flightloop.log", {"run_id": run.id, "event": WORD}, {"run_id": other.id, "event": "x"})
    write(home / "serve.log", {"event": f"{run.id} failed: {WORD}"}, {"subject": "bob"})
    write(
        home / "exports" / "rows.jsonl",
        row(WORD, runs=[run.id]),
        row(LONG),
        {**row("x"), "messages": [{"role": "user", "content": [{"type": "text", "text": f"  {LONG} "}]}]},
        row("thanks, that is all I wanted to know", runs=[other.id]),
        row("hi"),
    )
    write(
        tasks / "regressions.jsonl",
        {"id": run.id, "turns": [{"user": WORD}]},
        {"id": "renamed", "subject": {"id": WHO.id}, "turns": [{"user": "x"}]},
        {"id": "text", "turns": [{"user": LONG}]},
        {"id": "theirs", "subject": {"id": "bob"}, "turns": [{"user": "y"}]},
    )
    write(home / "audit-checkpoints.jsonl", {"runs": [run.id]})
    write(home / "data" / "shop.jsonl", {"runs": [run.id], "of": "the project"})


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_files_lose_the_person_and_nothing_else(tmp_path: Path) -> None:
    home, tasks = tmp_path / "home", tmp_path / "tasks"
    journal = memory_journal(audit=AuditContext(KEYS))
    run = await whole_run(journal, input=LONG)
    other = await whole_run(journal, "Bobby", OTHER, session_id="s2")
    fill(home, tasks, run, other)
    await journal.acts.record("default", Act.EXPORT, ANN, "/somewhere/else.jsonl", {"pairs": "/x/pairs.jsonl"})
    await journal.acts.record("default", Act.EXPORT, ANN, str(home / "exports" / "rows.jsonl"), {"pairs": None})
    eraser = Eraser(journal, journal.erasure, Places(home, tasks, [home / "audit-checkpoints.jsonl"]), KEYS)
    counted = await eraser.count(PERSON)
    report = await eraser.erase(PERSON, ANN)
    assert (report.runs, report.lines, report.rows) == (counted.runs, counted.lines, counted.rows) == (1, 5, 6)
    assert report.problems == []
    outside = [line.rpartition(" ")[2] for line in report.out_of_reach if "outside of the home" in line]
    assert outside == ["/somewhere/else.jsonl", "/x/pairs.jsonl"]

    left = everything_in(tmp_path)
    assert WORD.encode() not in left
    for path in (home / "traces").iterdir():
        assert [json.loads(line).get("name") for line in path.read_bytes().splitlines()] == [None, "chat"]
    rows = [json.loads(line) for line in (home / "exports" / "rows.jsonl").read_bytes().splitlines()]
    assert [one["messages"][1]["content"] for one in rows] == ["thanks, that is all I wanted to know", "hi"]
    assert [json.loads(line)["id"] for line in (tasks / "regressions.jsonl").read_bytes().splitlines()] == ["theirs"]
    for kept in ("audit-checkpoints.jsonl", "data/shop.jsonl"):
        assert run.id in (home / kept).read_text(encoding="utf-8")
    again = await eraser.erase(PERSON, ANN)
    assert (again.runs, again.lines, again.rows) == (0, 0, 0)
    assert again.record == report.record
    acts = [one for one in await journal.audit("default", act=Act.ERASURE) if one.object == report.record]
    assert [one.details["stage"] for one in acts] == ["begun", "done"] * 2
    assert (acts[1].details["runs"], acts[1].actor) == (1, ANN)
    assert WHO.id not in stored(journal, None)


@pytest.mark.parametrize("after", [False, True])
async def test_killed_anywhere_it_is_continued(tmp_path: Path, after: bool) -> None:
    failed, number = True, 0
    while failed:
        number += 1
        home, tasks = tmp_path / str(number) / "home", tmp_path / str(number) / "tasks"
        journal = memory_journal(audit=AuditContext(KEYS))
        run = await whole_run(journal, input=LONG)
        other = await whole_run(journal, "Bobby", OTHER, session_id="s2")
        fill(home, tasks, run, other)
        eraser = Eraser(journal, journal.erasure, Places(home, tasks, [home / "audit-checkpoints.jsonl"]), KEYS)
        whole = journal._backend
        failing = Failing(whole, number, after)
        journal.erasure._backend = journal.acts._backend = failing  # type: ignore[assignment]
        with suppress(StoreUnavailable):
            await eraser.erase(PERSON, ANN)
        failed = failing.failed
        journal.erasure._backend = journal.acts._backend = whole
        await eraser.erase(PERSON, ANN)
        left = everything_in(home.parent)
        assert WORD.encode() not in left, f"write {number}"
        assert WORD not in stored(journal, None), f"write {number}"
        assert (await journal.acts.check("default", None)).problems == []
        assert (await journal.get("default", other.id)) == other
    assert number > 10


async def test_open_runs_are_named_or_ended(tmp_path: Path) -> None:
    journal = memory_journal()
    eraser = Eraser(journal, journal.erasure, Places(tmp_path), FixedKeys(()))
    queued = (await journal.create(creation())).run
    with pytest.raises(Conflict, match=f"1 runs have not ended: {queued.id}; end them, or erase with --end-runs"):
        await eraser.erase(PERSON, ANN)
    assert (await journal.get("default", queued.id)).erased_at is None
    assert (await eraser.count(PERSON)).open_runs == [queued.id]
    report = await eraser.erase(PERSON, ANN, end_runs=True)
    assert report.runs == 1
    run = await journal.get("default", queued.id)
    assert (run.status, run.erased_at is not None) == (RunStatus.CANCELLED, True)


async def test_it_waits_for_the_worker_that_ends_a_run(tmp_path: Path) -> None:
    journal = memory_journal(poll_s=0.01)
    eraser = Eraser(journal, journal.erasure, Places(tmp_path), FixedKeys(()))
    run = (await journal.create(creation())).run
    claim = await journal.claim("w1", 30)
    assert claim is not None
    erasing = asyncio.create_task(eraser.erase(PERSON, ANN, end_runs=True))
    assert await journal.wait(run.id, claim.run.last_seq, 10)  # until the request to cancel
    ended = RunEnded(status=RunStatus.CANCELLED, stop_reason=StopReason.CANCEL, output=creation().input)
    await journal.append(run.id, [ended], claim.lease)
    assert (await erasing).runs == 1
    assert all(event.erased for event in await all_events(journal, "default", run.id))
    assert WORD not in stored(journal, None)


async def test_by_age_nothing_is_recorded_if_nothing_is_old(tmp_path: Path) -> None:
    journal = memory_journal(audit=AuditContext(KEYS))
    eraser = Eraser(journal, journal.erasure, Places(tmp_path), KEYS)
    run = await whole_run(journal)
    assert run.ended_at is not None
    acts = len(await journal.audit("default"))
    assert (await eraser.erase(ErasureFilter(None, before=run.created_at), ANN)).runs == 0
    assert len(await journal.audit("default")) == acts
    report = await eraser.erase(ErasureFilter(None, before=datetime.now(UTC) + timedelta(days=1)), ANN)
    assert (report.runs, report.answers) == (1, 1)
    assert WORD not in stored(journal, None)


def settings_of(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", model_url="http://127.0.0.1:1/v1")


async def test_the_command_leaves_no_byte_in_the_home(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    open_home(settings.home)
    journal = factories.open_journal(settings)
    run = await whole_run(journal, input=LONG)
    other = await whole_run(journal, "Bobby", OTHER, session_id="s2")
    fill(settings.home, tmp_path / "unused", run, other)
    (settings.home / "audit-checkpoints.jsonl").unlink()
    told: list[str] = []
    assert await erase_content(settings, Wish(subject=WHO.id, dry_run=True), told.append)
    assert told[0] == "1 runs would be erased; 5 lines of traces and logs; 3 rows of data sets"
    assert (await journal.get("default", run.id)) == run
    assert await erase_content(settings, Wish(subject=WHO.id), told.append)
    left = everything_in(settings.home)
    assert WORD.encode() not in left
    assert IN_BASE64.encode() not in left
    assert b"Bobby" in left
    assert (await journal.acts.check("default", None)).problems == []
    assert any(line.startswith("out of reach: logs of the model's server") for line in told)
    await journal.close()


@pytest.mark.parametrize(
    "given",
    [{}, {"subject": "a", "session": "b"}, {"older_than": "soon"}, {"older_than": "0d"}, {"older_than": "-1"}],
)
def test_bad_options(given: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        Wish(**given).filter(datetime.now(UTC))


def test_days() -> None:
    now = datetime(2026, 4, 1, tzinfo=UTC)
    assert Wish(older_than="90d").filter(now) == ErasureFilter(None, before=datetime(2026, 1, 1, tzinfo=UTC))
    assert Wish(older_than="90", tenant="a").filter(now).tenant_id == "a"
    assert Wish(subject="x").filter(now) == ErasureFilter("default", subject="x")
