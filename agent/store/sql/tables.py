"""Tables of the journal. Times are seconds since 1970 (UTC), documents are JSON of the wire types.

Every table has a ``tenant_id``, which is ``*`` in rows of all tenants. The migrations create the schema; a test
compares both.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

ALL_TENANTS = "*"
_Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite increments INTEGER keys only


def _amounts() -> list[Column[Any]]:
    return [
        Column("steps", BigInteger, nullable=False),
        Column("tokens", BigInteger, nullable=False),
        Column("seconds", Float, nullable=False),
        Column("cost", Float, nullable=False),
    ]


runs = Table(
    "runs",
    metadata,
    Column("number", _Id, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("tenant_id", String(64), nullable=False),
    Column("agent", String(64), nullable=False),
    Column("session_id", String(128), nullable=False),
    Column("subject_id", String(200)),
    Column("parent_id", String(64)),
    Column("status", String(20), nullable=False),
    Column("last_seq", Integer, nullable=False),
    Column("document", Text, nullable=False),
    Column("held_at", Float),
    Column("cancel_requested", Boolean, nullable=False),
    Column("confident_calls", Integer, nullable=False),
    Column("queued_at", Float, nullable=False),
    Column("holder", String(128)),
    Column("fence", Integer, nullable=False),
    Column("lease_until", Float),
    Column("reserved", Boolean, nullable=False),
    Column("settled_seconds", Float, nullable=False),
    Column("ended_at", Float),
    Column("erased", Integer, nullable=False, server_default="0"),
    Index("ix_runs_claimable", "status", "queued_at"),
    Index("ix_runs_tenant", "tenant_id", "number"),
    Index("ix_runs_session", "tenant_id", "session_id", "number"),
    Index("ix_runs_subject", "tenant_id", "subject_id", "number"),
    Index("ix_runs_parent", "parent_id"),
    Index("ix_runs_ended", "erased", "ended_at"),
    sqlite_autoincrement=True,
)

events = Table(
    "events",
    metadata,
    Column("position", _Id, primary_key=True, autoincrement=True),
    Column("tenant_id", String(64), nullable=False),
    Column("run_id", String(64), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("document", Text, nullable=False),
    UniqueConstraint("run_id", "seq", name="uq_events_run_seq"),
    sqlite_autoincrement=True,
)

writes = Table(
    "writes",
    metadata,
    Column("number", _Id, primary_key=True, autoincrement=True),
    Column("tenant_id", String(64), nullable=False),
    Column("session_id", String(128), nullable=False),
    Column("run_id", String(64), nullable=False),
    Column("call_id", Text, nullable=False),
    Column("args_sha256", String(64), nullable=False),
    Column("ok", Boolean),
    Column("uncertain", Boolean, nullable=False),
    Column("told", Text, nullable=False),
    Column("document", Text, nullable=False),
    Column("tool", Text, nullable=False, server_default=""),
    Index("ix_writes_session", "tenant_id", "session_id", "number"),
    Index("ix_writes_same", "tenant_id", "session_id", "args_sha256", "number"),
    Index("ix_writes_call", "run_id", "call_id"),
    Index("ix_writes_tool", "tenant_id", "session_id", "tool", "number"),
    sqlite_autoincrement=True,
)
"""Calls that change something (``agent.store.rules.writes``). Those of a fork have its original run's session."""

forks = Table(
    "forks",
    metadata,
    Column("run_id", String(64), primary_key=True),
    Column("tenant_id", String(64), nullable=False),
    Column("session_id", String(128), nullable=False),
    Column("root_id", String(64), nullable=False),
    Column("root_session_id", String(128), nullable=False),
    Column("copied_at", Float),
    Index("ix_forks_session", "tenant_id", "session_id"),
    Index("ix_forks_copied", "copied_at"),
    sqlite_with_rowid=False,
)
"""Origins of forks; see ``agent.store.backend.Fork``."""

approvals = Table(
    "approvals",
    metadata,
    Column("number", _Id, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("tenant_id", String(64), nullable=False),
    Column("run_id", String(64), nullable=False),
    Column("status", String(20), nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("document", Text, nullable=False),
    Index("ix_approvals_run", "run_id"),
    Index("ix_approvals_tenant", "tenant_id", "status", "number"),
    Index("ix_approvals_overdue", "status", "expires_at"),
    sqlite_autoincrement=True,
)

epochs = Table(
    "epochs",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("epoch", BigInteger, nullable=False),
)
"""One row: the cluster-wide interrupt epoch, incremented when an interrupt is raised or cleared."""

interrupts = Table(
    "interrupts",
    metadata,
    Column("number", _Id, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("tenant_id", String(64), nullable=False),
    Column("cleared_at", Float),
    Column("document", Text, nullable=False),
    Index("ix_interrupts_cleared", "cleared_at"),
    sqlite_autoincrement=True,
)

audit = Table(
    "audit",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("run_id", String(64)),
    Column("document", Text, nullable=False),
    Column("act", String(32), nullable=False, server_default="verdict"),
    Column("actor_id", String(128)),
    Column("actor", Text),
    Index("ix_audit_run", "tenant_id", "run_id", "seq"),
    Index("ix_audit_act", "tenant_id", "act", "seq"),
)
"""Acts by tenant, chained by digests (``flightloop.audit_chain``). No field is both in a column and in the document."""

policies = Table(
    "policies",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("tenant_id", String(64), nullable=False),
    Column("document", Text, nullable=False),
)
"""Texts of policies that decided something. A deployment's tenants share its policies."""

answers = Table(
    "answers",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Index("ix_answers_created", "created_at"),
)
"""Stored responses by idempotency key."""

projections = Table(
    "projections",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("cursor", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("number", _Id, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("tenant_id", String(64), nullable=False),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("document", Text, nullable=False),
    Index("ix_keys_tenant", "tenant_id", "number"),
    sqlite_autoincrement=True,
)
"""API keys by digest."""

spending = Table(
    "spending",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("scope", String(8), primary_key=True),
    Column("name", String(128), primary_key=True),
    *_amounts(),
)
"""Used amounts. ``scope`` is ``session`` (``name``: its id), for a tenant ``day`` (2026-01-31, in UTC), or ``subject``
(the hash of its id, a colon and the day)."""

counted_calls = Table(
    "counted_calls",
    metadata,
    Column("number", _Id, primary_key=True, autoincrement=True),
    Column("tenant_id", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("run_id", String(64), nullable=False),
    Column("call_id", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("until", Float),
    Column("amount", BigInteger, nullable=False),
    UniqueConstraint("run_id", "call_id", "name", name="uq_counted_calls_call"),
    Index("ix_counted_calls_name", "tenant_id", "name", "at"),
    Index("ix_counted_calls_until", "until"),
    sqlite_autoincrement=True,
)
"""Calls that count towards limits over time; see ``agent.store.backend.CountedCall``."""

reservations = Table(
    "reservations",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("tenant_id", String(64), nullable=False),
    Column("session_id", String(128)),
    Column("holder", String(128), nullable=False),
    Column("subject_id", String(200)),
    *_amounts(),
)
"""Amounts reserved for running model calls; few rows."""
