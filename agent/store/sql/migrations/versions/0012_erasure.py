"""Adds when runs ended and how far their erasure is, so that both are found without reading all runs."""

import sqlalchemy as sa
from alembic import op

revision = "0012_erasure"
down_revision = "0010_counted_calls"
branch_labels = None
depends_on = None

ENDED = {
    "sqlite": "CAST(strftime('%s', json_extract(document, '$.ended_at')) AS REAL)",
    "postgresql": "extract(epoch FROM CAST(CAST(document AS json) ->> 'ended_at' AS timestamptz))",
}
"""When a run ended, in seconds since 1970, by its document; NULL if it has not ended."""


def upgrade() -> None:
    op.add_column("runs", sa.Column("ended_at", sa.Float(), nullable=True))
    op.add_column("runs", sa.Column("erased", sa.Integer(), nullable=False, server_default="0"))
    op.execute(f"UPDATE runs SET ended_at = {ENDED[op.get_bind().dialect.name]}")
    op.create_index("ix_runs_ended", "runs", ["erased", "ended_at"])
    op.create_index("ix_answers_created", "answers", ["created_at"])


def downgrade() -> None:
    op.drop_index("ix_answers_created", "answers")
    op.drop_index("ix_runs_ended", "runs")
    op.drop_column("runs", "erased")
    op.drop_column("runs", "ended_at")
