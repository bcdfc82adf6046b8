"""The world around the node: exchanges behind their real servers, one market, one network."""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec

from perpbot.kernel.clock import MS, SECOND, Clock
from perpbot.research.chaos.counters import Counters
from perpbot.research.chaos.market import ChaosMarket
from perpbot.research.chaos.money import Purse, move_money
from perpbot.research.chaos.plan import Fault, Plan
from perpbot.research.chaos.wires.meddler import PlannedMeddler
from perpbot.research.chaos.wires.weather import DOMAIN
from perpbot.research.chaos.witness import Witness
from perpbot.simulation.accountant import Accountant
from perpbot.simulation.driver import MarketDriver
from perpbot.simulation.exchange import Exchange
from perpbot.simulation.market import MarketMark, MarketQuote, MarketUpdate
from perpbot.simulation.model import BookChange, ExchangeNews, OrderUpdate
from perpbot.simulation.virtual.loop import VirtualLoop
from perpbot.simulation.virtual.network import Network
from perpbot.simulation.wire.hyperliquid.server import Server as HyperliquidServer
from perpbot.simulation.wire.registry import server_class
from perpbot.simulation.wire.server import Serving, VenueServer, start

PORT = 443
QUOTE_NS = 250 * MS
MARK_EVERY = 4
PUMP_INTERVAL_S = 0.1
TOPS_KEPT_NS = 90 * SECOND
"""Bytes that drip may come this late."""


def canonical(client_id: str) -> str:
    """Return our id in whatever form a venue has it: 32 hex digits behind a prefix."""
    return client_id[-32:]


class Market:
    """The small market of tier A as the updates that a driver takes."""

    def __init__(self, market: ChaosMarket, depth: float) -> None:
        self._market = market
        self._steps = 0
        self._depth = depth

    def step(self, now_ns: int) -> Sequence[MarketUpdate]:
        """Move every market once."""
        self._steps += 1
        updates: list[MarketUpdate] = []
        for tick in self._market.step(now_ns):
            away = (tick.ask - tick.bid) / 2
            size = tick.size * self._depth
            updates.append(
                MarketQuote(
                    ts_ns=now_ns,
                    venue=tick.venue,
                    asset=tick.asset,
                    bids=((tick.bid, size), (tick.bid - away, 2 * size)),
                    asks=((tick.ask, size), (tick.ask + away, 2 * size)),
                )
            )
            if self._steps % MARK_EVERY == 1:
                mid = (tick.bid + tick.ask) / 2
                updates.append(
                    MarketMark(
                        ts_ns=now_ns,
                        venue=tick.venue,
                        asset=tick.asset,
                        mark=mid,
                        index=mid,
                        funding_per_8h=0.0001,
                    )
                )
        return updates


