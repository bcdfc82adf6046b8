"""From the decision to signed bytes, against the bare format and signature of the same order.

Ours makes the id, puts price and quantity on the venue's grid, checks its limits, takes the rate
budget's leave, hands the order to the journal on disk, formats and signs. The contender formats
constant fields around the same numbers and signs with the library alone.
"""

from __future__ import annotations

import hashlib
import hmac
import random
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import msgspec
from coincurve import PrivateKey
from Crypto.Hash import keccak

from perpbot.domain.events import GateDecision, SubmitOrders
from perpbot.domain.instruments import Instrument
from perpbot.domain.orders import OrderRequest
from perpbot.domain.pairs import PairPlan
from perpbot.domain.quotes import EdgeBreakdown, Opportunity
from perpbot.domain.sides import OrderType, Purpose, Side, TimeInForce
from perpbot.execution.order_maker import OrderMaker
from perpbot.execution.policies import OrderStyle
from perpbot.execution.surroundings import Account, Surroundings
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import RealClock
from perpbot.kernel.ids import IdMaker
from perpbot.kernel.journal import Journal
from perpbot.market.engine import QuoteEngine
from perpbot.portfolio.currency import CurrencyRates
from perpbot.venues.binance import venue as binance
from perpbot.venues.binance.rest import ORDERS_1M, ORDERS_10S
from perpbot.venues.binance.signing import BinanceCredentials
from perpbot.venues.hyperliquid import venue as hyperliquid
from perpbot.venues.hyperliquid.credentials import HyperliquidCredentials
from perpbot.venues.hyperliquid.limits import MESSAGES, WEIGHT
from perpbot.venues.hyperliquid.universe import Meta, Universe, UniverseEntry
from perpbot.venues.options import VenueConnection
from perpbot.venues.wire.limits import Lane, RateBudget, Window
from tests.benchmarks import stage
from tests.benchmarks.measure import Effort, Row, at_most, interleave, per_call_us

LIMIT = 3.0
_ASSET = "BTC-PERP"
_PRICE, _QUANTITY = Decimal("60000.0"), Decimal("0.003")
_STYLE = OrderStyle(OrderType.LIMIT, TimeInForce.IOC, Decimal(1))
_DECISION = GateDecision(gate="reduce", checks={"enforced_by": "the venue"}, ts_ns=1)
_KEY = "11" * 32
_SECRET = "not a secret"
_ORDERS = 2_000

Rehearse = Callable[[OrderRequest], bytes]


def run(effort: Effort) -> list[Row]:
    """Measure both signatures: HMAC and EIP-712."""
    return [
        _row("binance", effort, _binance_instrument(), _binance(), _bare_binance()),
        _row("hyperliquid", effort, _universe()[0], _hyperliquid(), _bare_hyperliquid()),
    ]


def _row(
    venue: str,
    effort: Effort,
    instrument: Instrument,
    rehearse: Rehearse,
    bare: Callable[[], bytes],
) -> Row:
    calls = effort.times(_ORDERS, 20)
    clock = RealClock()
    names = _BUDGETS[venue]
    costs = dict.fromkeys(names, 1)
    budget = RateBudget([Window(name, 10_000_000, 10.0) for name in names], clock=clock)
    with tempfile.TemporaryDirectory(prefix="perpbot-bench-") as directory:
        journal = Journal(Path(directory))
        bus = EventBus(clock, journal)
        maker, plan = _maker(instrument, bus), _plan(venue)

        def ours() -> None:
            for _ in range(calls):
                order = maker.order(
                    plan,
                    leg=0,
                    side=Side.BUY,
                    quantity=_QUANTITY,
                    purpose=Purpose.OPEN,
                    style=_STYLE,
                    reference=_PRICE,
                )
                bus.publish(
                    SubmitOrders(ts_ns=clock.now_ns(), orders=(order,), decision=_DECISION)
                )
                if not budget.try_acquire(Lane.OPEN, costs):
                    raise RuntimeError("the budget of this benchmark is too small")
                rehearse(order)

        def plain() -> None:
            for _ in range(calls):
                bare()

        found = interleave(
            {"ours": per_call_us(ours, calls), "bare": per_call_us(plain, calls)}, effort
        )
        journal.close()
    return at_most(f"order_bytes_{venue}", found["ours"], found["bare"], LIMIT, "us/order")


_BUDGETS = {"binance": (ORDERS_10S, ORDERS_1M), "hyperliquid": (WEIGHT, MESSAGES)}


def _maker(instrument: Instrument, bus: EventBus) -> OrderMaker:
    clock = RealClock()
    venue = instrument.venue
    capabilities = {venue: stage.capabilities(venue)}
    rates = CurrencyRates(assumed=stage.ONE)
    engine = QuoteEngine(bus, clock, stage.settings([_ASSET]).market, capabilities, rates.usd)
    around = Surroundings(
        {(venue, _ASSET): instrument}, capabilities, {venue: Account(stage.ACCOUNT)}, engine
    )
    return OrderMaker(clock, IdMaker(epoch=1), around, expiry_ms=5_000)


