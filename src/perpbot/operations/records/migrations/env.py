"""How alembic reaches the database: on the connection that the recorder hands in."""

from __future__ import annotations

from alembic import context

from perpbot.operations.records.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
