"""A whole node in virtual time on exchanges of our own, with faults, crashes and restarts.

The exchanges outlive the node: `crash` ends a process as a power cut would, `boot` starts the next
one from the journal. Requests that were on their way still arrive; answers to the dead are lost.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any

import msgspec

from perpbot.app.core import Core
from perpbot.app.folds import Folds
from perpbot.app.markets import Markets
from perpbot.configuration import Settings, load_configuration
from perpbot.domain.capabilities import Capabilities, Lookup
from perpbot.domain.errors import PerpbotError
from perpbot.domain.events import (
    ClosePair,
    Event,
    OpportunityFound,
    OrderIntent,
    PairStateChanged,
)
from perpbot.domain.orders import OrderRequest
from perpbot.domain.quotes import EdgeBreakdown, Opportunity
from perpbot.domain.sides import OrderType, PairState, Purpose, Side, TimeInForce
from perpbot.execution.pair import Pair
from perpbot.execution.surroundings import Account
from perpbot.guardian.epoch import Epoch
from perpbot.kernel.bus import BusHalted, EventBus
from perpbot.kernel.clock import MS, SECOND, VirtualTime, VirtualTimer
from perpbot.kernel.journal.memory import MemoryJournal
from perpbot.portfolio.currency import CurrencyRates
from perpbot.settings import Flag
from perpbot.simulation.accountant import Accountant
from perpbot.simulation.exchange import Exchange
from perpbot.simulation.fates import ARRIVES, Fate, Message
from perpbot.simulation.model import ClientIdRule, Contract, Profile, Ticket
from perpbot.simulation.translation import instrument_of
from perpbot.simulation.venue import SimulatedVenue

START_NS = 1_700_000_000 * SECOND
ASSET = "BTC-PERP"
SYMBOL = "BTCUSDT"
LONG, SHORT, THIRD = "okx", "binance", "hyperliquid"
LATENCY_NS = 20 * MS
LOST = Fate(drop=True)
EDGE = EdgeBreakdown(
    gross_bps=100.0,
    expected_exit_bps=0.0,
    entry_fees_bps=10.0,
    exit_fees_bps=10.0,
    slippage_bps=0.0,
    funding_bps=0.0,
    edge_bps=80.0,
)
CONTRACT = Contract(
    symbol=SYMBOL,
    asset=ASSET,
    base="BTC",
    settle="USDT",
    tick_size=Decimal("0.1"),
    quantity_step=Decimal("0.001"),
    min_quantity=Decimal("0.01"),
    min_notional=Decimal(1),
)


def d(text: str | int) -> Decimal:
    """Write a Decimal shortly."""
    return Decimal(text)


@lru_cache
def settings_of(flags: tuple[tuple[str, Any], ...] = ()) -> Settings:
    """The settings of a replay whose pairs leave only when they are told to."""
    calm = {
        "mode": "replay",
        "arbitrage.take_profit_bps": 1_000.0,
        "arbitrage.stop_loss_bps": 5_000.0,
        "arbitrage.exit_convergence_bps": -500.0,
        "arbitrage.exit_on_funding_turn": False,
        "arbitrage.min_edge_bps": 500.0,
        "arbitrage.max_concurrent_pairs": 3,
        "arbitrage.max_pairs_per_venue": 3,
        "capital.snapshot_interval_s": 1.0,
        "risk.symbol_cooldown_s": 0.0,
        "risk.max_consecutive_failures": 100,
        "risk.fast_market_move_bps": 2_000.0,
    }
    calm.update(dict(flags))
    return load_configuration(
        environ={}, flags=tuple(Flag(key, "test", value) for key, value in calm.items())
    ).settings


class Faults:
    """Fates by message, venue and purpose; the first rule that fits decides, while it may."""

    def __init__(self, lookup: Callable[[str], OrderRequest | None]) -> None:
        self.lookup = lookup
        self.rules: list[dict[str, Any]] = []
        self.down: set[str] = set()
        self.used = 0
        """How many messages a rule has decided."""

    def add(
        self,
        way: str,
        message: Message | None = None,
        *,
        fate: Fate = LOST,
        venue: str = "",
        purpose: Purpose | None = None,
        times: int = 1_000_000,
    ) -> None:
        """`way` is request, response or stream."""
        self.rules.append(
            {
                "way": way,
                "message": message,
                "fate": fate,
                "venue": venue,
                "purpose": purpose,
                "times": times,
            }
        )

    def heal(self) -> None:
        """No faults any more."""
        self.rules.clear()
        self.down.clear()

    def request(self, message: Message, subject: str) -> Fate:
        return self._decide("request", message, subject)

    def response(self, message: Message, subject: str) -> Fate:
        return self._decide("response", message, subject)

    def stream(self, subject: str) -> Fate:
        return self._decide("stream", None, subject)

    def _decide(self, way: str, message: Message | None, subject: str) -> Fate:
        order = self.lookup(subject)
        venue = subject if order is None else order.venue
        if venue in self.down:
            return LOST
        for rule in self.rules:
            fits = (
                rule["way"] == way
                and rule["message"] in {None, message}
                and rule["venue"] in {"", venue}
                and (rule["purpose"] is None or (order and order.purpose is rule["purpose"]))
            )
            if fits and rule["times"] > 0:
                rule["times"] -= 1
                self.used += 1
                fate: Fate = rule["fate"]
                return fate
        return ARRIVES


class PowerCut(PerpbotError):
    """The process is gone."""


class FragileJournal(MemoryJournal):
    """Dies when record number `dies_at` is appended: before it is kept, or just after."""

    def __init__(self) -> None:
        super().__init__()
        self.dies_at = 0
        self.keeps_last = False
        self.dead = False

    def append(self, event: Event) -> int:
        if self.dead:
            raise PowerCut("dead")
        if self.dies_at and self.last_sequence + 1 >= self.dies_at:
            if self.keeps_last:
                super().append(event)
            self.dead = True
            raise PowerCut("dead")
        return super().append(event)

    def lose_after(self, kept: int) -> int:
        """Lose every record after `kept`; return how many that were."""
        lost = self.last_sequence - kept
        del self._records[kept:]
        self.last_sequence = kept
        self.dead, self.dies_at = False, 0
        return lost


class MortalTimers:
    """Timers of one process."""

    def __init__(self, time: VirtualTime) -> None:
        self.time = time
        self.alive = True

    def call_later(self, delay_ns: int, callback: Callable[[], None]) -> VirtualTimer:
        return self.time.call_later(delay_ns, lambda: callback() if self.alive else None)


class MortalBus:
    """The bus as venues know it: what they tell a dead process is lost."""

    def __init__(self, bus: EventBus, timers: MortalTimers) -> None:
        self._bus = bus
        self._timers = timers
        self.subscribe = bus.subscribe

    def publish(self, event: Event) -> None:
        if self._timers.alive:
            self._bus.publish(event)


class Stand:
    """See the module. Prices: LONG is cheap at 100, SHORT dear at 101, both five coins deep."""

    def __init__(
        self,
        flags: Mapping[str, Any] | None = None,
        *,
        venues: tuple[str, ...] = (LONG, SHORT),
        contracts: Mapping[str, Contract] | None = None,
        capabilities: Mapping[str, Any] | None = None,
        seed: int = 1,
    ) -> None:
        self.settings = settings_of(tuple((flags or {}).items()))
        self.time = VirtualTime(START_NS)
        self.accountant = Accountant()
        self.journal = FragileJournal()
        self.faults = Faults(self._request)
        self.requests: dict[str, OrderRequest] = {}
        self.names = venues
        self.seed = seed
        listed = {name: (contracts or {}).get(name, CONTRACT) for name in venues}
        self.exchanges = {
            name: Exchange(
                Profile(
                    name=name,
                    maker_fee=d("0.0002"),
                    taker_fee=d("0.0005"),
                    client_ids=ClientIdRule.FOREVER,
                ),
                [contract],
                self.time.now_ns,
                self.accountant,
            )
            for name, contract in listed.items()
        }
        for exchange in self.exchanges.values():
            exchange.open_account("main", {"USDT": d(10_000)})
        abilities = {
            "lookup": Lookup.FULL,
            "request_expiry": True,
            "reduce_only": True,
            "market_orders": True,
            "post_only": True,
            "ioc": True,
            **(capabilities or {}),
        }
        self.markets = Markets(
            instruments={
                (name, ASSET): instrument_of(name, contract) for name, contract in listed.items()
            },
            capabilities={
                name: Capabilities(
                    venue=name,
                    operator=name,
                    maker_fee_bps=d(2),
                    taker_fee_bps=d(5),
                    fees_as_of="2026-01-01",
                    **abilities,
                )
                for name in venues
            },
            accounts={name: Account("main") for name in venues},
            rates=CurrencyRates(assumed=d(1)),
        )
        self.tolerance = max(contract.quantity_step for contract in listed.values())
        self.least = max(contract.min_quantity for contract in listed.values())
        """What lies below it cannot be closed by itself."""
        self.prices = {name: 100.0 + index for index, name in enumerate(venues)}
        self.depth = dict.fromkeys(venues, (5.0, 5.0))
        self.quoting = set(venues)
        self.takeover: Epoch | None = None
        """When a guardian last took over, as the next process finds it."""
        self.may_lack = False
        """Whether the machine went down under the last process."""
        self.boot()

    def _request(self, client_id: str) -> OrderRequest | None:
        return self.requests.get(client_id) or self.core.folds.orders.request(client_id)

    # --- a process ---

    def boot(self) -> None:
        """Start a process from the journal."""
        self.journal.dead = False
        self.journal.dies_at = 0
        folds = Folds()
        folds.state().replay(self.journal.records())
        self.recovered = folds.state().digest()
        self.timers = MortalTimers(self.time)
        self.core = Core(
            self.settings,
            self.markets,
            folds,
            clock=self.time,
            timers=self.timers,
            rng=random.Random(self.seed),
            journal=self.journal,
            takeover=self.takeover,
            may_lack=self.may_lack,
        )
        self.events: list[Event] = []
        self.core.bus.subscribe(Event, self.events.append, core=False)
        bus: Any = MortalBus(self.core.bus, self.timers)
        self.venues = {
            name: SimulatedVenue(
                exchange,
                account_name="main",
                capabilities=self.markets.capabilities[name],
                bus=bus,
                clock=self.time,
                timers=self.time,
                lookup=folds.orders.request,
                latency_ns=LATENCY_NS,
                faults=self.faults,
            )
            for name, exchange in self.exchanges.items()
        }
        self._slots = {
            name: self.core.quotes.slot(self.markets.instruments[(name, ASSET)])
            for name in self.names
        }
        self._timer: VirtualTimer | None = None
        self.guard(self._begin)

    def _begin(self) -> None:
        for venue in self.venues.values():
            venue.tell_listings()
            venue.start()
        self.core.start(mode="replay", version="test")

    def crash(self) -> None:
        """End the process without a word."""
        self.timers.alive = False
        for order in self.core.folds.orders.unsettled():
            self.requests[order.request.client_id] = order.request

    def guard(self, work: Callable[[], object]) -> bool:
        """Do something that may meet the end of the process; tell whether it lives."""
        try:
            work()
        except BusHalted:
            if not self.journal.dead:
                raise
            self.crash()
        return self.timers.alive

    # --- the market ---

    def quote(self) -> None:
        """Let every venue that quotes do so."""
        now_ns = self.time.now_ns()
        for name in self.names:
            if name not in self.quoting or not self.timers.alive:
                continue
            price, (bids, asks) = self.prices[name], self.depth[name]
            numbers = (round(price - 0.1, 1), bids, round(price + 0.1, 1), asks)
            self.venues[name].feed_quote(ASSET, *numbers)
            self._slots[name].update(*numbers, now_ns, now_ns)

    def run(self, ms: float, *, every_ms: float = 100.0) -> None:
        """Let time pass, with quotes; `check` holds after each piece. Ends with the process."""
        until_ns = self.time.now_ns() + int(ms * MS)
        while self.time.now_ns() < until_ns and self.timers.alive:
            next_ns = min(self.time.now_ns() + int(every_ms * MS), until_ns)
            if self.guard(self.quote) and self.guard(partial(self.time.run_until, next_ns)):
                self.check()

    def settle(self, seconds: float = 60.0) -> None:
        """Let time pass until nothing is under way."""
        until_ns = self.time.now_ns() + int(seconds * SECOND)
        while self.time.now_ns() < until_ns and not self.quiet:
            self.run(500, every_ms=250.0)
        self.run(8_000, every_ms=500.0)

    @property
    def quiet(self) -> bool:
        """Whether every pair is hedged or gone and no order is at work."""
        at_work = next(self.core.folds.orders.unsettled(), None) is not None
        return not at_work and all(
            pair.state is PairState.HEDGED and not pair.close_reason for pair in self.pairs
        )

    # --- what tests do ---

    @property
    def pairs(self) -> list[Pair]:
        """The pairs that are not flat."""
        return list(self.core.folds.pairs)

    def open(self, size: float = 2.0, long: str = LONG, short: str = SHORT) -> None:
        """Find an opportunity at the present prices."""
        now_ns = self.time.now_ns()
        opportunity = Opportunity(
            opportunity_id=f"o{now_ns}",
            asset=ASSET,
            long_venue=long,
            short_venue=short,
            long_ask=round(self.prices[long] + 0.1, 1),
            short_bid=round(self.prices[short] - 0.1, 1),
            size=size,
            mid=(self.prices[long] + self.prices[short]) / 2,
            edge=EDGE,
            score=1.0,
            long_quote_ns=now_ns,
            short_quote_ns=now_ns,
        )
        event = OpportunityFound(ts_ns=now_ns, opportunity=opportunity)
        self.guard(partial(self.core.bus.publish, event))

    def close(self, reason: str = "test") -> None:
        """Ask every pair to leave."""
        for pair in self.pairs:
            event = ClosePair(ts_ns=self.time.now_ns(), pair_id=pair.plan.pair_id, reason=reason)
            self.guard(partial(self.core.bus.publish, event))

    def by_hand(self, venue: str, side: Side, quantity: str) -> None:
        """Somebody else trades in our account."""
        self.guard(self.quote)
        self.venues[venue]._depth.lay(SYMBOL)
        self.exchanges[venue].submit(
            "main",
            Ticket(
                symbol=SYMBOL,
                side=side,
                order_type=OrderType.MARKET,
                quantity=d(quantity),
                time_in_force=TimeInForce.IOC,
            ),
        )

    def told(self, kind: type[Any]) -> list[Any]:
        """Return what this process has said of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def states(self) -> list[str]:
        """Return the states that pairs went through, in this process."""
        return [str(event.after) for event in self.told(PairStateChanged)]

    def orders(self, purpose: Purpose) -> list[OrderRequest]:
        """Return the orders that this process sent for a purpose."""
        return [
            order
            for event in self.told(OrderIntent)
            for order in event.orders
            if order.purpose is purpose
        ]

    def held(self, venue: str) -> Decimal:
        """Return what the exchange says we hold."""
        return sum((view.quantity for view in self.exchanges[venue].positions("main")), Decimal(0))

    # --- what must hold ---

    def check(self) -> None:
        """No pair is without a next action; nothing was sent twice; no order beyond its size."""
        assert self.core.bus.halted is None
        folds = self.core.folds
        for pair in self.pairs:
            at_work = any(folds.orders.of_owner(pair.plan.pair_id))
            waits = self.core.trader.next_look_ns(pair.plan.pair_id) is not None
            rests = pair.state is PairState.HEDGED and not pair.close_reason
            assert at_work or waits or (rests and abs(pair.imbalance) < self.tolerance), (
                f"{pair.plan.pair_id} is {pair.state} {pair.imbalance} and nothing is arranged"
            )
        assert folds.orders.overfills == 0

    def check_settled(self) -> None:
        """Our books, the exchanges and the accountant agree; what is flat holds no capital."""
        self.check()
        folds = self.core.folds
        assert not list(folds.orders.unsettled()), "an order is still at work"
        for name, exchange in self.exchanges.items():
            ours = folds.positions.quantity(name, "main", ASSET)
            assert ours == self.held(name) == self.accountant.position(name, "main", ASSET)
            assert not exchange.open_orders("main")
            for view in exchange.order_history("main"):
                known = folds.orders.get(view.ticket.client_id)
                if view.ticket.client_id:
                    assert known is not None, "an order that we never intended"
                    assert known.filled == view.filled <= known.request.quantity
        for pair in self.pairs:
            assert pair.state is PairState.HEDGED
            assert abs(pair.imbalance) < self.tolerance
        if not self.pairs:
            assert self.core.capital.reserved_total() == 0
            assert all(abs(self.held(name)) < self.least for name in self.names)
            assert not [key for key in folds.leases.snapshot() if key]  # type: ignore[attr-defined]


def contract(**changes: Any) -> Contract:
    """The usual contract with some terms changed."""
    return msgspec.structs.replace(CONTRACT, **changes)
