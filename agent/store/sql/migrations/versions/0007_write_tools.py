"""Adds the tool of each write, with an index that finds a session's writes of one tool."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0007_write_tools"
down_revision = "0006_forks"
branch_labels = None
depends_on = None

WRITES = sa.table("writes", *map(sa.column, ("number", "tool", "document")))


def upgrade() -> None:
    op.add_column("writes", sa.Column("tool", sa.Text(), nullable=False, server_default=""))
    connection = op.get_bind()
    for write in connection.execute(sa.select(WRITES.c.number, WRITES.c.document)).all():
        change = sa.update(WRITES).where(WRITES.c.number == write.number)
        connection.execute(change.values(tool=json.loads(write.document)["tool"]))
    op.create_index("ix_writes_tool", "writes", ["tenant_id", "session_id", "tool", "number"])


def downgrade() -> None:
    op.drop_index("ix_writes_tool", "writes")
    op.drop_column("writes", "tool")
