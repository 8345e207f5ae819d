"""Appends acts to a tenant's audit log, in the transaction of what they do."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from agent.store.backend import Head, Transaction
from flightloop.acts import Act, Actor, system
from flightloop.verdicts import Passed, Verdict
from guardrails.audit import sealed

POLICIES = system("policies")


@dataclass(frozen=True)
class Entry:
    """An act to record."""

    actor: Actor
    act: Act = Act.VERDICT
    object: str | None = None
    """Id of what it was performed on."""
    details: dict[str, Any] = field(default_factory=dict)
    verdict: Verdict | None = None
    run_id: str | None = None
    step: int | None = None
    call_id: str | None = None
    others: Sequence[Verdict] = ()
    """Further verdicts given together with ``verdict``."""
    passed: Passed | None = None
    """Verdicts without remarks given together with ``verdict``."""

    @property
    def policies(self) -> Iterable[str]:
        """Hashes of the policies that decided."""
        for verdict in (self.verdict, *self.others, self.passed):
            if verdict is not None and verdict.policy_sha256:
                yield verdict.policy_sha256


def add(tx: Transaction, tenant_id: str, entries: Sequence[Entry], now: datetime) -> None:
    """Adds one record per entry to the tenant's log, after the texts of policies that decide for the first time."""
    if not entries:
        return
    used = dict.fromkeys(sha256 for entry in entries for sha256 in entry.policies)
    entries = [*store_policies(tx, used), *entries]
    ring = tx.audit_context.keys.ring()
    head = tx.audit_head(tenant_id)
    chain = []
    for entry in entries:
        record = sealed(
            head,
            at=now,
            tenant_id=tenant_id,
            run_id=entry.run_id,
            step=entry.step,
            call_id=entry.call_id,
            verdict=entry.verdict,
            others=entry.others,
            passed=entry.passed,
            act=entry.act,
            actor=entry.actor,
            object=entry.object,
            details=entry.details,
            key=ring[-1] if ring else None,
        )
        head = Head(record.seq, record.sha256)
        chain.append(record)
    tx.add_audit(chain)


def store_policies(tx: Transaction, hashes: Iterable[str]) -> list[Entry]:
    """Stores the texts of policies that are not stored yet. Returns the acts to record."""
    entries = []
    for sha256 in hashes:
        text = tx.audit_context.policies.get(sha256)
        if text is not None and tx.policy_text(sha256) is None:
            tx.add_policy(sha256, text)
            document = json.loads(text)
            details = {"name": document["name"], "version": document["version"]}
            entries.append(Entry(POLICIES, Act.POLICY_STORED, sha256, details))
    return entries
