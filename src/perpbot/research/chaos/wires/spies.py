"""Between an adapter's feed and the quote engine: holds what it gives against the true touch."""

from __future__ import annotations

from perpbot.domain.events import BookUpdated, Event
from perpbot.domain.instruments import Instrument
from perpbot.kernel.clock import MS
from perpbot.research.chaos.wires.ground import Tops
from perpbot.research.chaos.witness import Witness
from perpbot.venues.port import MarketSink, QuoteSlot

TOO_OLD_NS = 2_600 * MS
"""A touch that was left longer ago must not open anything, however late its bytes came."""
NEVER = "a touch that never was"


class Judge:
    """Holds quotes and books against the exchanges' touches; the witness hears the verdict."""

    def __init__(self, tops: Tops, witness: Witness) -> None:
        self._tops = tops
        self._witness = witness

    def quote(self, venue: str, asset: str, bid: float, ask: float) -> None:
        """A quote goes into the engine."""
        age_ns = self._tops.age_ns(venue, asset, bid, ask)
        if age_ns is None:
            if bid == bid and ask == ask:  # noqa: PLR0124 - NaN is refused by the engine
                self._witness.violate(f"B4 {venue} quote {bid} / {ask} of {asset}: {NEVER}")
            self._witness.told.bad_quote(venue, asset)
        elif age_ns > TOO_OLD_NS or not bid or not ask:
            self._witness.told.bad_quote(venue, asset)
        else:
            self._witness.told.good_quote(venue, asset)

    def invalid(self, venue: str, asset: str) -> None:
        """The last quote must not open anything."""
        self._witness.told.bad_quote(venue, asset)

    def book(self, book: BookUpdated) -> None:
        """A book was published: its best levels must have been the touch."""
        if not book.bids or not book.asks:
            return
        bid, ask = book.bids[0][0], book.asks[0][0]
        if self._tops.age_ns(book.venue, book.asset, bid, ask) is None:
            self._witness.violate(f"B4 {book.venue} book {bid} / {ask} of {book.asset}: {NEVER}")


class SpySlot:
    """A slot that tells the witness what kind of quote went into it."""

    def __init__(self, slot: QuoteSlot, instrument: Instrument, judge: Judge) -> None:
        self._slot = slot
        self._venue, self._asset = instrument.venue, instrument.asset
        self._judge = judge

    @property
    def heard_ns(self) -> int:
        """As the slot's own."""
        return self._slot.heard_ns

    def update(
        self,
        bid: float,
        bid_size: float,
        ask: float,
        ask_size: float,
        venue_ns: int,
        recv_ns: int,
    ) -> None:
        """Judge the quote by what the exchange's touch was, then hand it on."""
        self._judge.quote(self._venue, self._asset, bid, ask)
        self._slot.update(bid, bid_size, ask, ask_size, venue_ns, recv_ns)

    def invalidate(self, reason: str) -> None:
        """From here on the last quote must not open anything."""
        self._judge.invalid(self._venue, self._asset)
        self._slot.invalidate(reason)


class SpySink:
    """A sink that gives out spying slots and looks at books."""

    def __init__(self, sink: MarketSink, judge: Judge) -> None:
        self._sink = sink
        self._judge = judge
        self._slots: dict[str, SpySlot] = {}

    def slot(self, instrument: Instrument) -> QuoteSlot:
        """The same object every time."""
        found = self._slots.get(instrument.symbol)
        if found is None:
            found = SpySlot(self._sink.slot(instrument), instrument, self._judge)
            self._slots[instrument.symbol] = found
        return found

    def publish(self, event: Event) -> None:
        """Look at books, hand everything on."""
        if isinstance(event, BookUpdated):
            self._judge.book(event)
        self._sink.publish(event)

    def refuse(self, venue: str, reason: str) -> None:
        """Hand it on."""
        self._sink.refuse(venue, reason)
