"""Adds the original run of each fork. Writes of a fork's session move to the session of the original run."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006_forks"
down_revision = "0005_writes"
branch_labels = None
depends_on = None

RUNS = sa.table("runs", *map(sa.column, ("number", "id", "tenant_id", "session_id", "document")))
WRITES = sa.table("writes", *map(sa.column, ("number", "tenant_id", "session_id", "run_id", "document")))


def upgrade() -> None:
    forks = op.create_table(
        "forks",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("session_id", sa.String(length=128), nullable=False),
        sa.Column("root_id", sa.String(length=64), nullable=False),
        sa.Column("root_session_id", sa.String(length=128), nullable=False),
        sa.Column("copied_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("run_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_forks_session", "forks", ["tenant_id", "session_id"])
    op.create_index("ix_forks_copied", "forks", ["copied_at"])
    found = _forks(op.get_bind())
    if found:
        op.bulk_insert(forks, list(found.values()))
        _move_writes(op.get_bind(), found)


def _forks(connection: sa.Connection) -> dict[str, dict[str, Any]]:
    """Existing forks, oldest first, so that each follows its origin."""
    found: dict[str, dict[str, Any]] = {}
    sessions: dict[tuple[str, str], str] = {}
    query = sa.select(RUNS).where(RUNS.c.document.like('%"origin":{%')).order_by(RUNS.c.number)
    for run in connection.execute(query).all():
        origin = json.loads(run.document).get("origin")
        if origin is None:
            continue  # the pattern matched some other text
        above = found.get(origin["run_id"])
        if above is None:
            session = sa.select(RUNS.c.session_id).where(RUNS.c.id == origin["run_id"])
            began = connection.execute(session).scalar_one()
            above = {"root_id": origin["run_id"], "root_session_id": sessions.get((run.tenant_id, began), began)}
        root = {key: above[key] for key in ("root_id", "root_session_id")}
        sessions.setdefault((run.tenant_id, run.session_id), root["root_session_id"])
        found[run.id] = {"run_id": run.id, "tenant_id": run.tenant_id, "session_id": run.session_id, **root}
    return found


def _move_writes(connection: sa.Connection, forks: dict[str, dict[str, Any]]) -> None:
    sessions = {(fork["tenant_id"], fork["session_id"]): fork["root_session_id"] for fork in forks.values()}
    for (tenant_id, session_id), root in sessions.items():
        own = sa.and_(WRITES.c.tenant_id == tenant_id, WRITES.c.session_id == session_id)
        for write in connection.execute(sa.select(WRITES).where(own)).all():
            document = json.loads(write.document)
            first = (*document["callers"], write.run_id)[0]
            document["root"] = forks[first]["root_id"] if first in forks else first
            change = sa.update(WRITES).where(WRITES.c.number == write.number)
            connection.execute(change.values(session_id=root, document=json.dumps(document)))


def downgrade() -> None:
    op.drop_table("forks")
