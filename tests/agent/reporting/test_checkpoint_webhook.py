"""Checkpoints of the audit log that another system gets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from agent.reporting.checkpoint_webhook import CheckpointWebhook
from agent.reporting.checkpoints import Checkpointer
from agent.reporting.webhooks import Endpoint
from agent.store import StoreJournal, memory_journal
from agent.store.backend import AuditContext
from flightloop.verdicts import Action, Stage, Verdict
from guardrails.audit_keys import AuditKey, FixedKeys
from guardrails.checkpoints import CheckpointFile, read_checkpoints
from observability.metrics import Metrics
from tests.agent.reporting.test_webhooks import NOW, SECRET, Pauses, Receiver

KEYS = FixedKeys((AuditKey(b"a" * 32),))
VERDICT = Verdict(action=Action.BLOCK, rail="terms", stage=Stage.INPUT)


@asynccontextmanager
async def webhook(
    journal: StoreJournal, url: str, path: Path, tenant: str, pauses: Pauses | None = None
) -> AsyncIterator[CheckpointWebhook]:
    endpoint = Endpoint(name="vault", url=url, secret=SECRET, events=("audit.checkpoint",), tenant_id=tenant)
    async with httpx.AsyncClient() as client:
        yield CheckpointWebhook(
            journal, endpoint, CheckpointFile(path, KEYS), "default", client, Metrics(), sleep=pauses or Pauses(),
            clock=lambda: NOW,
        )  # fmt: skip


async def test_what_the_receiver_keeps_shows_that_the_log_and_the_file_were_set_back(tmp_path: Path) -> None:
    journal, path, receiver = memory_journal(audit=AuditContext(KEYS)), tmp_path / "checkpoints.jsonl", Receiver()
    writer = Checkpointer(journal, path, KEYS, "default")
    async with receiver.serving() as url, webhook(journal, url, path, "default") as sender:
        assert await sender.catch_up() == 0
        await journal.record("a", [VERDICT])
        await writer.write()
        assert await sender.catch_up() == 3  # the first line, and those of two tenants
        await journal.record("a", [VERDICT])
        await writer.write()
        assert await sender.catch_up() == 1
        assert await sender.catch_up() == 0
    kept = tmp_path / "kept.jsonl"
    kept.write_text("".join(json.dumps(event.data) + "\n" for event in receiver.taken))
    found = read_checkpoints(kept, KEYS)
    assert (found.problems, len(found.lines)) == ([], 4)
    assert (await journal.acts.check("a", lambda: found)).problems == []
    other = memory_journal(audit=AuditContext(KEYS))  # with one record less, and without its checkpoint
    await other.record("a", [VERDICT])
    told = [problem.problem for problem in (await other.acts.check("a", lambda: found)).problems]
    assert any("ends at record 1, but checkpoint 3" in problem for problem in told)


async def test_no_checkpoint_is_given_up_and_a_tenant_gets_its_own(tmp_path: Path) -> None:
    journal, path = memory_journal(audit=AuditContext(KEYS)), tmp_path / "checkpoints.jsonl"
    for tenant in ("a", "b"):
        await journal.record(tenant, [VERDICT])
    await Checkpointer(journal, path, KEYS, "default").write()
    receiver, pauses = Receiver(*[500] * 20, 204), Pauses()
    async with receiver.serving() as url, webhook(journal, url, path, "b", pauses) as sender:
        assert await sender.catch_up() == 1
    assert len(set(receiver.ids)) == 1
    assert (len(receiver.ids), [event.data["tenant_id"] for event in receiver.taken]) == (21, ["b"])
