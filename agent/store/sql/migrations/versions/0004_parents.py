"""Adds the parent of each sub-run."""

import sqlalchemy as sa
from alembic import op

revision = "0004_parents"
down_revision = "0003_spending"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("parent_id", sa.String(length=64), nullable=True))
    op.create_index("ix_runs_parent", "runs", ["parent_id"])


def downgrade() -> None:
    op.drop_index("ix_runs_parent", "runs")
    op.drop_column("runs", "parent_id")
