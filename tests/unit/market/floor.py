"""A trading floor in virtual time for tests: venues, a quote engine, quotes in one line."""

from __future__ import annotations

from decimal import Decimal

from perpbot.domain.capabilities import Capabilities
from perpbot.domain.events import Event, QuoteUpdated
from perpbot.domain.instruments import Instrument
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import MS, SECOND, VirtualTime
from perpbot.market.engine import QuoteEngine
from perpbot.market.settings import MarketSettings
from perpbot.market.slot import Slot

START_NS = 1_700_000_000 * SECOND
BTC = "BTC-PERP"
VENUES = ("okx", "binance", "hyperliquid")


def instrument(venue: str, asset: str = BTC, settle: str = "USDT") -> Instrument:
    """A market with small steps."""
    base = asset.removesuffix("-PERP")
    return Instrument(
        venue=venue,
        asset=asset,
        symbol=base,
        base=base,
        settle=settle,
        tick_size=Decimal("0.1"),
        quantity_step=Decimal("0.001"),
        min_quantity=Decimal("0.001"),
    )


def capabilities(venue: str, taker_bps: str = "5", operator: str = "") -> Capabilities:
    """A venue whose quotes go stale after 5 s and are late beyond 1 s."""
    return Capabilities(
        venue=venue,
        operator=operator or venue,
        maker_fee_bps=Decimal(2),
        taker_fee_bps=Decimal(taker_bps),
        fees_as_of="2026-01-01",
        quote_interval_s=5.0,
        lag_floor_ms=1_000.0,
    )


def one_dollar(currency: str) -> Decimal | None:
    """Every stablecoin is worth a dollar; nothing else has a rate."""
    return Decimal(1) if currency in {"USD", "USDT", "USDC"} else None


class Floor:
    """Everything that a quote meets up to the engine; `events` is what came out of the bus."""

    def __init__(self, settings: MarketSettings | None = None, *, wall_ahead_ns: int = 0) -> None:
        """`wall_ahead_ns`: by how much the clocks of venues are ahead of the receive clock."""
        self.time = VirtualTime(START_NS)
        self.ahead_ns = wall_ahead_ns
        self.bus = EventBus(self.time)
        self.settings = settings or MarketSettings()
        self.capabilities = {venue: capabilities(venue) for venue in VENUES}
        self.engine = QuoteEngine(
            self.bus, self.time, self.settings, self.capabilities, one_dollar
        )
        self.quotes: list[QuoteUpdated] = []
        self.events: list[Event] = []
        self.bus.subscribe(QuoteUpdated, self.quotes.append)
        self.bus.subscribe(Event, self.events.append)

    def slot(self, venue: str = "okx", asset: str = BTC) -> Slot:
        """Return the slot of a market."""
        return self.engine.slot(instrument(venue, asset))

    def quote(
        self,
        bid: float,
        ask: float,
        venue: str = "okx",
        *,
        size: float = 1.0,
        asset: str = BTC,
        transit_ms: float = 5.0,
    ) -> bool:
        """Send a quote that arrives now; tell whether it was accepted."""
        slot = self.slot(venue, asset)
        before = slot.accepted
        now_ns = self.time.monotonic_ns()
        venue_ns = now_ns + self.ahead_ns - int(transit_ms * MS)
        slot.update(bid, size, ask, size, venue_ns, now_ns)
        return slot.accepted > before

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.time.run_until(self.time.now_ns() + int(seconds * SECOND))

    def refused(self, venue: str = "okx") -> dict[str, int]:
        """Return the refusals of a venue by reason."""
        return self.engine.statistics().refused[venue]
