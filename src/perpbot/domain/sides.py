"""Directions and kinds of orders: the closed sets that every room shares."""

from __future__ import annotations

from enum import StrEnum


class Side(StrEnum):
    """Of an order or a taker trade."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> Side:
        """The other side."""
        return Side.SELL if self is Side.BUY else Side.BUY


class PositionSide(StrEnum):
    """The leg of a position: NET on one-way accounts, LONG or SHORT in hedge mode."""

    NET = "net"
    LONG = "long"
    SHORT = "short"


class OrderType(StrEnum):
    """How an order is priced."""

    LIMIT = "limit"
    MARKET = "market"


class TimeInForce(StrEnum):
    """How long an order lives. POST_ONLY never takes."""

    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"
    POST_ONLY = "post_only"


class Purpose(StrEnum):
    """Which gate an order passes: all layers, the hedge gate, or the reduction gate."""

    OPEN = "open"
    HEDGE = "hedge"
    REDUCE = "reduce"
    PROTECT = "protect"


class Liquidity(StrEnum):
    """The role of a fill."""

    MAKER = "maker"
    TAKER = "taker"
    UNKNOWN = "unknown"


class OrderState(StrEnum):
    """Where an order is. The legal moves are the table of `perpbot.portfolio.orders`."""

    INTENT = "intent"
    SENT = "sent"
    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    PARTIALLY_FILLED = "partially_filled"
    PENDING_CANCEL = "pending_cancel"
    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    PROVEN_ABSENT = "proven_absent"

    @property
    def is_end(self) -> bool:
        """Whether nothing but a late fill can follow."""
        return self in _ENDS


_ENDS = frozenset(
    {
        OrderState.FILLED,
        OrderState.CANCELLED,
        OrderState.EXPIRED,
        OrderState.REJECTED,
        OrderState.PROVEN_ABSENT,
    }
)
RESTING = frozenset({OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED, OrderState.PENDING_CANCEL})
"""The venue has taken it, and it has not ended."""
UNANSWERED = frozenset({OrderState.INTENT, OrderState.SENT, OrderState.UNKNOWN})
"""States of an order of which the venue has told nothing yet."""


class PairState(StrEnum):
    """Where a pair trade is. The legal moves are the table of `perpbot.execution.pair`."""

    PLANNED = "planned"
    RESERVED = "reserved"
    OPENING = "opening"
    HEDGING = "hedging"
    HEDGED = "hedged"
    UNWINDING = "unwinding"
    CLOSING = "closing"
    FLAT = "flat"
