"""Alembic's entry: runs the migrations on the connection that ``agent.store.migrate`` opened."""

from alembic import context

from agent.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
