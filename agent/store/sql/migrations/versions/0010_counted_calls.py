"""Adds the calls that count towards limits over time. Calls of earlier versions are not counted."""

import sqlalchemy as sa
from alembic import op

revision = "0010_counted_calls"
down_revision = "0009_acts"
branch_labels = None
depends_on = None

_Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "counted_calls",
        sa.Column("number", _Id, primary_key=True, autoincrement=True),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("until", sa.Float(), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("run_id", "call_id", "name", name="uq_counted_calls_call"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_counted_calls_name", "counted_calls", ["tenant_id", "name", "at"])
    op.create_index("ix_counted_calls_until", "counted_calls", ["until"])


def downgrade() -> None:
    op.drop_table("counted_calls")
