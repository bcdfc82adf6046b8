"""Fakes and values shared by the tests of OKX."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

from perpbot.domain.events import Event
from perpbot.domain.instruments import Instrument
from perpbot.domain.orders import OrderRequest
from perpbot.domain.sides import (
    OrderType,
    PositionSide,
    Purpose,
    Side,
    TimeInForce,
)
from perpbot.kernel.ids import IdMaker
from perpbot.venues.okx.signing import OkxCredentials

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
    values: dict[str, Any] = {
        "client_id": an_id(),
        "venue": "okx",
        "account": "main",
        "asset": "BTC-PERP",
        "symbol": "BTC-USDT-SWAP",
        "side": Side.BUY,
        "order_type": OrderType.LIMIT,
        "time_in_force": TimeInForce.GTC,
        "quantity": Decimal("0.01"),
        "price": Decimal("65000.0"),
        "reference_price": Decimal(65000),
        "purpose": Purpose.OPEN,
        "position_side": PositionSide.NET,
    }
    return OrderRequest(**{**values, **changes})


class FakeSlot:
    """Keeps what it was given."""

    def __init__(self) -> None:
        self.quotes: list[tuple[float, float, float, float, int, int]] = []
        self.invalid: list[str] = []
        self.heard_ns = 0

    def update(
        self,
        bid: float,
        bid_size: float,
        ask: float,
        ask_size: float,
        venue_ns: int,
        recv_ns: int,
    ) -> None:
        self.quotes.append((bid, bid_size, ask, ask_size, venue_ns, recv_ns))
        self.heard_ns = recv_ns

    def invalidate(self, reason: str) -> None:
        self.invalid.append(reason)


class FakeSink:
    """A market sink that keeps everything."""

    def __init__(self) -> None:
        self.slots: dict[str, FakeSlot] = {}
        self.events: list[Event] = []
        self.refused: Counter[str] = Counter()

    def slot(self, instrument: Instrument) -> FakeSlot:
        return self.slots.setdefault(instrument.symbol, FakeSlot())

    def publish(self, event: Event) -> None:
        self.events.append(event)

    def refuse(self, venue: str, reason: str) -> None:
        self.refused[reason] += 1

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if type(event) is kind]
