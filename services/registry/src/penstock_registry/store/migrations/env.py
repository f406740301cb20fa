"""Run by Alembic: migrates through the connection that `migrating.migrate` gives it."""

from alembic import context

from penstock_registry.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite changes a table by copying it
)
context.run_migrations()
