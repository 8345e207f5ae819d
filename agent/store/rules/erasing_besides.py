"""Erases what is known about a subject, a session or an age outside of runs. Each function is one transaction's body,
and can be repeated."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from agent.run.erased import erased_run
from agent.run.erasure import ErasureFilter
from agent.store.backend import AuditFilter, Transaction
from agent.store.rules import acts
from agent.store.rules.erasing import RECORDS, erase_records
from flightloop.acts import Act, Actor
from flightloop.erasure import ERASED
from flightloop.keys import ApiKey
from flightloop.runs import Interrupt, Run
from flightloop.verdicts import AuditRecord

_EVER = datetime.min.replace(tzinfo=UTC)
ACTS = (Act.STOP, Act.LIFT, Act.KEY_CREATED, Act.KEY_REVOKED)
"""Acts that may name a subject, or a key that is bound to one."""


def bound_keys(tx: Transaction, tenant_id: str, subject: str) -> frozenset[str]:
    """Ids of the API keys that are bound to a subject."""
    found, after, more = set[str](), None, True
    while more:
        part, more = tx.page_keys(tenant_id, after, RECORDS)
        found |= {key.id for key in part if key.subject is not None and key.subject.id == subject}
        after = part[-1].id if part else None
    return frozenset(found)


def revoke(tx: Transaction, tenant_id: str, key_ids: Collection[str], actor: Actor, now: datetime) -> None:
    """Revokes API keys, and removes whose they were."""
    for key_id in sorted(key_ids):
        if (key := tx.key(tenant_id, key_id)) is None:
            continue
        if key.revoked_at is None:
            details = {"name": ERASED, "role": key.role.value, "speaks_for": key.speaks_for.value}
            acts.add(tx, tenant_id, [acts.Entry(actor, Act.KEY_REVOKED, key.id, details)], now)
        tx.save_key(key.model_copy(update={"name": ERASED, "subject": None, "revoked_at": key.revoked_at or now}))


def stops(tx: Transaction, wanted: ErasureFilter) -> tuple[int, list[str]]:
    """Erases the subject and the reasons of stops. Returns how many were changed, and the active ones of the subject,
    which stay as they are."""
    changed, active = 0, []
    for stop in tx.interrupts(wanted.tenant_id, _EVER):
        names_subject = wanted.subject is not None and (stop.scope, stop.target) == ("subject", wanted.subject)
        if names_subject and stop.cleared_at is None:
            active.append(stop.id)
        elif names_subject or _is_of_erased(tx, stop, wanted):
            left = _erased_stop(stop, names_subject)
            changed += left != stop
            tx.save_interrupt(left)
    return changed, active


def _is_of_erased(tx: Transaction, stop: Interrupt, wanted: ErasureFilter) -> bool:
    if stop.scope == "session":
        return wanted.session_id is not None and stop.target == wanted.session_id
    if stop.scope != "run" or stop.target is None or stop.reason in ("", ERASED):
        return False
    row = tx.run(stop.target)
    return row is not None and row.state.run.erased_at is not None


def _erased_stop(stop: Interrupt, names_subject: bool) -> Interrupt:
    changes: dict[str, Any] = {
        "reason": stop.reason and ERASED,
        "clear_reason": stop.clear_reason and ERASED,
    }
    return stop.model_copy(update={**changes, **({"target": ERASED} if names_subject else {})})


def acts_about(keys: Collection[str]) -> list[AuditFilter]:
    """Which audit records may name a subject with these API keys."""
    return [*(AuditFilter(act=act) for act in ACTS), *(AuditFilter(actor=key) for key in sorted(keys))]


def records(
    tx: Transaction,
    after: int,
    tenant_id: str,
    wanted: AuditFilter,
    subject: str,
    keys: frozenset[str],
    kept: Collection[str],
) -> int | None:
    """Erases a portion of the audit records that name the subject or one of its API keys.

    Args:
        kept: ids of active stops, which still name the subject.

    Returns:
        The last record's number; None if there are no more.
    """

    def concerns(record: AuditRecord) -> bool:
        if record.object in kept:
            return False
        names_subject = record.details.get("scope") == "subject" and record.details.get("target") == subject
        return names_subject or record.object in keys or (record.actor is not None and record.actor.id in keys)

    return erase_records(tx, tx.audit(tenant_id, wanted, after, RECORDS), subject, keys, concerns)


def answers(tx: Transaction, wanted: ErasureFilter, after: str) -> tuple[int, str | None]:
    """Erases a portion of the stored responses about the subject or session. Returns how many were changed, and the
    last one's key; None if there are no more."""
    assert wanted.tenant_id is not None
    named = json.dumps(wanted.subject or wanted.session_id, ensure_ascii=False)
    found = tx.find_answers(wanted.tenant_id, named, after, RECORDS)
    changed = 0
    for key, body in found:
        left = _erased_answer(tx, json.loads(body), wanted)
        if left is not None and left != body:
            tx.replace_answer(wanted.tenant_id, key, left)
            changed += 1
    return changed, found[-1][0] if found else None


def _erased_answer(tx: Transaction, data: dict[str, Any], wanted: ErasureFilter) -> str | None:
    """The response as JSON; None if it is about something else."""
    if "input" in data:
        run = Run.model_validate(data)
        row = tx.run(run.id)
        if row is None or (at := row.state.run.erased_at) is None:
            return None
        return run.model_copy(update={**erased_run(run), "erased_at": at}).model_dump_json()
    if wanted.subject is None:
        return None
    if "role" in data and (data.get("subject") or {}).get("id") == wanted.subject:
        return ApiKey.model_validate({**data, "name": ERASED, "subject": None}).model_dump_json()
    if data.get("scope") == "subject" and data.get("target") == wanted.subject:
        return _erased_stop(Interrupt.model_validate(data), True).model_dump_json()
    return None
