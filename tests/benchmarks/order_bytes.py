"""From the decision to signed bytes, against the bare format and signature of the same order.

Ours makes the id, puts price and quantity on the venue's grid, checks its limits, takes the rate
budget's leave, hands the order to the journal on disk, formats and signs. The contender is given
numbers that fit and an id; it does no more than write the same parameters and sign them, by plain
calls of the libraries that a careful person takes for it. What both write is compared in
`tests/unit/benchmarks`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

import msgspec
from coincurve import PrivateKey
from Crypto.Hash import keccak

from perpbot.domain.events import GateDecision, Measure, SubmitOrders
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
from perpbot.kernel.journal.writer import Journal
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
_LIMIT_PRICE = Decimal(60_006)
"""The price, moved by the style's basis point."""
_CLIENT_ID = "0123456789abcdef" * 2
_STYLE = OrderStyle(OrderType.LIMIT, TimeInForce.IOC, Decimal(1))
_DECISION = GateDecision(
    gate="reduce",
    checks={"enforced_by": Measure(passed=True, limit="no growth", words="the venue")},
    ts_ns=1,
)
KEY = "11" * 32
API_KEY, SECRET = "key", "not a secret"
_ORDERS = 2_000


class Contest(NamedTuple):
    """One venue: how ours writes an order that was made, and how the contender writes the same."""

    instrument: Instrument
    windows: tuple[str, ...]
    """Rate windows that an order counts in."""
    ours: Callable[[OrderRequest], bytes]
    bare: Callable[[], bytes]


def run(effort: Effort) -> list[Row]:
    """Measure both signatures: HMAC and EIP-712."""
    return [_row(venue, contest, effort) for venue, contest in contests().items()]


def contests() -> dict[str, Contest]:
    """Return what is measured, by venue."""
    return {
        "binance": Contest(
            _binance_instrument(), (ORDERS_10S, ORDERS_1M), _binance(), _bare_binance()
        ),
        "hyperliquid": Contest(
            _universe()[0], (WEIGHT, MESSAGES), _hyperliquid(), _bare_hyperliquid()
        ),
    }


def _row(venue: str, contest: Contest, effort: Effort) -> Row:
    calls = effort.times(_ORDERS, 20)
    clock = RealClock()
    budget = RateBudget([Window(name, 10_000_000, 10.0) for name in contest.windows], clock=clock)
    fare = budget.fare(Lane.OPEN, dict.fromkeys(contest.windows, 1))
    with tempfile.TemporaryDirectory(prefix="perpbot-bench-") as directory:
        journal = Journal(Path(directory))
        bus = EventBus(clock, journal)
        make = order_maker(venue, contest.instrument, bus)

        def ours() -> None:
            for _ in range(calls):
                order = make()
                bus.publish(
                    SubmitOrders(ts_ns=clock.now_ns(), orders=(order,), decision=_DECISION)
                )
                if not budget.try_spend(fare):
                    raise RuntimeError("the budget of this benchmark is too small")
                contest.ours(order)

        def plain() -> None:
            for _ in range(calls):
                contest.bare()

        found = interleave(
            {"ours": per_call_us(ours, calls), "bare": per_call_us(plain, calls)}, effort
        )
        journal.close()
    return at_most(f"order_bytes_{venue}", found["ours"], found["bare"], LIMIT, "us/order")


def order_maker(venue: str, instrument: Instrument, bus: EventBus) -> Callable[[], OrderRequest]:
    """Return what makes the order of this benchmark, with a fresh id each time."""
    maker, plan = _maker(instrument, bus), _plan(venue)

    def make() -> OrderRequest:
        return maker.order(
            plan,
            leg=0,
            side=Side.BUY,
            quantity=_QUANTITY,
            purpose=Purpose.OPEN,
            style=_STYLE,
            reference=_PRICE,
        )

    return make


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


# --- Binance: a frame of the websocket API, HMAC over its parameters ---


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


