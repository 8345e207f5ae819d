"""Alembic's entry: runs the migrations on the connection that ``agent.store.sql.migrate`` opened."""

from alembic import context

from agent.store.sql.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
