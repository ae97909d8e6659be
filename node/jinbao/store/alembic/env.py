"""Alembic environment: runs the rooms' revisions on the connection the store hands over, and says of each that it ran."""

from alembic import context

attributes = context.config.attributes
context.configure(
    connection=attributes["connection"],
    target_metadata=None,
    render_as_batch=True,
    on_version_apply=attributes["ran"],
)
with context.begin_transaction():
    context.run_migrations()
