"""Market data: quotes, books, public trades, marks, funding rates."""

from __future__ import annotations

from perpbot.domain.events.declaration import Event, event
from perpbot.domain.events.table import EventKind
from perpbot.domain.sides import Side


@event(EventKind.QUOTE_UPDATED)
class QuoteUpdated(Event, frozen=True, kw_only=True, gc=False):
    """Best bid and ask of one instrument that passed every check; `recv_ns` is monotonic."""

    venue: str = ""
    asset: str = ""
    bid: float = 0.0
    bid_size: float = 0.0
    ask: float = 0.0
    ask_size: float = 0.0
    venue_ns: int = 0
    recv_ns: int = 0

    @property
    def key(self) -> object:
        """The market."""
        return (self.venue, self.asset)


@event(EventKind.BOOK_UPDATED)
class BookUpdated(Event, frozen=True, kw_only=True, gc=False):
    """The top levels of a book in full, best first, as (price, size)."""

    venue: str
    asset: str
    bids: tuple[tuple[float, float], ...]
    asks: tuple[tuple[float, float], ...]
    venue_ns: int = 0

    @property
    def key(self) -> object:
        """The market."""
        return (self.venue, self.asset)


@event(EventKind.BOOK_CHANGED)
class BookChanged(Event, frozen=True, kw_only=True, gc=False):
    """One delta of a book; size 0 removes a level."""

    venue: str
    asset: str
    bids: tuple[tuple[float, float], ...]
    asks: tuple[tuple[float, float], ...]
    sequence: int
    venue_ns: int = 0


@event(EventKind.TRADE_PRINTED)
class TradePrinted(Event, frozen=True, kw_only=True, gc=False):
    """One public trade; side is the taker's."""

    venue: str
    asset: str
    trade_id: str
    price: float
    size: float
    side: Side
    venue_ns: int = 0


@event(EventKind.CANDLE_CLOSED)
class CandleClosed(Event, frozen=True, kw_only=True, gc=False):
    """One closed bar; `open_ns` is its opening time."""

    venue: str
    asset: str
    interval_s: int
    open_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float


@event(EventKind.MARK_UPDATED)
class MarkUpdated(Event, frozen=True, kw_only=True, gc=False):
    """The venue's mark price, and its index price where it tells one (else 0)."""

    venue: str
    asset: str
    mark: float
    index: float = 0.0
    venue_ns: int = 0

    @property
    def key(self) -> object:
        """The market."""
        return (self.venue, self.asset)


@event(EventKind.FUNDING_RATE_UPDATED)
class FundingRateUpdated(Event, frozen=True, kw_only=True, gc=False):
    """The rate of the coming settlement, per `interval_s`; a long pays a positive rate."""

    venue: str
    asset: str
    rate: float
    interval_s: int
    next_ns: int
    """When it settles (UTC ns); 0 where the venue does not tell."""

    @property
    def key(self) -> object:
        """The market."""
        return (self.venue, self.asset)
