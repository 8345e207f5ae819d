"""Adds used and reserved amounts of sessions and tenants."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003_spending"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("reserved", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("runs", sa.Column("settled_seconds", sa.Float(), nullable=False, server_default="0"))
    op.create_table(
        "spending",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("scope", sa.String(length=8), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        *_amounts(),
        sa.PrimaryKeyConstraint("tenant_id", "scope", "name"),
    )
    op.create_table(
        "reservations",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("session_id", sa.String(length=128), nullable=True),
        sa.Column("holder", sa.String(length=128), nullable=False),
        *_amounts(),
        sa.PrimaryKeyConstraint("id"),
    )


def _amounts() -> list[sa.Column[Any]]:
    return [
        sa.Column("steps", sa.BigInteger(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("cost", sa.Float(), nullable=False),
    ]


def downgrade() -> None:
    op.drop_table("reservations")
    op.drop_table("spending")
    op.drop_column("runs", "settled_seconds")
    op.drop_column("runs", "reserved")
