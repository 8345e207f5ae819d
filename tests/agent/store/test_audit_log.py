"""The audit log in both stores: each act is in it with its actor, in the transaction of its effect."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent.reporting.checkpoints import CheckpointConfig, Checkpointer, checkpointing
from agent.reporting.project_acts import ProjectActs
from agent.run.journal import Journal
from agent.store import StoreJournal, memory_journal, sql_journal
from agent.store.backend import AuditContext
from flightloop.acts import Act, Actor, ActorKind
from flightloop.errors import Conflict
from flightloop.events import ApprovalRequested, CallsDecided, Judged, ModelCall, RunCreated
from flightloop.keys import ApiKey, Role
from flightloop.runs import Budget, RunStatus
from flightloop.verdicts import Action, AuditRecord, Stage, Verdict
from guardrails.audit import sealed
from guardrails.audit_keys import AuditKey, FixedKeys, KeyFile
from guardrails.checkpoints import read_checkpoints
from guardrails.interrupt import ANY_TENANT
from guardrails.policy import default_policy, parse_policy

ROOT = Path(__file__).parents[3]
ANN = Actor(kind=ActorKind.KEY, id="own", name="key:ann")
KEYS = FixedKeys((AuditKey(b"a" * 32),))
CREATED = RunCreated(agent="a", session_id="s", input="hi", budget=Budget())
VERDICT = Verdict(action=Action.BLOCK, rail="terms", stage=Stage.INPUT, policy_sha256=default_policy().sha256)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def audited(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StoreJournal]:
    context = AuditContext(KEYS)
    if request.param == "memory":
        made = memory_journal(audit=context)
    elif request.param == "sqlite":
        made = sql_journal(f"sqlite:///{tmp_path}/journal.db", audit=context)
    else:
        made = sql_journal(request.getfixturevalue("server").database(), audit=context)
    yield made
    await made.close()


def key(name: str = "key_2") -> ApiKey:
    return ApiKey(id=name, tenant_id="default", name="bob", role=Role.OPERATOR, created_at=datetime.now(UTC))


async def waiting(journal: Journal) -> str:
    run = (await journal.create(CREATED)).run
    claim = await journal.claim("w1", 30)
    assert claim is not None
    later = datetime(2100, 1, 1, tzinfo=UTC)
    asked = ApprovalRequested(
        approval_id="apr_1", call_id="c1", tool="refund", arguments={}, reason="", args_sha256="a", policy_sha256="p",
        expires_at=later,
    )  # fmt: skip
    decided = CallsDecided(calls=[], model=ModelCall(model="m"))
    await journal.append(run.id, [Judged(verdict=VERDICT), decided, asked], claim.lease)
    await journal.release(claim.lease, RunStatus.WAITING_APPROVAL)
    return run.id


async def test_each_act_has_its_actor_and_all_are_one_chain(audited: StoreJournal, tmp_path: Path) -> None:
    audited.policies.add(default_policy())
    run_id = await waiting(audited)
    await audited.decide("default", "apr_1", "approve", "key:ann", "fine", ANN)
    stop = await audited.raise_interrupt("default", "agent", "a", "fire", "key:ann", actor=ANN)
    await audited.clear_interrupt("default", stop.id, ANN)
    await audited.clear_interrupt("default", stop.id, ANN)  # again: no further act
    await audited.keys.add(key(), "digest", actor=ANN)
    await audited.keys.revoke("default", "key_2", ANN)
    await audited.record("default", [VERDICT])
    await audited.acts.record("default", Act.EXPORT, ANN, "runs.jsonl", {"rated": True})

    records = await audited.audit("default")
    told = [(record.act, record.actor and record.actor.name, record.object) for record in records]
    assert told == [
        (Act.POLICY_STORED, "policies", VERDICT.policy_sha256),
        (Act.VERDICT, "w1", None),
        (Act.APPROVAL, "key:ann", "apr_1"),
        (Act.STOP, "key:ann", stop.id),
        (Act.LIFT, "key:ann", stop.id),
        (Act.KEY_CREATED, "key:ann", "key_2"),
        (Act.KEY_REVOKED, "key:ann", "key_2"),
        (Act.VERDICT, "api", None),
        (Act.EXPORT, "key:ann", "runs.jsonl"),
    ]
    assert records[2].details["decision"] == "approved"
    assert (records[2].run_id, records[2].actor) == (run_id, ANN)
    assert (records[3].details["scope"], records[3].details["reason"]) == ("agent", "fire")
    assert [record.act for record in await audited.audit("default", act=Act.LIFT)] == [Act.LIFT]
    assert len(await audited.audit("default", actor="own")) == len(await audited.audit("default", actor="key:ann")) == 6
    assert len(await audited.audit("default", actor="key:ann", act=Act.STOP, after=records[3].seq)) == 0
    check = await audited.acts.check("default", None)
    assert (check.records, check.sealed, check.problems) == (9, 9, [])
    assert await audited.acts.policy(VERDICT.policy_sha256) == default_policy().text


async def test_stops_by_the_deployment_are_in_logs_that_somebody_can_read(audited: StoreJournal) -> None:
    everything = await audited.raise_interrupt(ANY_TENANT, "all", None, "fire", "SIGUSR1 on host")
    one = await audited.raise_interrupt(ANY_TENANT, "tenant", "acme", "unpaid", "key:ann", actor=ANN)
    await audited.clear_interrupt(ANY_TENANT, everything.id, ANN)
    await audited.clear_interrupt(ANY_TENANT, one.id, ANN)
    own = await audited.raise_interrupt(ANY_TENANT, "tenant", "default", actor=ANN)
    told = [(record.act, record.object) for record in await audited.audit("default")]
    assert told == [
        (Act.STOP, everything.id),
        (Act.STOP, one.id),
        (Act.LIFT, everything.id),
        (Act.LIFT, one.id),
        (Act.STOP, own.id),
    ]
    told = [(record.act, record.object) for record in await audited.audit("acme")]
    assert told == [(Act.STOP, one.id), (Act.LIFT, one.id)]
    assert await audited.acts.tenants() == ["acme", "default"]
    assert [(await audited.acts.check(tenant, None)).problems for tenant in ("acme", "default")] == [[], []]


async def test_an_act_that_fails_is_not_recorded(audited: StoreJournal) -> None:
    await waiting(audited)
    await audited.decide("default", "apr_1", "deny", "key:ann", None, ANN)
    count = len(await audited.audit("default"))
    with pytest.raises(Conflict):
        await audited.decide("default", "apr_1", "approve", "key:ann", None, ANN)
    assert len(await audited.audit("default")) == count


async def test_every_tenant_has_its_own_log_which_is_verified_in_parts(audited: StoreJournal) -> None:
    for tenant in ("a", "b"):
        for _ in range(5):
            await audited.record(tenant, [VERDICT])
    assert await audited.acts.tenants() == ["a", "b"]
    assert {tenant: end.seq for tenant, end in (await audited.acts.ends()).items()} == {"a": 5, "b": 5}
    after: int | None = 0
    parts = []
    while after is not None:
        part = await audited.acts.check("b", None, after, 2)
        parts.append(part.records)
        assert part.problems == []
        after = part.next_after
    assert parts == [2, 2, 1]
    assert (await audited.acts.check("nobody", None)).records == 0


async def test_checkpoints_cover_what_was_written_and_continue(audited: StoreJournal, tmp_path: Path) -> None:
    path = tmp_path / "elsewhere" / "checkpoints.jsonl"
    writer = Checkpointer(audited, path, KEYS, "default")
    await audited.record("a", [VERDICT])
    assert await writer.write() == 2  # the beginning of the file is an act of the tenant default
    assert await writer.write() == 0
    await audited.record("a", [VERDICT])
    assert await Checkpointer(audited, path, KEYS, "default").write() == 1  # another process
    await audited.record("a", [VERDICT])
    assert await writer.write() == 1
    found = read_checkpoints(path, KEYS)
    assert [(line.number, line.tenant_id, line.seq) for line in found.lines] == [
        (0, None, 0), (1, "a", 1), (2, "default", 1), (3, "a", 2), (4, "a", 3),
    ]  # fmt: skip
    check = await audited.acts.check("a", lambda: found)
    assert (check.problems, check.unseen, check.checkpoint and check.checkpoint.seq) == ([], 0, 3)
    await audited.record("a", [VERDICT])
    assert (await audited.acts.check("a", lambda: found)).unseen == 1
    assert path.stat().st_mode & 0o077 == 0


async def test_many_writers_of_one_file_take_turns(audited: StoreJournal, tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.jsonl"
    writers = [Checkpointer(audited, path, KEYS, "default") for _ in range(4)]

    async def busy(writer: Checkpointer, tenant: str) -> None:
        for _ in range(3):
            await audited.record(tenant, [VERDICT])
            await writer.write()

    await asyncio.gather(*(busy(writer, f"t{number}") for number, writer in enumerate(writers)))
    found = read_checkpoints(path, KEYS)
    assert (found.problems, found.tenants) == ([], {"default", "t0", "t1", "t2", "t3"})
    assert (await audited.acts.check("t3", lambda: found)).problems == []


async def test_a_last_checkpoint_is_written_at_the_end(audited: StoreJournal, tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.jsonl"
    async with checkpointing(Checkpointer(audited, path, KEYS, "default", CheckpointConfig(every_s=1e9))):
        await audited.record("a", [VERDICT])
    assert read_checkpoints(path, KEYS).of("a")[-1].seq == 1


async def test_a_line_that_a_power_failure_cut_off_is_no_problem(audited: StoreJournal, tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.jsonl"
    await audited.record("a", [VERDICT])
    await Checkpointer(audited, path, KEYS, "default").write()
    await audited.record("a", [VERDICT])
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(whole.splitlines()[-1][:50])
    await Checkpointer(audited, path, KEYS, "default").write()
    found = read_checkpoints(path, KEYS)
    assert (found.problems, len(found.notes), found.of("a")[-1].seq) == ([], 1, 2)
    assert (await audited.acts.check("a", lambda: found)).problems == []


async def test_changed_policies_and_promoted_experts_are_recorded_once(audited: StoreJournal, tmp_path: Path) -> None:
    class Live:
        def __init__(self) -> None:
            self.policies: dict[str, Any] = {"default": default_policy()}
            self.agents: dict[str, Any] = {}

        def current(self) -> Any:
            return self

    live = Live()
    followers = [ProjectActs(audited, live, audited.policies, tmp_path, "default") for _ in range(2)]  # type: ignore[arg-type]
    assert [await one.catch_up() for one in followers] == [1, 0]
    live.policies = {"default": parse_policy("name: default\nversion: '2'\n")}
    assert [await one.catch_up() for one in followers] == [1, 0]
    entry = {
        "when": "t",
        "what": "promoted",
        "digest": "d",
        "replaced": None,
        "source": "s",
        "by": "ann",
        "reason": "r",
    }
    (tmp_path / "experts-edge.promotions.jsonl").write_text(json.dumps({**entry, "reason": "better"}) + "\n")
    assert [await one.catch_up() for one in followers] == [1, 0]
    records = [record for record in await audited.audit("default") if record.act is not Act.POLICY_STORED]
    assert [record.act for record in records] == [Act.POLICY_CHANGED, Act.POLICY_CHANGED, Act.PROMOTION]
    before, after = records[1].details["before"], records[1].details["after"]
    assert before == default_policy().sha256
    assert await audited.acts.policy(before) == default_policy().text
    assert await audited.acts.policy(after) == live.policies["default"].text
    assert (records[2].actor and records[2].actor.name, records[2].object) == ("ann", "d")


async def test_a_new_key_takes_effect_in_open_journals_and_old_records_verify(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "audit-key")
    file.create()
    url = f"sqlite:///{tmp_path}/journal.db"
    one, two = (sql_journal(url, audit=AuditContext(KeyFile(file.path))) for _ in range(2))
    await one.record("a", [VERDICT])
    file.add(AuditKey.new())
    await two.record("a", [VERDICT])
    await one.record("a", [VERDICT])
    records = await one.audit("a")
    first, last = (key.id for key in file.ring())
    assert [record.key_id for record in records] == [first, last, last]
    assert (await one.acts.check("a", None)).problems == []
    await two.close()
    stale = sql_journal(url, audit=AuditContext(FixedKeys(tuple(file.ring())[:1])))
    await stale.record("a", [VERDICT])
    await stale.close()
    problems = (await one.acts.check("a", None)).problems
    assert [problem.seq for problem in problems] == [4]
    await one.close()


def test_records_of_the_first_version_still_verify(tmp_path: Path) -> None:
    """A database of revision 0008: its records keep their hashes, and keys seal the records that follow."""
    path = tmp_path / "journal.db"

    async def before() -> list[AuditRecord]:
        journal = sql_journal(f"sqlite:///{path}")
        for _ in range(3):
            await journal.record("a", [VERDICT])
        records = await journal.audit("a")
        await journal.close()
        return records

    records = asyncio.run(before())
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("DELETE FROM audit")
        for statement in (
            *("DROP INDEX ix_runs_ended", "DROP INDEX ix_answers_created"),  # of revision 0012
            *(f"ALTER TABLE runs DROP COLUMN {name}" for name in ("ended_at", "erased")),
            "DROP TABLE counted_calls",  # of revision 0010
            "DROP TABLE policies",
            "DROP INDEX ix_audit_act",
            *(f"ALTER TABLE audit DROP COLUMN {name}" for name in ("actor", "actor_id", "act")),
            "UPDATE alembic_version SET version_num = '0008_subjects'",
        ):
            database.execute(statement)
        last: AuditRecord | None = None
        for one in records:
            last = sealed(last, at=one.at, tenant_id="a", run_id="r", step=1, verdict=VERDICT)
            document = last.model_dump_json(exclude={"tenant_id", "seq", "run_id"}, exclude_defaults=True)
            database.execute(
                "INSERT INTO audit (tenant_id, seq, run_id, document) VALUES ('a', ?, 'r', ?)", (last.seq, document)
            )

    async def after() -> None:
        journal = sql_journal(f"sqlite:///{path}", audit=AuditContext(KEYS))
        assert [record.key_id for record in await journal.audit("a")] == [None] * 3
        checkpoints = tmp_path / "checkpoints.jsonl"
        await Checkpointer(journal, checkpoints, KEYS, "a").write()
        await journal.record("a", [VERDICT])
        found = read_checkpoints(checkpoints, KEYS)
        assert {tenant: seq for tenant, (seq, _) in found.begins.items()} == {"a": 3}
        check = await journal.acts.check("a", lambda: found)
        assert (check.records, check.sealed, check.problems) == (5, 2, [])
        await journal.close()

    asyncio.run(after())


KILLED = """
import asyncio, os, sys
from agent.store import sql_journal
from agent.store.sql.audit import SqlAudit
from flightloop.acts import Actor
from tests.agent.store.test_audit_log import ANN, key, waiting

