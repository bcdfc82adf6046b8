"""What became of an order."""

from __future__ import annotations

from decimal import Decimal

from perpbot.domain.events.declaration import Event, event
from perpbot.domain.events.table import EventKind
from perpbot.domain.money import ZERO
from perpbot.domain.sides import Liquidity, PositionSide, Side


class OrderFact(Event, frozen=True, kw_only=True):
    """Base of the durable facts about one order of ours."""

    client_id: str
    venue: str = ""
    venue_ns: int = 0


@event(EventKind.ORDER_SENT)
class OrderSent(OrderFact, frozen=True, kw_only=True):
    """The request's bytes were handed to the socket (or may have been)."""

    sent_ns: int = 0
    """Monotonic."""


@event(EventKind.ORDER_PLACED)
class OrderPlaced(OrderFact, frozen=True, kw_only=True):
    """The venue took the order."""

    venue_order_id: str = ""


@event(EventKind.ORDER_FILLED)
class OrderFilled(OrderFact, frozen=True, kw_only=True):
    """One execution, booked once. `client_id` is "" for executions that are not ours."""

    account: str = ""
    asset: str = ""
    trade_id: str
    venue_order_id: str = ""
    side: Side
    position_side: PositionSide = PositionSide.NET
    price: Decimal
    quantity: Decimal
    fee_usd: Decimal
    """Positive is a cost."""
    liquidity: Liquidity = Liquidity.UNKNOWN
    cumulative: Decimal = ZERO
    """Filled quantity of the order including this fill."""
    is_partial: bool = False
    owner: str = ""
    usd_rate: Decimal = Decimal(1)
    """USD for one unit of settle currency when it was booked."""
    reconciled: bool = False
    """Whether it was found by asking rather than streamed."""
    fee_unpriced: str = ""
    """A fee such as `0.001 BNB` whose currency has no USD rate; `fee_usd` is 0 then."""


@event(EventKind.ORDER_CANCELLED)
class OrderCancelled(OrderFact, frozen=True, kw_only=True):
    """The venue took the order away with `filled` base coins done."""

    filled: Decimal = ZERO
    reason: str = ""


@event(EventKind.ORDER_EXPIRED)
class OrderExpired(OrderFact, frozen=True, kw_only=True):
    """The order ended by its own terms (IOC remainder, FOK, post-only that would take)."""

    filled: Decimal = ZERO
    reason: str = ""


@event(EventKind.ORDER_FAILED)
class OrderFailed(OrderFact, frozen=True, kw_only=True):
    """A definite refusal; nothing was executed."""

    reason: str
    code: str = ""


@event(EventKind.ORDER_UNKNOWN)
class OrderUnknown(OrderFact, frozen=True, kw_only=True):
    """No usable answer to a create. Resolved by asking, never by sending again."""

    reason: str


@event(EventKind.ORDER_PROVEN_ABSENT)
class OrderProvenAbsent(OrderFact, frozen=True, kw_only=True):
    """After its expiry the venue knows nothing of the order: it never happened."""

    evidence: str


@event(EventKind.ORDER_CANCEL_FAILED)
class OrderCancelFailed(OrderFact, frozen=True, kw_only=True):
    """A cancel was refused or got no answer; the order's true state is asked for."""

    reason: str
    definite: bool
    """Whether the venue answered (order unknown or closed) rather than stayed silent."""


@event(EventKind.FOREIGN_ORDER_SEEN)
class ForeignOrderSeen(Event, frozen=True, kw_only=True):
    """An open order at a venue that is not in our journal. Never cancelled by us."""

    venue: str
    venue_order_id: str
    symbol: str
    detail: str
