"""How Alembic runs a migration: on the connection that migrate.py gives it, and in no other way."""

from alembic import context

from tocsin.storage.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
