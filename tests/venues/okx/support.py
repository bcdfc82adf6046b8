"""Instruments, ids and orders shared by the tests of OKX."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from perpbot.domain.instruments import Instrument
from perpbot.domain.orders import OrderRequest
from perpbot.domain.sides import Purpose
from perpbot.kernel.ids import IdMaker
from perpbot.venues.okx.signing import OkxCredentials
from tests.venues.orders import limit_buy

CREDENTIALS = OkxCredentials(api_key="demo-key", api_secret="demo-secret", passphrase="demo-pass")
START_NS = 1_795_225_230_000_000_000

INSTRUMENT_ROW: dict[str, Any] = {
    "instType": "SWAP",
    "instId": "BTC-USDT-SWAP",
    "instFamily": "BTC-USDT",
    "uly": "BTC-USDT",
    "ctType": "linear",
    "ctVal": "0.01",
    "ctMult": "1",
    "ctValCcy": "BTC",
    "lotSz": "0.01",
    "minSz": "0.02",
    "tickSz": "0.1",
    "maxLmtSz": "100000",
    "settleCcy": "USDT",
    "lever": "100",
    "state": "live",
    "instIdCode": 10459,
    "baseCcy": "",
    "quoteCcy": "",
    "unknownField": [1, {"a": None}],
}

BTC = Instrument(
    venue="okx",
    asset="BTC-PERP",
    symbol="BTC-USDT-SWAP",
    base="BTC",
    settle="USDT",
    tick_size=Decimal("0.1"),
    quantity_step=Decimal("0.0001"),
    min_quantity=Decimal("0.0002"),
    max_quantity=Decimal(1000),
    contract_size=Decimal("0.01"),
    wire_code=10459,
    max_leverage=100,
)
ETH = Instrument(
    venue="okx",
    asset="ETH-PERP",
    symbol="ETH-USDT-SWAP",
    base="ETH",
    settle="USDT",
    tick_size=Decimal("0.01"),
    quantity_step=Decimal("0.001"),
    min_quantity=Decimal("0.001"),
    contract_size=Decimal("0.1"),
    wire_code=10461,
)


def an_id(sequence: int = 1, purpose: Purpose = Purpose.OPEN) -> str:
    """Return a client order id of ours."""
    maker = IdMaker(epoch=sequence)
    return maker.order_id(account="main", strategy="test", purpose=purpose, leg=0, attempt=0)


def an_order(**changes: Any) -> OrderRequest:
    """Return a limit buy of 0.01 BTC at 65000."""
    values: dict[str, Any] = {"client_id": an_id(), "venue": "okx", "symbol": BTC.symbol}
    return limit_buy(**(values | changes))
