"""What Alembic runs: the migrations over the connection that `migrate.upgrade` hands it.

Rule: no batch of its own settings; the URL, the transaction and the tables come from us.
"""

from __future__ import annotations

from alembic import context

from potluck.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite cannot alter a table in place
)
with context.begin_transaction():
    context.run_migrations()
