"""What venues and transports say: not yet facts of ours."""

from __future__ import annotations

from perpbot.domain.events.declaration import Event, event
from perpbot.domain.events.table import EventKind
from perpbot.domain.instruments import Instrument
from perpbot.domain.orders import (
    BalanceReport,
    FillReport,
    FundingReport,
    OrderReport,
    PositionReport,
    TransferReport,
)


@event(EventKind.ORDER_REPORTED)
class OrderReported(Event, frozen=True, kw_only=True, gc=False):
    """A venue or our transport said something of an order."""

    report: OrderReport


@event(EventKind.FILL_REPORTED)
class FillReported(Event, frozen=True, kw_only=True, gc=False):
    """A venue told an execution; may repeat."""

    report: FillReport


@event(EventKind.ACCOUNT_REPORTED)
class AccountReported(Event, frozen=True, kw_only=True, gc=False):
    """A private stream told balances, positions, funding or transfers; only what it said."""

    venue: str
    balances: tuple[BalanceReport, ...] = ()
    positions: tuple[PositionReport, ...] = ()
    funding: tuple[FundingReport, ...] = ()
    transfers: tuple[TransferReport, ...] = ()


@event(EventKind.VENUE_SNAPSHOT)
class VenueSnapshot(Event, frozen=True, kw_only=True, gc=False):
    """The answer to RECONCILE_VENUE. An unanswered part is None: unknown, never empty."""

    venue: str
    reason: str
    asked_ns: int
    """Monotonic time at which the first question left."""
    orders: tuple[OrderReport, ...] | None = None
    fills: tuple[FillReport, ...] | None = None
    positions: tuple[PositionReport, ...] | None = None
    balances: tuple[BalanceReport, ...] | None = None
    funding: tuple[FundingReport, ...] | None = None
    transfers: tuple[TransferReport, ...] | None = None
    error: str = ""

    @property
    def complete(self) -> bool:
        """Whether every part was answered."""
        parts = (self.orders, self.fills, self.positions, self.balances)
        return all(part is not None for part in parts)


@event(EventKind.INSTRUMENTS_LISTED)
class InstrumentsListed(Event, frozen=True, kw_only=True, gc=False):
    """The answer to LIST_INSTRUMENTS: all that the venue trades now; never empty."""

    venue: str
    instruments: tuple[Instrument, ...]
