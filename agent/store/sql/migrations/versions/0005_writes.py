"""Adds calls that change something, by session. Calls before the upgrade are missing: a session that is open during the
upgrade may repeat one of them without approval."""

import sqlalchemy as sa
from alembic import op

revision = "0005_writes"
down_revision = "0004_parents"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "writes",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("session_id", sa.String(length=128), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("args_sha256", sa.String(length=64), nullable=False),
        sa.Column("ok", sa.Boolean(), nullable=True),
        sa.Column("uncertain", sa.Boolean(), nullable=False),
        sa.Column("told", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_writes_session", "writes", ["tenant_id", "session_id", "number"])
    op.create_index("ix_writes_same", "writes", ["tenant_id", "session_id", "args_sha256", "number"])
    op.create_index("ix_writes_call", "writes", ["run_id", "call_id"])


def downgrade() -> None:
    op.drop_table("writes")
