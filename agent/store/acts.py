"""The audit log in the journal's database: acts of their own, and its verification."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from agent.run.acts import CHECKPOINTS, LogEnd, NewAct
from agent.run.journal import Projection
from agent.store.backend import Backend, Transaction
from agent.store.rules import acts
from flightloop.acts import Act, Actor
from flightloop.audit_check import AuditCheck, AuditProblem
from flightloop.errors import Conflict
from flightloop.verdicts import AuditRecord
from guardrails.audit_check import ChainCheck, Unreadable
from guardrails.checkpoints import Checkpoints
from guardrails.policy_texts import is_text_of

SHOWN = 12
"""Digits of a hash in problems."""


class StoreActs:
    """Implements ``agent.run.acts.Acts``."""

    def __init__(self, backend: Backend, clock: Callable[[], datetime]) -> None:
        self._backend = backend
        self._clock = clock

    async def record(
        self, tenant_id: str, act: Act, actor: Actor, object: str | None, details: Mapping[str, Any]
    ) -> None:
        entry = acts.Entry(actor, act, object, dict(details))
        await self._backend.write(lambda tx: acts.add(tx, tenant_id, [entry], self._clock()))

    async def record_with(
        self, tenant_id: str, new: Sequence[NewAct], name: str, state: Mapping[str, Any], expected_cursor: int
    ) -> None:
        entries = [acts.Entry(one.actor, one.act, one.object, dict(one.details)) for one in new]
        used = [str(one.details["after"]) for one in new if one.details.get("after")]

        def work(tx: Transaction) -> None:
            stored = tx.projection(name)
            if (stored.cursor if stored else 0) != expected_cursor:
                raise Conflict(f"projection {name} was updated by another process")
            tx.save_projection(name, Projection(expected_cursor + 1, dict(state)))
            acts.add(tx, tenant_id, [*acts.store_policies(tx, used), *entries], self._clock())

        await self._backend.write(work)

    async def tenants(self) -> list[str]:
        return await self._backend.read(lambda tx: tx.audit_tenants())

    async def ends(self) -> dict[str, LogEnd]:
        def work(tx: Transaction) -> dict[str, LogEnd]:
            heads = {tenant_id: tx.audit_head(tenant_id) for tenant_id in tx.audit_tenants()}
            return {tenant_id: LogEnd(head.seq, head.sha256) for tenant_id, head in heads.items() if head}

        return await self._backend.read(work)

    async def unsealed(self) -> dict[str, LogEnd]:
        def work(tx: Transaction) -> dict[str, LogEnd]:
            found = {tenant_id: _last_unsealed(tx, tenant_id) for tenant_id in tx.audit_tenants()}
            return {tenant_id: LogEnd(one.seq, one.sha256) for tenant_id, one in found.items() if one}

        return await self._backend.read(work)

    async def check(
        self, tenant_id: str, read: Callable[[], Checkpoints] | None, after: int = 0, limit: int = 1000
    ) -> AuditCheck:
        checkpoints = None if read is None else await asyncio.to_thread(read)
        found, least = await self._backend.read(lambda tx: _check(tx, tenant_id, checkpoints, after, limit))
        if read is not None and not found.has_more:
            # Lines are written before the database remembers them: those that it did remember must be there by now.
            last = (await asyncio.to_thread(read)).last
            written = last.number + 1 if last else 0
            if written < least:
                lacking = f"the checkpoints have {written} lines, but {least} were written: lines were removed"
                found.problems.append(AuditProblem(problem=lacking))
        return found

    async def policy(self, sha256: str) -> str | None:
        text = await self._backend.read(lambda tx: tx.policy_text(sha256))
        if text is not None and not is_text_of(sha256, text):
            raise Conflict(f"the stored text of the policy {sha256} was changed: its hash is another one")
        return text

    async def checkpoint_files(self) -> dict[str, int]:
        """Ids of all files of checkpoints that were begun, and how many lines each must have."""
        known = await self._backend.read(lambda tx: tx.projections(f"{CHECKPOINTS}:"))
        return {name.partition(":")[2]: one.cursor for name, one in known.items()}

    async def policy_hashes(self, beginning: str) -> list[str]:
        """Hashes of stored policies that begin like this."""
        known = await self._backend.read(lambda tx: tx.policies())
        return [sha256 for sha256 in known if sha256.startswith(beginning)]


def _check(
    tx: Transaction, tenant_id: str, checkpoints: Checkpoints | None, after: int, limit: int
) -> tuple[AuditCheck, int]:
    """The verification, and the number of lines that the checkpoints must have."""
    before, told = _before(tx, tenant_id, after)
    chain = ChainCheck(tenant_id, tx.audit_context.keys, checkpoints, before)
    chain.problems += told
    first = None if after else next((one.seq for one in tx.stored_audit(tenant_id, None, 1)), None)
    if first is not None and first < 1:
        chain.problems.append(AuditProblem(seq=first, problem="was added: records are numbered from 1"))
    found = tx.stored_audit(tenant_id, after, limit)
    stored = dict.fromkeys(filter(None, map(_stored_policy, found)))
    for one in found:
        chain.take(one)
    last = found[-1].seq if found else None  # None: a text, which sorts after all numbers
    more = last is not None and bool(tx.stored_audit(tenant_id, last, 1))
    problems = chain.problems
    problems += [problem for sha256 in stored if (problem := _text_problem(tx, sha256))]
    least = 0
    if not more:
        chain.end()
        told, least = _file_problems(tx, checkpoints)
        problems += told
    check = AuditCheck(
        tenant_id=tenant_id,
        records=chain.records,
        sealed=chain.sealed,
        problems=problems,
        has_more=more,
        next_after=last if more else None,
        checkpoint=None if more else chain.checkpoint,
        unseen=0 if more else chain.seq - (chain.checkpoint.seq if chain.checkpoint else 0),
        notes=[] if more or checkpoints is None else checkpoints.notes,
    )
    return check, least


def _last_unsealed(tx: Transaction, tenant_id: str) -> AuditRecord | None:
    """The last record without a key, by bisection: all later ones have keys."""
    head = tx.audit_head(tenant_id)
    low, high, last = 0, head.seq if head else 0, None  # records up to `low` have no key, those after `high` have one
    while low < high:
        middle = (low + high + 1) // 2
        [one] = tx.stored_audit(tenant_id, middle - 1, 1)
        if isinstance(one, AuditRecord) and one.key_id is None:
            low, last = middle, one
        else:
            high = middle - 1
    return last


def _before(tx: Transaction, tenant_id: str, after: int) -> tuple[AuditRecord | None, list[AuditProblem]]:
    """The record before a part of the log, and the problem with it."""
    if not after:
        return None, []
    found = tx.stored_audit(tenant_id, after - 1, 1)
    if found and isinstance(found[0], AuditRecord) and found[0].seq == after:
        return found[0], []
    if found and isinstance(found[0], Unreadable) and found[0].seq == after:
        return None, [AuditProblem(seq=after, problem=f"can't be read: {found[0].reason}")]
    return None, [AuditProblem(seq=after, problem="is missing")]


def _stored_policy(one: AuditRecord | Unreadable) -> str | None:
    """Hash of the policy whose text was stored with a record."""
    return one.object if isinstance(one, AuditRecord) and one.act is Act.POLICY_STORED else None


def _text_problem(tx: Transaction, sha256: str) -> AuditProblem | None:
    text = tx.policy_text(sha256)
    if text is None:
        return AuditProblem(problem=f"the text of the policy {sha256[:SHOWN]} was removed")
    if not is_text_of(sha256, text):
        return AuditProblem(problem=f"the text of the policy {sha256[:SHOWN]} was changed")
    return None


def _file_problems(tx: Transaction, checkpoints: Checkpoints | None) -> tuple[list[AuditProblem], int]:
    """What is wrong with the file of checkpoints, by itself and compared with what the database remembers of it, and
    the number of lines that it must have."""
    if checkpoints is None:
        return [], 0
    problems, last = [AuditProblem(problem=problem) for problem in checkpoints.problems], checkpoints.last
    if last is None:
        return problems, 0
    written, known = last.number + 1, tx.projection(f"{CHECKPOINTS}:{last.file}")
    least, most = (int(known.cursor), int(known.state["to"])) if known else (0, 0)
    if written > most:
        lacking = f"the database knows of {most} lines of checkpoints, but there are {written}: it was set back, or the"
        problems.append(AuditProblem(problem=f"{lacking} checkpoints are another journal's"))
    return problems, least