def _plan(venue: str) -> PairPlan:
    return PairPlan(
        pair_id="1-1",
        strategy="arbitrage",
        asset=_ASSET,
        long_venue=venue,
        short_venue="okx",
        account_long=stage.ACCOUNT,
        account_short=stage.ACCOUNT,
        quantity=_QUANTITY,
        long_price=_PRICE,
        short_price=_PRICE,
        notional_usd=_PRICE * _QUANTITY,
        reservation_id="r1-1",
        opportunity=Opportunity(
            opportunity_id="1",
            asset=_ASSET,
            long_venue=venue,
            short_venue="okx",
            long_ask=60_000.0,
            short_bid=60_060.0,
            size=1.0,
            mid=60_030.0,
            edge=msgspec.convert(
                dict.fromkeys(EdgeBreakdown.__struct_fields__, 0.0), EdgeBreakdown
            ),
            score=1.0,
            long_quote_ns=0,
            short_quote_ns=0,
        ),
        exit_level_bps=_PRICE,
        take_profit_bps=_PRICE,
        stop_bps=_PRICE,
        max_hold_s=60,
        loss_budget_usd=_PRICE,
    )


# --- Binance: HMAC over a query ---


def _binance_instrument() -> Instrument:
    return Instrument(
        venue="binance",
        asset=_ASSET,
        symbol="BTCUSDT",
        base="BTC",
        settle="USDT",
        tick_size=Decimal("0.1"),
        quantity_step=Decimal("0.001"),
        min_quantity=Decimal("0.001"),
        min_notional=Decimal(5),
    )


def _binance() -> Rehearse:
    venue = binance.create(
        settings=VenueConnection(rest_url="http://127.0.0.1:1", ws_url="ws://127.0.0.1:1"),
        credentials=BinanceCredentials("key", _SECRET),
        clock=RealClock(),
        rng=random.Random(1),
    )
    return venue.trading.rehearse


def _bare_binance() -> Callable[[], bytes]:
    key = _SECRET.encode()
    numbers = iter(range(10**12))

    def bare() -> bytes:
        query = (
            f"symbol=BTCUSDT&side=BUY&quantity={_QUANTITY:f}"
            f"&newClientOrderId=x-{next(numbers):032x}&newOrderRespType=RESULT&type=LIMIT"
            f"&timeInForce=IOC&price={_PRICE:f}&recvWindow=5000"
            f"&timestamp={time.time_ns() // 1_000_000}"
        ).encode()
        signature = hmac.new(key, query, hashlib.sha256).hexdigest()
        return query + b"&signature=" + signature.encode()

    return bare


# --- Hyperliquid: EIP-712 over a hash of msgpack ---


def _universe() -> list[Instrument]:
    venue = Universe()
    return list(venue.replace(Meta((UniverseEntry("BTC", 5, 40),))))


def _hyperliquid() -> Rehearse:
    venue = hyperliquid.create(
        settings=VenueConnection(rest_url="http://127.0.0.1:1", ws_url="ws://127.0.0.1:1"),
        credentials=HyperliquidCredentials(private_key=_KEY),
        clock=RealClock(),
        rng=random.Random(1),
    )
    venue.trading._universe.replace(Meta((UniverseEntry("BTC", 5, 40),)))
    return venue.trading.rehearse


def _bare_hyperliquid() -> Callable[[], bytes]:
    key = PrivateKey(bytes.fromhex(_KEY))
    prefix, domain = b"p" * 64, b"\x19\x01" + b"d" * 32
    numbers = iter(range(10**12))

    def digest(data: bytes) -> bytes:
        return keccak.new(digest_bits=256, data=data).digest()

    def bare() -> bytes:
        nonce = time.time_ns() // 1_000_000
        action = {
            "type": "order",
            "orders": [
                {
                    "a": 0,
                    "b": True,
                    "p": f"{_PRICE:f}",
                    "s": f"{_QUANTITY:f}",
                    "r": False,
                    "t": {"limit": {"tif": "Ioc"}},
                    "c": f"0x{next(numbers):032x}",
                }
            ],
            "grouping": "na",
        }
        packed = msgspec.msgpack.encode(action) + nonce.to_bytes(8, "big") + b"\x00"
        agent = digest(prefix + digest(packed))
        signed = key.sign_recoverable(digest(domain + agent), hasher=None)
        return (
            b'{"action":%b,"nonce":%d,"signature":{"r":"0x%b","s":"0x%b","v":%d},'
            b'"vaultAddress":null}'
            % (
                msgspec.json.encode(action),
                nonce,
                signed[:32].hex().encode(),
                signed[32:64].hex().encode(),
                signed[64] + 27,
            )
        )

    return bare
