"""The tables as they are now. Money and quantities are decimal text; times are ns UTC."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, MetaData, Table, Text

METADATA = MetaData()


def _text(*names: str) -> list[Column[str]]:
    return [Column(name, Text, nullable=False) for name in names]


def _number(*names: str) -> list[Column[int]]:
    return [Column(name, Integer, nullable=False) for name in names]


CURSOR = Table("cursor", METADATA, Column("id", Integer, primary_key=True), *_number("sequence"))

TRADES = Table(
    "trades",
    METADATA,
    Column("pair_id", Text, primary_key=True),
    *_number("ts_ns"),
    *_text("strategy", "asset", "long_venue", "short_venue", "quantity"),
    *_text("price_usd", "fees_usd", "funding_usd", "net_usd"),
    *_number("opened", "hold_ms", "worst_unhedged_ms"),
    *_text("exit_reason"),
)

ORDERS = Table(
    "orders",
    METADATA,
    Column("client_id", Text, primary_key=True),
    *_number("ts_ns"),
    *_text("pair_id", "venue", "account", "asset", "side", "purpose", "order_type"),
    *_text("time_in_force", "quantity"),
    Column("price", Text),
    *_text("state", "filled", "venue_order_id", "reason"),
    *_number("updated_ns"),
    Index("orders_of_pair", "pair_id"),
)

FILLS = Table(
    "fills",
    METADATA,
    Column("sequence", Integer, primary_key=True),
    *_number("ts_ns"),
    *_text("client_id", "pair_id", "venue", "account", "asset", "trade_id", "side"),
    *_text("price", "quantity", "fee_usd", "liquidity"),
    *_number("reconciled"),
    Index("fills_of_pair", "pair_id"),
)

TRANSFERS = Table(
    "transfers",
    METADATA,
    Column("sequence", Integer, primary_key=True),
    *_number("ts_ns"),
    *_text("venue", "account", "transfer_id", "reason", "currency", "amount", "amount_usd"),
    *_number("venue_ns"),
)

EQUITY = Table(
    "equity",
    METADATA,
    Column("sequence", Integer, primary_key=True),
    Column("venue", Text, primary_key=True),
    *_number("ts_ns"),
    *_text("equity_usd"),
)

EXPORTED = {table.name: table for table in (TRADES, ORDERS, FILLS, TRANSFERS, EQUITY)}
"""What can be exported, by name."""
