"""Adds acts and their actors to the audit log, and the texts of policies.

Earlier records are verdicts without an actor. They keep their hashes; keys seal the records that follow them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009_acts"
down_revision = "0008_subjects"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("audit", sa.Column("act", sa.String(length=32), nullable=False, server_default="verdict"))
    op.add_column("audit", sa.Column("actor_id", sa.String(length=128), nullable=True))
    op.add_column("audit", sa.Column("actor", sa.Text(), nullable=True))
    op.create_index("ix_audit_act", "audit", ["tenant_id", "act", "seq"])
    op.create_table(
        "policies",
        sa.Column("sha256", sa.String(length=64), primary_key=True),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("policies")
    op.drop_index("ix_audit_act", "audit")
    op.drop_column("audit", "actor")
    op.drop_column("audit", "actor_id")
    op.drop_column("audit", "act")
