"""``/v1/audit``, its verification, and policies by hash."""

from __future__ import annotations

from pathlib import Path

import httpx

from agent.api import create_app
from agent.reporting.checkpoints import Checkpointer
from agent.store import memory_journal
from agent.store.backend import AuditContext
from agent.testing.api import KEY, OTHER_KEY, api_deps
from flightloop import AsyncFlightloop
from flightloop.acts import Act, ActorKind
from flightloop.verdicts import Action, Stage, Verdict
from guardrails.audit_keys import AuditKey, FixedKeys
from guardrails.checkpoints import CheckpointFile
from guardrails.policy import default_policy

KEYS = FixedKeys((AuditKey(b"a" * 32),))
VERDICT = Verdict(action=Action.BLOCK, rail="terms", stage=Stage.INPUT, policy_sha256=default_policy().sha256)


async def test_acts_of_the_api_have_the_key_that_performed_them(tmp_path: Path) -> None:
    journal, path = memory_journal(audit=AuditContext(KEYS)), tmp_path / "checkpoints.jsonl"
    deps = api_deps(journal=journal, keys=journal.keys, checkpoints=CheckpointFile(path, KEYS).read)
    transport = httpx.ASGITransport(app=create_app(deps))
    async with AsyncFlightloop("http://api", KEY, transport=transport) as client:
        made = await client.keys.create(name="ann")
        stop = await client.interrupts.create(scope="agent", target="support", reason="fire")
        await client.interrupts.clear(stop.id)
        await client.keys.revoke(made.id)
        records = (await client.audit.list()).data
        assert [(record.act, record.object) for record in records] == [
            (Act.KEY_CREATED, made.id), (Act.STOP, stop.id), (Act.LIFT, stop.id), (Act.KEY_REVOKED, made.id),
        ]  # fmt: skip
        for record in records:
            assert record.actor is not None
            assert (record.actor.kind, record.actor.id, record.actor.name) == (ActorKind.KEY, "own", "key:default")
        assert [one.act for one in (await client.audit.list(act=Act.LIFT, actor="own")).data] == [Act.LIFT]
        assert (await client.audit.list(actor="ann")).data == []
        check = await client.audit.verify()
        assert [problem.problem for problem in check.problems] == [
            f"{path} is missing: without checkpoints, removed records can't be found"
        ]
        await Checkpointer(journal, path, KEYS, "default").write()
        check = await client.audit.verify(after=2)
        assert (check.problems, check.records, check.unseen) == ([], 3, 0)
    async with AsyncFlightloop("http://api", OTHER_KEY, transport=transport) as other:
        assert (await other.audit.list()).data == []
        assert (await other.audit.verify()).records == 0


async def test_an_old_verdict_leads_to_the_text_that_decided_it() -> None:
    journal = memory_journal(audit=AuditContext(KEYS))
    journal.policies.add(default_policy())
    await journal.record("default", [VERDICT])
    transport = httpx.ASGITransport(app=create_app(api_deps(journal=journal, keys=journal.keys)))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://api", headers={"authorization": f"Bearer {KEY}"}
    ) as client:
        found = (await client.get(f"/v1/policies/{VERDICT.policy_sha256}")).json()
        assert found["document"] == default_policy().document.canonical()
        assert (found["name"], found["sha256"]) == ("default", VERDICT.policy_sha256)
        [current] = (await client.get("/v1/policies")).json()["data"]
        assert (await client.get(f"/v1/policies/{current['sha256']}")).json()["name"] == current["name"]
        assert (await client.get(f"/v1/policies/{'0' * 64}")).status_code == 404
        assert (await client.get("/v1/policies/nothing")).status_code == 400
        assert (await client.get("/v1/audit", params={"act": "nothing"})).status_code == 400