class Tops:
    """Best bid and ask of every market over the last seconds: what a quote may have been."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._tops: dict[tuple[str, str], deque[tuple[int, float, float]]] = {}

    def note(self, venue: str, asset: str, bid: Decimal, ask: Decimal) -> None:
        """The touch is this from now on; 0 is a side without orders."""
        tops = self._tops.setdefault((venue, asset), deque())
        now_ns = self._now_ns()
        tops.append((now_ns, float(bid), float(ask)))
        while tops[0][0] < now_ns - TOPS_KEPT_NS:
            tops.popleft()

    def age_ns(self, venue: str, asset: str, bid: float, ask: float) -> int | None:
        """Return since when this is no longer the touch; None when it never was."""
        tops = self._tops.get((venue, asset), deque())
        until_ns = now_ns = self._now_ns()
        for since_ns, known_bid, known_ask in reversed(tops):
            if math.isclose(known_bid, bid) and math.isclose(known_ask, ask):
                return now_ns - until_ns
            until_ns = since_ns
        return None


class Ground:
    """See the module. `open` starts the servers; `run` moves the market."""

    def __init__(
        self,
        plan: Plan,
        loop: VirtualLoop,
        clock: Clock,
        network: Network,
        witness: Witness,
        counters: Counters,
    ) -> None:
        self.plan = plan
        self._loop = loop
        self._clock = clock
        self._network = network
        self._witness = witness
        self._counters = counters
        self.accountant = Accountant()
        self.market = ChaosMarket(plan.seed, tuple(plan.venues), plan.assets)
        self.tops = Tops(clock.now_ns)
        self.skew_ns = dict.fromkeys(plan.venues, 0)
        self.exchanges: dict[str, Exchange] = {}
        self.servers: dict[str, VenueServer] = {}
        self.meddlers: dict[str, PlannedMeddler] = {}
        self.served: list[Serving] = []
        for venue, planned in plan.venues.items():
            exchange = Exchange(
                planned.profile, plan.contracts[venue], self._clock_of(venue), self.accountant
            )
            self.exchanges[venue] = exchange
            self._build_server(venue, exchange)
        # Half of the worlds are so thin that orders fill in parts.
        depth = random.Random(f"wires depth {plan.seed}").choice((1.0, 0.06))
        self._driver = MarketDriver(Market(self.market, depth), self.exchanges)

    def _clock_of(self, venue: str) -> Callable[[], int]:
        return lambda: self._clock.now_ns() + self.skew_ns[venue]

    def _build_server(self, venue: str, exchange: Exchange) -> None:
        kind = server_class(venue)
        rng = random.Random(f"wires server {self.plan.seed} {venue}")
        exchange.open_account(kind.account, {self.settle(venue): self.plan.balance})
        server = kind(exchange, self._clock_of(venue), rng)
        spend = server.gate.spend_nonce if isinstance(server, HyperliquidServer) else None
        meddler = PlannedMeddler(
            self.plan, venue, self._clock.now_ns, self._counters, self._witness.violate, spend
        )
        server.meddler = meddler
        self.servers[venue], self.meddlers[venue] = server, meddler
        assets = {contract.symbol: contract.asset for contract in exchange.contracts()}

        def heard(news: ExchangeNews) -> None:
            if isinstance(news, OrderUpdate) and news.execution is not None:
                execution = msgspec.structs.replace(
                    news.execution, client_id=canonical(news.execution.client_id)
                )
                self._witness.executed(execution, venue, assets[news.order.ticket.symbol])
            elif isinstance(news, BookChange):
                book = exchange.book(news.symbol, 1)
                bid = book.bids[0][0] if book.bids else Decimal(0)
                ask = book.asks[0][0] if book.asks else Decimal(0)
                self.tops.note(venue, assets[news.symbol], bid, ask)

        exchange.listen(heard)

    def settle(self, venue: str) -> str:
        """Return the currency in which a venue settles."""
        return self.plan.venues[venue].profile.settle

    @property
    def purses(self) -> list[Purse]:
        """The node's account at every venue."""
        return [self._purse(venue) for venue in self.exchanges]

    def _purse(self, venue: str) -> Purse:
        account = self.servers[venue].account
        return Purse(venue, self.exchanges[venue], account, self.settle(venue))

    def move_money(self, fault: Fault) -> Decimal:
        """Move money into the account of a venue, or out of it; return what came (or went)."""
        return move_money(fault, self._purse(fault.venue), self.plan.balance)

    async def open(self) -> None:
        """Start every server on a host of its own."""
        self._driver.step(self._clock.now_ns())
        for number, (venue, server) in enumerate(self.servers.items(), 1):
            address = f"10.0.0.{number}"
            self._network.names[venue + DOMAIN] = address
            host = self._loop.new_host(venue)
            self.served.append(
                await host.run(
                    start(server, host=address, port=PORT, pump_interval_s=PUMP_INTERVAL_S)
                )
            )

    async def run(self) -> None:
        """Move the market until cancelled."""
        while True:
            await asyncio.sleep(QUOTE_NS / SECOND)
            self._driver.step(self._clock.now_ns())

    async def close(self) -> None:
        """Stop the servers."""
        for one in self.served:
            await one.stop()
