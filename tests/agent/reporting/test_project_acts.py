"""Acts of project files, recorded by several processes."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from agent.reporting.checkpoints import CheckpointConfig, Checkpointer
from agent.reporting.project_acts import ProjectActs
from agent.store import StoreJournal, memory_journal
from agent.store.backend import AuditContext
from flightloop.acts import Act
from guardrails.audit_keys import AuditKey, FixedKeys
from guardrails.checkpoints import read_checkpoints
from guardrails.policy import parse_policy

KEYS = FixedKeys((AuditKey(b"a" * 32),))


class Files:
    """Stands for a process's copy of the project's files."""

    def __init__(self, **versions: str) -> None:
        self.agents: dict[str, Any] = {}
        self.become(**versions)

    def become(self, **versions: str) -> None:
        self.policies = {name: parse_policy(f"name: {name}\nversion: '{one}'\n") for name, one in versions.items()}

    def current(self) -> Any:
        return self


def follower(journal: StoreJournal, files: Files, home: Path) -> ProjectActs:
    return ProjectActs(journal, files, journal.policies, home, "default")  # type: ignore[arg-type]


async def changes(journal: StoreJournal) -> list[tuple[str | None, str | None, str | None]]:
    found = await journal.audit("default", act=Act.POLICY_CHANGED)
    return [(one.object, one.details["before"], one.details["after"]) for one in found]


async def test_processes_with_different_files_record_only_what_changes(tmp_path: Path) -> None:
    journal, old, new = memory_journal(), Files(p="1", q="1"), Files(p="2", q="1")
    one, two = follower(journal, old, tmp_path), follower(journal, new, tmp_path)
    assert [await one.catch_up(), await two.catch_up()] == [2, 1]  # the second starts with another policy
    for _ in range(3):
        assert [await one.catch_up(), await two.catch_up()] == [0, 0]
    first, second = old.policies["p"].sha256, new.policies["p"].sha256
    assert (await changes(journal))[-1] == ("p", first, second)
    old.become(p="2", q="1")  # the update reaches the first one too
    assert [await one.catch_up(), await two.catch_up()] == [0, 0]
    for files in (old, new):
        files.become(p="2")
    assert [await one.catch_up(), await two.catch_up()] == [1, 0]
    assert (await changes(journal))[-1][::2] == ("q", None)
    old.become(p="2", q="1")
    assert [await one.catch_up(), await two.catch_up()] == [1, 0]
    assert await follower(journal, old, tmp_path).catch_up() == 0


async def test_a_log_of_promotions_that_is_no_text_ends_nothing(tmp_path: Path) -> None:
    journal, files = memory_journal(), Files(p="1")
    (tmp_path / "experts.promotions.jsonl").write_bytes(b'\xff\n{"by": "ann"}\n' + b"[" * 100_000 + b"\n")
    process = follower(journal, files, tmp_path)
    assert await process.catch_up() == 4
    found = await journal.audit("default", act=Act.PROMOTION)
    assert [one.details["what"] for one in found] == ["unreadable line"] * 3
    entry = {"when": "t", "what": "w", "digest": "d", "replaced": None, "source": "s", "by": "ann", "reason": "r"}
    with (tmp_path / "experts.promotions.jsonl").open("a") as log:
        log.write(json.dumps(entry) + "\n")
    assert [await process.catch_up(), await process.catch_up()] == [1, 0]


async def test_any_error_is_retried(tmp_path: Path) -> None:
    journal, path, failed = memory_journal(audit=AuditContext(KEYS)), tmp_path / "checkpoints.jsonl", asyncio.Event()

    class Broken(Files):
        def current(self) -> Any:
            if not failed.is_set():
                failed.set()
                raise ValueError("anything")
            return self

    class BrokenKeys:
        left = 1

        def ring(self) -> tuple[AuditKey, ...]:
            if self.left:
                self.left -= 1
                raise ValueError("anything")
            return KEYS.keys

    await journal.record("default", [])
    checkpoints = Checkpointer(journal, path, BrokenKeys(), "default", CheckpointConfig(every_s=0.0, poll_s=0.005))
    work = [follower(journal, Broken(p="1"), tmp_path).run(0.005), checkpoints.run()]
    tasks = [asyncio.create_task(one) for one in work]
    async with asyncio.timeout(20):
        while True:
            if await changes(journal) and read_checkpoints(path, KEYS).tenants:
                break
            await asyncio.sleep(0.005)
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
