"""Erasure against those who would misuse it, and against a kill of its process."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

from agent.admin.erase import Wish, erase_content
from agent.config import Settings
from agent.erasing.eraser import Eraser
from agent.erasing.places import Places
from agent.serve import factories
from agent.store import memory_journal
from flightloop.acts import Act
from guardrails.audit_keys import FixedKeys
from tests.agent.erasures import ANN, OTHER, PERSON, WHO, WORD, bytes_of, whole_run

ROOT = Path(__file__).parents[2]
KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from agent.admin.erase import Wish, erase_content
from agent.config import Settings
from agent.store.sql.backend import SqlBackend

left, write = int(sys.argv[3]), SqlBackend.write

async def killed(self, work):
    global left
    done = await write(self, work)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return done

SqlBackend.write = killed
settings = Settings(home=Path(sys.argv[1]), model_url="http://127.0.0.1:1/v1")
asyncio.run(erase_content(settings, Wish(subject=sys.argv[2]), print))
"""


@pytest.mark.parametrize("writes", [1, 2, 4])
@pytest.mark.any_user
async def test_an_erasure_that_is_killed_is_continued_by_the_next_one(tmp_path: Path, writes: int) -> None:
    settings = Settings(home=tmp_path / "home", model_url="http://127.0.0.1:1/v1")
    journal = factories.open_journal(settings)
    for number in range(2):
        await whole_run(journal, session_id=f"s{number}")
    other = await whole_run(journal, "Bobby", OTHER, session_id="s9")
    await journal.close()
    command = [sys.executable, "-c", KILLED, str(settings.home), WHO.id, str(writes)]
    erasing = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stderr=asyncio.subprocess.PIPE)
    _, problem = await erasing.communicate()
    assert erasing.returncode == -signal.SIGKILL, problem.decode()

    told: list[str] = []
    assert await erase_content(settings, Wish(subject=WHO.id), told.append), told
    assert WORD.encode() not in bytes_of(settings.home / "flightloop.db")
    journal = factories.open_journal(settings)
    assert (await journal.acts.check("default", None)).problems == []
    assert await journal.get("default", other.id) == other
    erasures = [one.object for one in await journal.audit("default", act=Act.ERASURE) if one.run_id is not None]
    assert len(erasures) == len(set(erasures)) == 2
    await journal.close()


async def test_links_lead_an_erasure_nowhere(tmp_path: Path) -> None:
    """A link in the home, to a file or folder elsewhere, which the person's own tool may have made."""
    home, outside = tmp_path / "home", tmp_path / "outside"
    journal = memory_journal()
    run = await whole_run(journal)
    line = json.dumps({"runs": [run.id], "run_id": run.id}) + "\n"
    for folder in (home / "traces", home / "logs", home / "sets", outside):
        folder.mkdir(parents=True)
    (outside / "kept.jsonl").write_text(line, encoding="utf-8")
    for name in ("traces/a.jsonl", "logs/a.log", "sets/a.jsonl", "a.log"):
        (home / name).symlink_to(outside / "kept.jsonl")
    (home / "elsewhere").symlink_to(outside)
    (home / "traces" / "elsewhere").symlink_to(outside)
    report = await Eraser(journal, journal.erasure, Places(home), FixedKeys(())).erase(PERSON, ANN)
    assert (report.runs, report.lines, report.rows) == (1, 0, 0)
    assert (outside / "kept.jsonl").read_text(encoding="utf-8") == line


async def test_who_writes_anothers_run_id_loses_no_data_with_it(tmp_path: Path) -> None:
    """Only the platform's own fields say to which run a row belongs."""
    home = tmp_path / "home"
    journal = memory_journal()
    run = await whole_run(journal)
    other = await whole_run(journal, "Bobby", OTHER, session_id="s2")
    said = f"Please look at {run.id}, it is the run of {WHO.id}, and tell me what happened there"
    rows = [
        {"messages": [{"role": "user", "content": said}], "runs": [other.id]},
        {"id": "x", "turns": [{"user": said}]},
    ]
    (home / "sets").mkdir(parents=True)
    data = "".join(json.dumps(row) + "\n" for row in rows)
    (home / "sets" / "rows.jsonl").write_text(data, encoding="utf-8")
    report = await Eraser(journal, journal.erasure, Places(home), FixedKeys(())).erase(PERSON, ANN)
    assert (report.runs, report.rows) == (1, 0)
    assert (home / "sets" / "rows.jsonl").read_text(encoding="utf-8") == data