act, url = sys.argv[1:]

async def main():
    journal = sql_journal(url)
    await waiting(journal)
    await journal.raise_interrupt("default", "agent", "a", interrupt_id="int_1")
    SqlAudit.add_audit = lambda self, records: os._exit(7)  # between the effect and its record
    if act == "approval":
        await journal.decide("default", "apr_1", "approve", "ann", None, ANN)
    elif act == "stop":
        await journal.raise_interrupt("default", "agent", "b", interrupt_id="int_2", actor=ANN)
    elif act == "lift":
        await journal.clear_interrupt("default", "int_1", ANN)
    else:
        await journal.keys.add(key(), "digest", actor=ANN)

asyncio.run(main())
"""


@pytest.mark.parametrize("act", ["approval", "stop", "lift", "key"])
def test_a_process_killed_between_effect_and_record_leaves_neither(act: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/journal.db"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "sdk")])}
    done = subprocess.run([sys.executable, "-c", KILLED, act, url], env=environment, cwd=ROOT, check=False)
    assert done.returncode == 7

    async def left() -> dict[str, object]:
        journal = sql_journal(url)
        found: dict[str, object] = {
            "approval": (await journal.approvals("default")).data[0].status,
            "stops": [(stop.id, stop.cleared_at) for stop in await journal.interrupts("default", active=False)],
            "keys": (await journal.keys.page("default", None, 10)).data,
            "acts": [record.act for record in await journal.audit("default")],
        }
        await journal.close()
        return found

    expected = {
        "approval": "pending",
        "stops": [("int_1", None)],
        "keys": [],
        "acts": [Act.VERDICT, Act.STOP],
    }
    assert asyncio.run(left()) == expected
