"""The rows of Hyperliquid's messages: what the exchange knows, in its fields.

Sizes are base coins, numbers are strings with at least one decimal, times are ms. A fee above
zero was paid. `A` is the ask side (a sell), `B` the bid side (a buy).
"""

from __future__ import annotations

from perpbot.simulation.wire.hyperliquid.rows.account import (
    WITHDRAWAL_FEE,
    clearinghouse_row,
    fees_row,
    funding_row,
    ledger_row,
    position_row,
)
from perpbot.simulation.wire.hyperliquid.rows.market import (
    bbo_row,
    book_row,
    context_row,
    delisted_context,
    hash_of,
    level_rows,
    meta,
    mid_of,
    spot_meta,
    trade_row,
)
from perpbot.simulation.wire.hyperliquid.rows.orders import (
    direction,
    fill_row,
    frontend_row,
    history_row,
    order_row,
    status_of,
    update_row,
)
from perpbot.simulation.wire.hyperliquid.rows.units import (
    Row,
    ms,
    number,
    side_of,
)

__all__ = [
    "WITHDRAWAL_FEE",
    "Row",
    "bbo_row",
    "book_row",
    "clearinghouse_row",
    "context_row",
    "delisted_context",
    "direction",
    "fees_row",
    "fill_row",
    "frontend_row",
    "funding_row",
    "hash_of",
    "history_row",
    "ledger_row",
    "level_rows",
    "meta",
    "mid_of",
    "ms",
    "number",
    "order_row",
    "position_row",
    "side_of",
    "spot_meta",
    "status_of",
    "trade_row",
    "update_row",
]
