"""What came in and went out."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make its table."""
    text, integer = sa.Text, sa.Integer
    op.create_table(
        "transfers",
        sa.Column("sequence", integer, primary_key=True),
        sa.Column("ts_ns", integer, nullable=False),
        *(
            sa.Column(name, text, nullable=False)
            for name in (
                "venue",
                "account",
                "transfer_id",
                "reason",
                "currency",
                "amount",
                "amount_usd",
            )
        ),
        sa.Column("venue_ns", integer, nullable=False),
    )


def downgrade() -> None:
    """Drop it; the journal keeps everything."""
    op.drop_table("transfers")