def _binance() -> Callable[[OrderRequest], bytes]:
    venue = binance.create(
        settings=VenueConnection(rest_url="http://127.0.0.1:1", ws_url="ws://127.0.0.1:1"),
        credentials=BinanceCredentials(API_KEY, SECRET),
        clock=RealClock(),
        rng=random.Random(1),
    )
    trading, rest = venue.trading, venue.rest

    def write(order: OrderRequest) -> bytes:
        """Do what `begin` does between the budget and the socket."""
        window_ms = rest.window_ms(order.expires_ns)
        return trading._place_frame("0", order, trading._writable(), window_ms, rest.server_ms())

    return write


def _bare_binance() -> Callable[[], bytes]:
    """Return the same frame by the standard library: a dict, `urlencode`, `hmac`, `json`.

    The numbers are on the grid already, the client id is given: making both is ours alone.
    """
    key = SECRET.encode()

    def bare() -> bytes:
        params: dict[str, object] = {
            "apiKey": API_KEY,
            "newClientOrderId": "pb" + _CLIENT_ID,
            "newOrderRespType": "RESULT",
            "price": f"{_LIMIT_PRICE:f}",
            "quantity": f"{_QUANTITY:f}",
            "recvWindow": 5_000,
            "selfTradePreventionMode": "EXPIRE_TAKER",
            "side": "BUY",
            "symbol": "BTCUSDT",
            "timeInForce": "IOC",
            "timestamp": time.time_ns() // 1_000_000,
            "type": "LIMIT",
        }  # sorted by name, as they are signed
        params["signature"] = hmac.new(key, urlencode(params).encode(), hashlib.sha256).hexdigest()
        return json.dumps({"id": "0", "method": "order.place", "params": params}).encode()

    return bare


# --- Hyperliquid: EIP-712 over a hash of msgpack ---


def _universe() -> list[Instrument]:
    venue = Universe()
    return list(venue.replace(Meta((UniverseEntry("BTC", 5, 40),))))


def _hyperliquid() -> Callable[[OrderRequest], bytes]:
    venue = hyperliquid.create(
        settings=VenueConnection(rest_url="http://127.0.0.1:1", ws_url="ws://127.0.0.1:1"),
        credentials=HyperliquidCredentials(private_key=KEY),
        clock=RealClock(),
        rng=random.Random(1),
    )
    venue.trading._universe.replace(Meta((UniverseEntry("BTC", 5, 40),)))
    return venue.trading.rehearse


def _bare_hyperliquid() -> Callable[[], bytes]:
    """Return the same request by msgspec, a keccak in C and secp256k1 in C.

    What does not change from order to order is hashed beforehand.
    """
    key = PrivateKey(bytes.fromhex(KEY))

    def digest(data: bytes) -> bytes:
        return keccak.new(digest_bits=256, data=data).digest()

    kind = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    domain = (
        digest(kind),
        digest(b"Exchange"),
        digest(b"1"),
        (1337).to_bytes(32, "big"),
        bytes(32),
    )
    head = b"\x19\x01" + digest(b"".join(domain))
    agent = digest(b"Agent(string source,bytes32 connectionId)") + digest(b"a")

    def bare() -> bytes:
        nonce = time.time_ns() // 1_000_000
        expires = nonce + 5_000
        action = {
            "type": "order",
            "orders": [
                {
                    "a": 0,
                    "b": True,
                    "p": f"{_LIMIT_PRICE:f}",
                    "s": f"{_QUANTITY:f}",
                    "r": False,
                    "t": {"limit": {"tif": "Ioc"}},
                    "c": "0x" + _CLIENT_ID,
                }
            ],
            "grouping": "na",
        }
        packed = msgspec.msgpack.encode(action) + nonce.to_bytes(8, "big") + b"\0"
        hashed = digest(packed + b"\0" + expires.to_bytes(8, "big"))
        signed = key.sign_recoverable(digest(head + digest(agent + hashed)), hasher=None)
        return msgspec.json.encode(
            {
                "action": action,
                "nonce": nonce,
                "signature": {
                    "r": "0x" + signed[:32].hex(),
                    "s": "0x" + signed[32:64].hex(),
                    "v": signed[64] + 27,
                },
                "vaultAddress": None,
                "expiresAfter": expires,
            }
        )

    return bare
