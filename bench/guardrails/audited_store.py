"""An audit log on a real SQLite store, with a past, to tamper with."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from agent.config import Settings, load_settings
from agent.serve import factories
from agent.serve.home import open_home, private_files
from agent.store import StoreJournal, sql_journal
from flightloop.acts import Act, Actor, ActorKind
from flightloop.keys import ApiKey, Role
from flightloop.verdicts import Action, AuditRecord, Stage, Verdict
from guardrails.audit import sealed
from guardrails.audit_keys import AuditKey, KeyFile
from guardrails.policy import Policy, default_policy

TENANTS = ("default", "other")
ANN = Actor(kind=ActorKind.KEY, id="key_ann", name="key:ann")
OLD = 4
"""Records per tenant of the version without keys."""


@dataclass(frozen=True)
class AuditedStore:
    """Files of a platform that is stopped.

    Attributes:
        earlier: copies of the files, made while the log grew.
    """

    settings: Settings
    earlier: list[Path]

    @property
    def database(self) -> Path:
        return self.settings.home / "flightloop.db"

    @property
    def checkpoints(self) -> Path:
        return self.settings.checkpoints

    @property
    def _files(self) -> list[Path]:
        return [self.database, self.checkpoints, self.settings.home / "audit-key"]

    def put(self, copy: Path) -> None:
        """Restores the files of a copy."""
        for path in self._files:
            shutil.copyfile(copy / path.name, path)
        for left in self.settings.home.glob(f"{self.database.name}-*"):
            left.unlink()

    def keep(self) -> Path:
        """Copies the files."""
        folder = self.settings.home / "bench" / f"copy{len(self.earlier)}"
        folder.mkdir(parents=True)
        with self.connect() as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for path in self._files:
            shutil.copyfile(path, folder / path.name)
        self.earlier.append(folder)
        return folder

    def connect(self) -> closing[sqlite3.Connection]:
        return closing(sqlite3.connect(self.database, isolation_level=None))

    def record(self, tenant_id: str, seq: int) -> AuditRecord:
        """A stored record, as the store reads it."""
        with self.connect() as database:
            row = database.execute(
                "SELECT document, run_id, act, actor_id, actor FROM audit WHERE tenant_id = ? AND seq = ?",
                (tenant_id, seq),
            ).fetchone()
        document, run_id, act, actor_id, actor = row
        fields: dict[str, Any] = {**json.loads(document), "tenant_id": tenant_id, "seq": seq, "run_id": run_id}
        if actor is not None:
            fields["actor"] = {**fields["actor"], "id": actor_id, "name": actor}
        return AuditRecord.model_validate({**fields, "act": act})


def judged(policy: Policy, number: int, action: Action = Action.BLOCK) -> list[Verdict]:
    common: dict[str, Any] = {"stage": Stage.INPUT, "policy_sha256": policy.sha256}
    return [
        Verdict(action=action, rail="terms", reason=f"word {number}", scores={"x": 0.25}, **common),
        Verdict(action=Action.ALLOW, rail="pii", milliseconds=0.5, **common),
        Verdict(action=Action.REDACT, rail="secrets", reason="a key", labels=["key"], **common),
    ]


@contextmanager
def audited_store() -> Iterator[AuditedStore]:
    """A home whose platform has written old records, then acts of all kinds, and has changed its audit key once."""
    with TemporaryDirectory(prefix="flightloop-audit-") as folder:
        settings = load_settings(home=Path(folder) / "home")
        open_home(settings.home)
        with private_files():
            yield AuditedStore(settings, [])


async def fill(store: AuditedStore) -> None:
    """Writes the log, with copies of the files after each part and at the end."""
    settings, policy = store.settings, default_policy()
    old = sql_journal(settings.journal_url)
    await _write_old(old)
    await old.close()
    for part in range(3):
        journal = factories.open_journal(settings)
        journal.policies.add(policy)
        for tenant in TENANTS:
            await _act(journal, policy, tenant, part)
        keys = settings.audit_keys()
        if part == 1 and isinstance(keys, KeyFile):
            keys.add(AuditKey.new())
            for tenant in TENANTS:
                await journal.acts.record(tenant, Act.AUDIT_KEY_CHANGED, ANN, keys.ring()[-1].id, {})
        await factories.make_checkpointer(settings, journal).write()
        await journal.close()
        store.keep()


async def more(store: AuditedStore) -> None:
    """What the platform writes when it runs on, without a further checkpoint."""
    journal = factories.open_journal(store.settings)
    await _act(journal, default_policy(), "default", 9)
    await journal.close()


async def _write_old(journal: StoreJournal) -> None:
    """Records as the first version wrote them: verdicts without an actor and a seal."""
    for tenant in TENANTS:
        last: AuditRecord | None = None
        for number in range(OLD):
            verdict = Verdict(action=Action.BLOCK, rail="terms", stage=Stage.INPUT, reason=f"word {number}")
            last = sealed(last, at=datetime.now(UTC), tenant_id=tenant, run_id=f"run_{number}", verdict=verdict)
            await journal._backend.write(lambda tx, one=last: tx.add_audit([one]))  # type: ignore[misc]


async def _act(journal: StoreJournal, policy: Policy, tenant: str, part: int) -> None:
    await journal.record(tenant, judged(policy, part))
    stop = await journal.raise_interrupt(tenant, "agent", f"agent{part}", "fire", "ann", actor=ANN)
    await journal.clear_interrupt(tenant, stop.id, ANN)
    made = ApiKey(
        id=f"key_{tenant}_{part}", tenant_id=tenant, name="bob", role=Role.OPERATOR, created_at=datetime.now(UTC)
    )
    await journal.keys.add(made, f"{tenant}{part}", actor=ANN)
    await journal.keys.revoke(tenant, made.id, ANN)
    await journal.acts.record(tenant, Act.EXPORT, ANN, "runs.jsonl", {"agent": "support", "rated": True})
    await journal.record(tenant, judged(policy, part, Action.ASK))
