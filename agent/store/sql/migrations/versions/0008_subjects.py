"""Adds subjects: the end user of each run and reservation, and what each API key may say about end users.

Earlier runs and reservations are anonymous. Earlier keys speak for any subject.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008_subjects"
down_revision = "0007_write_tools"
branch_labels = None
depends_on = None

KEYS = sa.table("keys", *map(sa.column, ("number", "document")))


def upgrade() -> None:
    op.add_column("runs", sa.Column("subject_id", sa.String(length=200), nullable=True))
    op.create_index("ix_runs_subject", "runs", ["tenant_id", "subject_id", "number"])
    op.add_column("reservations", sa.Column("subject_id", sa.String(length=200), nullable=True))
    _rewrite_keys(lambda key: {**key, "speaks_for": "any", "subject": None})


def downgrade() -> None:
    _rewrite_keys(_without_subject)
    op.drop_column("reservations", "subject_id")
    op.drop_index("ix_runs_subject", "runs")
    op.drop_column("runs", "subject_id")


def _without_subject(key: dict[str, Any]) -> dict[str, Any]:
    """The key as earlier versions know it. They can't limit it to a subject, so a limited key is revoked."""
    limited = key.get("speaks_for", "any") != "any" and key["revoked_at"] is None
    left = {name: value for name, value in key.items() if name not in ("speaks_for", "subject")}
    return {**left, "revoked_at": datetime.now(UTC).isoformat()} if limited else left


def _rewrite_keys(changed: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    connection = op.get_bind()
    for key in connection.execute(sa.select(KEYS.c.number, KEYS.c.document)).all():
        document = json.dumps(changed(json.loads(key.document)))
        connection.execute(sa.update(KEYS).where(KEYS.c.number == key.number).values(document=document))
