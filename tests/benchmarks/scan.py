"""The scan for one quote at 10 venues and 20 assets, against all pairs of its asset.

Ours begins with the publication on the bus. The contender compares every venue with every other,
fees taken off, in plain Python.
"""

from __future__ import annotations

import random

from perpbot.domain.events import QuoteUpdated
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import VirtualTime
from perpbot.market.basis import BasisTracker
from perpbot.market.engine import QuoteEngine
from perpbot.portfolio.currency import CurrencyRates
from perpbot.strategies.arbitrage.costs import FeeModel
from perpbot.strategies.arbitrage.scanner import Scanner
from tests.benchmarks import stage
from tests.benchmarks.measure import Effort, Row, at_most, interleave, per_call_us

VENUES = tuple(f"venue{number}" for number in range(10))
ASSETS = 20
LIMIT = 0.1
_FLOOR_BPS = 5.0


def run(effort: Effort) -> list[Row]:
    """Measure a stream of quotes of which few are worth anything."""
    calls = effort.times(50_000, 200)
    quotes = _quotes(calls)
    bus = _scanner()

    def ours() -> None:
        publish = bus.publish
        for quote in quotes:
            publish(quote)

    newest: dict[str, dict[str, tuple[float, float]]] = {}
    slow = quotes[: max(calls // 10, 200)]
    fees_bps = dict.fromkeys(VENUES, 0.0)

    def plain() -> None:
        for quote in slow:
            row = newest.setdefault(quote.asset, {})
            row[quote.venue] = (quote.bid, quote.ask)
            found = []
            for long, (long_bid, long_ask) in row.items():
                for short, (short_bid, short_ask) in row.items():
                    if long != short:
                        mid = (long_bid + long_ask + short_bid + short_ask) / 4
                        costs_bps = 2 * (fees_bps[long] + fees_bps[short])
                        edge_bps = (short_bid - long_ask) / mid * 10_000 - costs_bps
                        if edge_bps >= _FLOOR_BPS:
                            found.append((edge_bps, long, short))
            found.sort()

    found = interleave(
        {"ours": per_call_us(ours, len(quotes)), "plain": per_call_us(plain, len(slow))}, effort
    )
    return [at_most("scan", found["ours"], found["plain"], LIMIT, "us/quote")]


def _scanner() -> EventBus:
    """Return a bus on which a scanner listens, warm and with a first quote of every market."""
    names = stage.assets(ASSETS)
    chosen = stage.settings(names, arbitrage={"min_edge_bps": _FLOOR_BPS})
    capabilities = {venue: stage.capabilities(venue) for venue in VENUES}
    instruments = {
        (venue, asset): stage.instrument(venue, asset) for venue in VENUES for asset in names
    }
    time = VirtualTime(1)
    bus = EventBus(time)
    usd = CurrencyRates(assumed=stage.ONE).usd
    engine = QuoteEngine(bus, time, chosen.market, capabilities, usd)
    basis = BasisTracker(engine, chosen.market)
    Scanner(
        bus,
        time,
        engine,
        basis,
        chosen.arbitrage,
        FeeModel(capabilities),
        instruments,
        {venue: venue for venue in VENUES},
        usd,
    )
    for one in instruments.values():
        engine.slot(one).update(stage.PRICE, 1.0, stage.PRICE + stage.TICK, 1.0, 0, 1)
    for step in range(10):
        basis.sample(1 + step * basis.interval_ns)
    return bus


def _quotes(count: int) -> list[QuoteUpdated]:
    rng = random.Random(11)
    names = stage.assets(ASSETS)
    found = []
    for _ in range(count):
        bid = stage.PRICE + rng.randint(-50, 50) * stage.TICK
        found.append(
            QuoteUpdated(
                venue=rng.choice(VENUES),
                asset=rng.choice(names),
                bid=bid,
                bid_size=1.0,
                ask=bid + stage.TICK,
                ask_size=1.0,
                recv_ns=1,
            )
        )
    return found
