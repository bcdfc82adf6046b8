"""What tests of Binance's server share."""

from __future__ import annotations

from tests.unit.simulation.wire.binance.world import SYMBOL

ORDER = "/fapi/v1/order"
ALGO = "/fapi/v1/algoOrder"
BATCH = "/fapi/v1/batchOrders"


def a_stop(**change: object) -> dict[str, object]:
    """Return a stop that sells 0.01 BTC below 99500."""
    return {
        "algoType": "CONDITIONAL",
        "symbol": SYMBOL,
        "side": "SELL",
        "type": "STOP_MARKET",
        "quantity": "0.01",
        "triggerPrice": "99500",
        "clientAlgoId": "stop-1",
        **change,
    }
