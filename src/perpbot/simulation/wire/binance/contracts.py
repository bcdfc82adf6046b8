"""The ten perpetuals that the Binance server lists, and how Binance matches.

Fees are the base tier of USD-M futures: maker 2 bps, taker 5 bps (`GET /fapi/v1/commissionRate`).
Quantities are base coins; there is no contract multiplier.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from perpbot.domain.instruments import asset_key
from perpbot.simulation.model import ClientIdRule, Contract, Profile
from perpbot.simulation.wire.server import text_of

BAND_RATIO = Decimal("0.05")
MAX_QUANTITY_STEPS = 1_000_000
MAX_PRICE_TICKS = 10_000_000
WEIGHT_PER_MINUTE = 2_400
ORDERS_PER_10_S = 300
ORDERS_PER_MINUTE = 1_200

PROFILE = Profile(
    name="binance",
    maker_fee=Decimal("0.0002"),
    taker_fee=Decimal("0.0005"),
    client_ids=ClientIdRule.OPEN_ORDERS,
    post_only_refuses=True,
    band_ratio=BAND_RATIO,
    settle="USDT",
    hedge_mode=True,
)


def _perpetual(base: str, *, tick: str, step: str, notional: str, leverage: int) -> Contract:
    return Contract(
        symbol=f"{base}USDT",
        asset=asset_key(base),
        base=base,
        settle="USDT",
        tick_size=Decimal(tick),
        quantity_step=Decimal(step),
        min_quantity=Decimal(step),
        min_notional=Decimal(notional),
        funding_interval_s=28_800,
        max_leverage=leverage,
    )


CONTRACTS = (
    _perpetual("BTC", tick="0.1", step="0.001", notional="100", leverage=125),
    _perpetual("ETH", tick="0.01", step="0.001", notional="20", leverage=100),
    _perpetual("SOL", tick="0.01", step="0.01", notional="5", leverage=75),
    _perpetual("XRP", tick="0.0001", step="0.1", notional="5", leverage=75),
    _perpetual("DOGE", tick="0.00001", step="1", notional="5", leverage=75),
    _perpetual("AVAX", tick="0.001", step="0.1", notional="5", leverage=50),
    _perpetual("LINK", tick="0.001", step="0.01", notional="20", leverage=75),
    _perpetual("BNB", tick="0.01", step="0.01", notional="5", leverage=75),
    _perpetual("ADA", tick="0.0001", step="1", notional="5", leverage=75),
    _perpetual("SUI", tick="0.0001", step="0.1", notional="5", leverage=75),
)

RATE_LIMITS = (
    {
        "rateLimitType": "REQUEST_WEIGHT",
        "interval": "MINUTE",
        "intervalNum": 1,
        "limit": WEIGHT_PER_MINUTE,
    },
    {
        "rateLimitType": "ORDERS",
        "interval": "MINUTE",
        "intervalNum": 1,
        "limit": ORDERS_PER_MINUTE,
    },
    {
        "rateLimitType": "ORDERS",
        "interval": "SECOND",
        "intervalNum": 10,
        "limit": ORDERS_PER_10_S,
    },
)


def decimals(step: Decimal) -> int:
    """How many decimals a step has."""
    return max(0, -int(step.normalize().as_tuple().exponent))


def exchange_info_row(contract: Contract) -> dict[str, Any]:
    """Return one entry of `symbols` in `GET /fapi/v1/exchangeInfo`."""
    step, tick = text_of(contract.quantity_step), text_of(contract.tick_size)
    lot = {
        "stepSize": step,
        "minQty": text_of(contract.min_quantity),
        "maxQty": text_of(contract.quantity_step * MAX_QUANTITY_STEPS),
    }
    return {
        "symbol": contract.symbol,
        "pair": contract.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": 4_133_404_800_000,
        "onboardDate": 1_569_398_400_000,
        "status": "TRADING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": contract.base,
        "quoteAsset": contract.settle,
        "marginAsset": contract.settle,
        # Precisions are more digits than tick and step; clients that round to them are refused.
        "pricePrecision": decimals(contract.tick_size) + 1,
        "quantityPrecision": decimals(contract.quantity_step),
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": text_of(BAND_RATIO),
        "maxMoveOrderLimit": 10_000,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "tickSize": tick,
                "minPrice": tick,
                "maxPrice": text_of(contract.tick_size * MAX_PRICE_TICKS),
            },
            {"filterType": "LOT_SIZE", **lot},
            {"filterType": "MARKET_LOT_SIZE", **lot},
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": 10},
            {"filterType": "MIN_NOTIONAL", "notional": text_of(contract.min_notional)},
            {
                "filterType": "PERCENT_PRICE",
                "multiplierUp": text_of(1 + BAND_RATIO),
                "multiplierDown": text_of(1 - BAND_RATIO),
                "multiplierDecimal": "4",
            },
        ],
        "orderTypes": [
            "LIMIT",
            "MARKET",
            "STOP",
            "STOP_MARKET",
            "TAKE_PROFIT",
            "TAKE_PROFIT_MARKET",
        ],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
    }
