"""The contract between a venue package and the rest of the house.

A venue turns wire units into base coins and settle currency, and back, and nothing else outside
its package does. Its public feed pushes quotes straight into slots, without a task or queue
between the socket and the quote engine; everything else it hears it publishes as reports. Requests
are coroutines whose errors say whether anything happened (`perpbot.domain.errors`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from typing import Protocol, runtime_checkable

from perpbot.domain.capabilities import Capabilities
from perpbot.domain.events import Event
from perpbot.domain.instruments import Instrument
from perpbot.domain.orders import (
    BalanceReport,
    FillReport,
    FundingReport,
    OrderReport,
    OrderRequest,
    PositionReport,
    TransferReport,
)
from perpbot.domain.permissions import KeyPermissions
from perpbot.venues.wire.nonces import NonceSource

Publish = Callable[[Event], None]


class QuoteSlot(Protocol):
    """Where the quotes of one instrument of one venue go; called on the socket's read path."""

    @property
    def heard_ns(self) -> int:
        """Monotonic receive time of the last quote, used or refused; 0 before the first."""

    def update(
        self,
        bid: float,
        bid_size: float,
        ask: float,
        ask_size: float,
        venue_ns: int,
        recv_ns: int,
    ) -> None:
        """Take one best bid and ask: base coins, settle currency; `recv_ns` is monotonic.

        A missing side is 0.0. Never raises: what cannot be used is refused and counted.
        """

    def invalidate(self, reason: str) -> None:
        """The channel broke (disconnect, sequence gap): the last quote must not open anything."""


class MarketSink(Protocol):
    """What a public feed writes to."""

    def slot(self, instrument: Instrument) -> QuoteSlot:
        """Return the slot of an instrument; the same object every time."""

    def publish(self, event: Event) -> None:
        """Publish marks, funding rates, books, deltas, trades, candles."""

    def refuse(self, venue: str, reason: str) -> None:
        """Count a frame that could not be read, by reason."""


class MarketData(Protocol):
    """Public data of one venue; needs no keys."""

    async def instruments(self) -> Sequence[Instrument]:
        """Return every linear perpetual that can be traded. Raises `Unavailable`."""

    async def run(self, instruments: Sequence[Instrument], sink: MarketSink) -> None:
        """Feed `sink` until cancelled: connects, subscribes, reconnects without limit."""


@runtime_checkable
class CurrencyQuotes(Protocol):
    """A public side that also quotes stablecoins against the US dollar."""

    async def usd_rates(self, currencies: Sequence[str]) -> Mapping[str, Decimal]:
        """Return USD per unit of those that it knows. Raises `Unavailable`."""


class Trading(Protocol):
    """Requests that change something at the venue.

    Every method raises `ReadOnly` without credentials, `Rejected`, `RateLimited`, `AuthFailed` or
    `NonceClash` for definite refusals, and `OutcomeUnknown` for everything that may have happened.
    """

    async def submit(self, order: OrderRequest, sent: Callable[[], None]) -> OrderReport:
        """Send one order; `sent` is called once, right after its bytes were handed to the socket.

        Returns the venue's acknowledgement. Never retries.
        """

    async def cancel(self, order: OrderRequest, venue_order_id: str) -> OrderReport:
        """Cancel by client id (or venue id where that is all it takes).

        Raises `Rejected` when the venue knows no such open order.
        """

    async def set_dead_man(self, instrument: Instrument, timeout_s: float) -> None:
        """Arm or refresh the venue's dead man's switch; 0 disarms."""


@runtime_checkable
class PromptTrading(Protocol):
    """Trading that can write an order at once, before anything else of that moment runs."""

    def begin(
        self, order: OrderRequest, sent: Callable[[], None]
    ) -> Awaitable[OrderReport] | None:
        """Write one order now and return the acknowledgement to wait for; errors as `submit`.

        None, with nothing sent, where something has to be waited for first: then `submit` it.
        """


@runtime_checkable
class RehearsedTrading(Protocol):
    """Trading whose way to an order can be kept warm."""

    def rehearse(self, order: OrderRequest) -> bytes:
        """Return what would be sent, signed so that no venue ever takes it."""


@runtime_checkable
class TellsPermissions(Protocol):
    """A venue that can be asked what our key may do."""

    async def key_permissions(self) -> KeyPermissions:
        """Ask, changing nothing.

        Raises `ReadOnly` without credentials, `AuthFailed` where the key is refused, otherwise
        `Unavailable`.
        """


@runtime_checkable
class NoncedTrading(Protocol):
    """Trading whose requests carry numbers that only ever grow, across restarts too."""

    nonces: NonceSource


class Account(Protocol):
    """What the venue says we own and owe. Reads raise `Unavailable`; an error is never 'empty'."""

    async def order(self, order: OrderRequest, venue_order_id: str) -> OrderReport | None:
        """Return the order's state; None when the venue definitely does not know it."""

    async def open_orders(self) -> Sequence[OrderReport]:
        """Return all open orders of the account, ours (canonical client id) and others ("")."""

    async def fills(self, since_ns: int) -> Sequence[FillReport]:
        """Return executions since a UTC time, complete (paged where the venue pages)."""

    async def positions(self) -> Sequence[PositionReport]:
        """Return all non-zero legs; hedge mode gives LONG and SHORT."""

    async def balances(self) -> Sequence[BalanceReport]:
        """Return the collateral currencies of the account."""

    async def funding(self, since_ns: int) -> Sequence[FundingReport]:
        """Return funding payments since a UTC time."""

    async def transfers(self, since_ns: int) -> Sequence[TransferReport]:
        """Return what came into the account or left it since a UTC time, and was no trading.

        Only what moves the collateral that `balances` tells; a fee for moving it is included.
        """

    async def run(self, publish: Publish) -> None:
        """Stream OrderReported, FillReported and AccountReported until cancelled.

        Publishes VenueConnectionChanged for channel "private" on every change, so that a reconcile
        follows each reconnect.
        """


class Venue(Protocol):
    """One venue, put together."""

    # Read-only, so that a venue may declare its own, narrower parts.
    @property
    def name(self) -> str:
        """The venue's id, in lower case."""

    @property
    def account_name(self) -> str:
        """Which of our accounts this is."""

    @property
    def capabilities(self) -> Capabilities:
        """What the venue can do."""

    @property
    def market_data(self) -> MarketData:
        """Its public side."""

    @property
    def trading(self) -> Trading:
        """Its writes."""

    @property
    def account(self) -> Account:
        """Its private reads and stream."""

    async def open(self, instruments: Sequence[Instrument]) -> None:
        """Prepare for the instruments that will be used: sessions, position mode, leverage.

        Without credentials it prepares the public side only.
        """

    async def close(self) -> None:
        """Close every connection; orders are left as they are."""

    @property
    def can_trade(self) -> bool:
        """Whether credentials are present."""

    @property
    def hedge_mode(self) -> bool:
        """Whether the account keeps LONG and SHORT legs apart; known once `open` has returned."""
