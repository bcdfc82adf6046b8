"""The rows of OKX messages: what the exchange knows, in OKX's fields and units.

Sizes are contracts, all numbers and times (ms) are strings, an empty string means nothing. Fees
are negative when charged.
"""

from __future__ import annotations

from perpbot.simulation.wire.okx.rows.account import (
    balance_row,
    fee_row,
    funding_bill_row,
    position_row,
    trade_bill_row,
    transfer_bill_row,
)
from perpbot.simulation.wire.okx.rows.market import (
    STABLECOIN_INDICES,
    funding_row,
    index_row,
    instrument_row,
    level_rows,
    mark_row,
    stablecoin_row,
    trade_row,
)
from perpbot.simulation.wire.okx.rows.orders import (
    CANCEL_SOURCES,
    ORDER_TYPES,
    algo_row,
    fill_row,
    order_row,
    order_type,
)
from perpbot.simulation.wire.okx.rows.units import (
    Levels,
    Row,
    bill_id,
    contracts_of,
    index_of,
    ms,
)

__all__ = [
    "CANCEL_SOURCES",
    "ORDER_TYPES",
    "STABLECOIN_INDICES",
    "Levels",
    "Row",
    "algo_row",
    "balance_row",
    "bill_id",
    "contracts_of",
    "fee_row",
    "fill_row",
    "funding_bill_row",
    "funding_row",
    "index_of",
    "index_row",
    "instrument_row",
    "level_rows",
    "mark_row",
    "ms",
    "order_row",
    "order_type",
    "position_row",
    "stablecoin_row",
    "trade_bill_row",
    "trade_row",
    "transfer_bill_row",
]
