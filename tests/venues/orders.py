"""Orders to send."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from perpbot.domain.orders import OrderRequest
from perpbot.domain.sides import OrderType, Purpose, Side, TimeInForce


def limit_buy(**fields: Any) -> OrderRequest:
    """Return a buy of 0.01 BTC at 65000 that may rest; `fields` name its venue, symbol and id."""
    usual: dict[str, Any] = {
        "account": "main",
        "asset": "BTC-PERP",
        "side": Side.BUY,
        "order_type": OrderType.LIMIT,
        "time_in_force": TimeInForce.GTC,
        "quantity": Decimal("0.01"),
        "price": Decimal(65_000),
        "reference_price": Decimal(65_000),
        "purpose": Purpose.OPEN,
    }
    return OrderRequest(**(usual | fields))
