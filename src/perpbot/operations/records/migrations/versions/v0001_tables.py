"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make them."""
    text, integer = sa.Text, sa.Integer
    op.create_table(
        "cursor",
        sa.Column("id", integer, primary_key=True),
        sa.Column("sequence", integer, nullable=False),
    )
    op.create_table(
        "trades",
        sa.Column("pair_id", text, primary_key=True),
        sa.Column("ts_ns", integer, nullable=False),
        *(
            sa.Column(name, text, nullable=False)
            for name in ("strategy", "asset", "long_venue", "short_venue", "quantity")
        ),
        *(
            sa.Column(name, text, nullable=False)
            for name in ("price_usd", "fees_usd", "funding_usd", "net_usd")
        ),
        sa.Column("opened", integer, nullable=False),
        sa.Column("hold_ms", integer, nullable=False),
        sa.Column("worst_unhedged_ms", integer, nullable=False),
        sa.Column("exit_reason", text, nullable=False),
    )
    op.create_table(
        "orders",
        sa.Column("client_id", text, primary_key=True),
        sa.Column("ts_ns", integer, nullable=False),
        *(
            sa.Column(name, text, nullable=False)
            for name in ("pair_id", "venue", "account", "asset", "side", "purpose", "order_type")
        ),
        sa.Column("time_in_force", text, nullable=False),
        sa.Column("quantity", text, nullable=False),
        sa.Column("price", text),
        sa.Column("state", text, nullable=False),
        sa.Column("filled", text, nullable=False),
        sa.Column("venue_order_id", text, nullable=False),
        sa.Column("reason", text, nullable=False),
        sa.Column("updated_ns", integer, nullable=False),
    )
    op.create_index("orders_of_pair", "orders", ["pair_id"])
    op.create_table(
        "fills",
        sa.Column("sequence", integer, primary_key=True),
        sa.Column("ts_ns", integer, nullable=False),
        *(
            sa.Column(name, text, nullable=False)
            for name in ("client_id", "pair_id", "venue", "account", "asset", "trade_id", "side")
        ),
        *(
            sa.Column(name, text, nullable=False)
            for name in ("price", "quantity", "fee_usd", "liquidity")
        ),
        sa.Column("reconciled", integer, nullable=False),
    )
    op.create_index("fills_of_pair", "fills", ["pair_id"])
    op.create_table(
        "equity",
        sa.Column("sequence", integer, primary_key=True),
        sa.Column("venue", text, primary_key=True),
        sa.Column("ts_ns", integer, nullable=False),
        sa.Column("equity_usd", text, nullable=False),
    )


def downgrade() -> None:
    """Drop them; the journal keeps everything."""
    for name in ("equity", "fills", "orders", "trades", "cursor"):
        op.drop_table(name)
