"""Raises, clears and records a tenant's interrupts, and limits them.

Limits are needed because every process checks all interrupts for each completion and run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import sha256

from agent.run.acts import DEPLOYMENT
from agent.run.journal import Idempotency
from agent.store.backend import Transaction
from agent.store.rules import idempotency_records
from agent.store.rules.acts import Entry, add
from flightloop.acts import Act, Actor, system
from flightloop.errors import Conflict, NotFound
from flightloop.runs import Interrupt
from guardrails.interrupt import ANY_TENANT

MOST = 1000
"""Maximum number of active interrupts of agents and sessions. Single runs don't count: they can always be stopped."""

KEPT = 500
"""Maximum number of stored interrupts per tenant that are cleared or of single runs. One more represents older ones."""

PAST = "represents older, cleared interrupts"


def standing(tx: Transaction, tenant_id: str, scope: str) -> Interrupt | None:
    """At the limit, the active interrupt with scope "all", used instead of a new one; None if a new one is allowed.

    Raises Conflict at the limit for other scopes. A first interrupt with scope "all" is always allowed.
    """
    if scope == "run" or tx.latched(tenant_id) < MOST:
        return None
    if scope == "all":
        return next((stop for stop in tx.interrupts(tenant_id, None) if stop.scope == "all"), None)
    raise Conflict(
        f"{MOST} interrupts are active, which is the limit: stop everything (scope 'all'), or clear some of those that"
        " GET /v1/interrupts lists"
    )


def stop(tx: Transaction, wanted: Interrupt, idempotency: Idempotency | None, actor: Actor | None) -> Interrupt:
    """Raises an interrupt and returns it, or the one that stands for it. Raises IdempotencyMismatch, Conflict."""
    tenant_id = wanted.tenant_id
    first = idempotency_records.earlier(tx, tenant_id, idempotency, Interrupt)
    if first is not None:
        latched = tx.interrupt(first.id)
        if latched is not None and latched.cleared_at is None:
            return first
        idempotency_records.forget(tx, tenant_id, idempotency)  # the first was cleared: raise a new one
    if (known := standing(tx, tenant_id, wanted.scope)) is not None:
        return known
    interrupt = wanted.model_copy(update={"epoch": tx.next_epoch()})
    tx.add_interrupt(interrupt)
    record(tx, interrupt, Act.STOP, actor or system(interrupt.created_by), interrupt.created_at)
    forget(tx, tenant_id)
    idempotency_records.keep(tx, tenant_id, idempotency, interrupt, interrupt.created_at)
    return interrupt


def record(tx: Transaction, interrupt: Interrupt, act: Act, actor: Actor, now: datetime) -> None:
    """Adds a stop, or its lifting, to the audit log.

    Stops that the deployment raises are in its own tenant's log, and in that of the tenant that they name.
    """
    told = {"scope", "target", "reason", "epoch", *({"clear_reason"} if act is Act.LIFT else ())}
    details = interrupt.model_dump(mode="json", include=told)
    run_id = interrupt.target if interrupt.scope == "run" else None
    for tenant_id in _logs(interrupt):
        add(tx, tenant_id, [Entry(actor, act, interrupt.id, details, run_id=run_id)], now)


def _logs(interrupt: Interrupt) -> Iterable[str]:
    """Tenants whose audit log has the interrupt. ``*`` has no key that could read a log."""
    if interrupt.tenant_id != ANY_TENANT:
        return (interrupt.tenant_id,)
    named = [interrupt.target] if interrupt.scope == "tenant" and interrupt.target else []
    return dict.fromkeys([DEPLOYMENT, *named])


def clear(
    tx: Transaction, tenant_id: str, interrupt_id: str, actor: Actor | None, now: datetime, reason: str = ""
) -> Interrupt:
    """Clears an interrupt. Raises NotFound."""
    interrupt = tx.interrupt(interrupt_id)
    if interrupt is None or interrupt.tenant_id != tenant_id:
        raise NotFound(f"no interrupt {interrupt_id}")
    if interrupt.cleared_at is None:
        lifted = {"cleared_at": now, "cleared_by": actor.name if actor else "", "clear_reason": reason}
        interrupt = interrupt.model_copy(update=lifted)
        tx.next_epoch()  # readers that only react to a new epoch must see the clearing too
        tx.save_interrupt(interrupt)
        record(tx, interrupt, Act.LIFT, actor or system("journal"), now)
        forget(tx, tenant_id)
    return interrupt


def forget(tx: Transaction, tenant_id: str) -> None:
    """Removes all but the newest ``KEPT`` cleared and single-run interrupts.

    A run that was queued or waiting may not have seen the removed interrupts. So a cleared interrupt with scope "all"
    and the latest of their epochs replaces them; those that the deployment raised for one tenant are replaced for this
    tenant only. It may stop more runs than they did, but never fewer; stopped runs can be resumed.
    """
    groups: dict[str | None, list[Interrupt]] = {}
    for stop in tx.forget_interrupts(tenant_id, KEPT):
        if stop.scope != "run":
            groups.setdefault(stop.target if stop.scope == "tenant" else None, []).append(stop)
    for target, past in groups.items():
        _represent(tx, tenant_id, target, past)


def _represent(tx: Transaction, tenant_id: str, target: str | None, past: Sequence[Interrupt]) -> None:
    """Stores an interrupt in place of others.

    Args:
        target: tenant that they were raised for; None: the scope is "all".
    """
    owner = tenant_id if target is None else f"{tenant_id}\n{target}"
    name = f"int_past_{sha256(owner.encode()).hexdigest()[:32]}"
    before = tx.interrupt(name)
    last = max([*past, *([before] if before else [])], key=lambda stop: stop.epoch)
    cleared = max(stop.cleared_at or stop.created_at for stop in [*past, *([before] if before else [])])
    scope = "all" if target is None else "tenant"
    changes = {"id": name, "scope": scope, "target": target, "reason": PAST, "created_by": "", "cleared_at": cleared}
    (tx.save_interrupt if before else tx.add_interrupt)(last.model_copy(update=changes))
