"""The history of the tables' shape, for alembic."""
