"""Erases reasons of verdicts on completions by age. Completions have no run and no subject by which to find them.

Events and audit records are in the order of time. Projections remember how far they are erased.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from itertools import takewhile

from agent.run.erased import erased_event
from agent.run.journal import Projection, Recorded
from agent.store.backend import AuditFilter, Transaction
from agent.store.rules.erasing import RECORDS, erase_records
from flightloop.acts import Act

EVENTS = "erasure:completions"
"""Projection: the position up to which events are erased."""
COMPLETION = "cmpl_"
"""Beginning of the ids in the place of a run's (``Journal.record``)."""
PORTION = 200


def events(tx: Transaction, before: datetime) -> bool:
    """Erases a portion of the events of completions. Returns whether there may be more."""
    known = tx.projection(EVENTS)
    page = tx.read_all(known.cursor if known else 0, PORTION)
    old: Sequence[Recorded] = list(takewhile(lambda one: one.event.at is not None and one.event.at < before, page))
    found = (one.event for one in old if one.event.run_id.startswith(COMPLETION) and not one.event.erased)
    tx.replace_events(list(map(erased_event, found)))
    if old:
        tx.save_projection(EVENTS, Projection(old[-1].position, {}))
    return bool(old) and len(old) == len(page)


def records(tx: Transaction, tenant_id: str, before: datetime) -> bool:
    """Erases texts in a portion of a tenant's audit records about completions. Returns whether there may be more."""
    name = f"erasure:{sha256(tenant_id.encode()).hexdigest()[:32]}"
    known = tx.projection(name)
    page = tx.audit(tenant_id, AuditFilter(act=Act.VERDICT), known.cursor if known else 0, RECORDS)
    old = list(takewhile(lambda record: record.at < before, page))
    erase_records(tx, old, wanted=lambda record: record.run_id is None)
    if old:
        tx.save_projection(name, Projection(old[-1].seq, {}))
    return bool(old) and len(old) == len(page)
