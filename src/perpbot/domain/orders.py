"""Orders as requests and as venues report them."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from perpbot.domain.money import ZERO
from perpbot.domain.sides import (
    Liquidity,
    OrderState,
    OrderType,
    PositionSide,
    Purpose,
    Side,
    TimeInForce,
)


class OrderRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An order we mean to send; journalled before it is. Base coins, settle currency."""

    client_id: str
    """Canonical: 32 lower-case hex digits (`perpbot.kernel.ids`); codecs write the wire form."""
    venue: str
    account: str
    asset: str
    symbol: str
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    quantity: Decimal
    price: Decimal | None
    """Limit price; None only for MARKET."""
    reference_price: Decimal
    """The price the decision was made on, for slippage and margin; never None."""
    purpose: Purpose
    reduce_only: bool = False
    position_side: PositionSide = PositionSide.NET
    owner: str = ""
    """The pair (or other work) this order belongs to."""
    leg: int = 0
    """0 the long leg, 1 the short leg."""
    reservation_id: str = ""
    replaces: str = ""
    """Client id of the proven-absent order that this one stands in for."""
    expires_ns: int = 0
    """Venue must refuse the request after this time (UTC ns); 0 where the venue cannot."""
    nonce: int = 0
    """The venue nonce the request will carry, where the venue has nonces; 0 otherwise."""


class OrderReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a venue (or our transport) says of one order. Not yet a fact of ours.

    `state` SENT, ACCEPTED, PARTIALLY_FILLED, FILLED, CANCELLED, EXPIRED, REJECTED, UNKNOWN, or
    PROVEN_ABSENT when the venue says that it does not know the order (the node judges the proof).
    `filled` is cumulative, in base coins; None when the report does not say.
    """

    venue: str
    account: str
    client_id: str
    """Canonical id, or "" for an order that is not ours."""
    venue_order_id: str
    symbol: str
    state: OrderState
    filled: Decimal | None = None
    average_price: Decimal | None = None
    side: Side | None = None
    quantity: Decimal | None = None
    price: Decimal | None = None
    reduce_only: bool = False
    position_side: PositionSide = PositionSide.NET
    reason: str = ""
    code: str = ""
    venue_ns: int = 0


class FillReport(msgspec.Struct, frozen=True, kw_only=True):
    """One execution as a venue tells it; may come twice, early or late."""

    venue: str
    account: str
    trade_id: str
    """Unique for the account and symbol at the venue; the key of de-duplication."""
    client_id: str
    venue_order_id: str
    symbol: str
    asset: str
    side: Side
    price: Decimal
    quantity: Decimal
    fee: Decimal
    """Positive is a cost, negative a rebate, in `fee_currency`."""
    fee_currency: str
    liquidity: Liquidity = Liquidity.UNKNOWN
    position_side: PositionSide = PositionSide.NET
    venue_ns: int = 0


class PositionReport(msgspec.Struct, frozen=True, kw_only=True):
    """One leg of a position as a venue tells it; quantity is signed base coins."""

    venue: str
    account: str
    symbol: str
    asset: str
    quantity: Decimal
    entry_price: Decimal = ZERO
    mark_price: Decimal = ZERO
    unrealized_pnl: Decimal = ZERO
    liquidation_price: Decimal | None = None
    position_side: PositionSide = PositionSide.NET
    venue_ns: int = 0


class BalanceReport(msgspec.Struct, frozen=True, kw_only=True):
    """One currency of an account as a venue tells it."""

    venue: str
    account: str
    currency: str
    equity: Decimal
    """Wallet balance plus unrealised profit."""
    wallet: Decimal
    free: Decimal
    """What new positions may use as margin."""
    venue_ns: int = 0


class FundingReport(msgspec.Struct, frozen=True, kw_only=True):
    """One funding payment; positive was received, negative was paid."""

    venue: str
    account: str
    payment_id: str
    symbol: str
    asset: str
    amount: Decimal
    currency: str
    rate: Decimal = ZERO
    venue_ns: int = 0


class TransferReport(msgspec.Struct, frozen=True, kw_only=True):
    """Money that came into an account (positive) or left it (negative) and is no trade's result.

    Deposits, withdrawals, moves between wallets or accounts of ours, gifts of the venue; what
    moving it cost is part of the amount.
    """

    venue: str
    account: str
    transfer_id: str
    """Unique at the venue for the account; the key of de-duplication."""
    currency: str
    amount: Decimal
    kind: str = ""
    """The venue's own word for it."""
    venue_ns: int = 0
