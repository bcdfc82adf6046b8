"""What an exchange of ours takes and tells, in base coins and settle currency.

The wire servers translate between these values and their venue's protocol; the in-process venue
translates between them and the node's events. No protocol detail lives here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

import msgspec

from perpbot.domain.money import ZERO
from perpbot.domain.sides import Liquidity, OrderType, PositionSide, Side, TimeInForce


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """A listed perpetual. Steps and minima in base coins; `symbol` is the venue's own spelling."""

    symbol: str
    asset: str
    base: str
    settle: str
    tick_size: Decimal
    quantity_step: Decimal
    min_quantity: Decimal
    min_notional: Decimal = ZERO
    price_digits: int | None = None
    contract_size: Decimal = Decimal(1)
    price_multiplier: Decimal = Decimal(1)
    wire_code: int = 0
    funding_interval_s: int = 28_800
    max_leverage: int = 20
    maintenance_ratio: Decimal = Decimal("0.005")


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """An order as a client asks for it."""

    symbol: str
    side: Side
    order_type: OrderType
    quantity: Decimal
    price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    client_id: str = ""
    """As the client wrote it on the wire."""
    reduce_only: bool = False
    position_side: PositionSide = PositionSide.NET
    trigger_price: Decimal | None = None
    """For stops: becomes a live order when the mark crosses it."""
    trigger_above: bool = False
    close_position: bool = False
    expires_ns: int = 0
    """Refuse when it arrives later than this (UTC ns)."""
    self_trade: str = "cancel_maker"
    """cancel_maker, cancel_taker or cancel_both."""


class OrderStatus(StrEnum):
    """Of an order at the exchange."""

    NEW = "new"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    UNTRIGGERED = "untriggered"


OPEN = frozenset({OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED, OrderStatus.UNTRIGGERED})
"""Of an order that rests or waits for its trigger."""


class OrderView(msgspec.Struct, frozen=True, kw_only=True):
    """The state of an order; `cause` says why it ended (user, ioc, fok, post_only…)."""

    order_id: int
    account: str
    ticket: Ticket
    status: OrderStatus
    filled: Decimal
    average_price: Decimal
    fee: Decimal
    """Sum so far; positive is a cost, in settle currency."""
    created_ns: int
    updated_ns: int
    cause: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it rests or waits for its trigger."""
        return self.status in OPEN


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """One fill of one order; a match of two accounts gives two executions with one trade id."""

    trade_id: int
    account: str
    symbol: str
    order_id: int
    client_id: str
    side: Side
    position_side: PositionSide
    price: Decimal
    quantity: Decimal
    fee: Decimal
    liquidity: Liquidity
    realized_pnl: Decimal
    ts_ns: int
    cause: str = ""
    """"" for a normal trade, else liquidation or adl."""


class PositionView(msgspec.Struct, frozen=True, kw_only=True):
    """One leg: signed quantity, average entry, and what the mark makes of it."""

    account: str
    symbol: str
    position_side: PositionSide
    quantity: Decimal
    entry_price: Decimal
    mark_price: Decimal
    unrealized_pnl: Decimal
    liquidation_price: Decimal | None
    leverage: int


class BalanceView(msgspec.Struct, frozen=True, kw_only=True):
    """One currency of an account."""

    account: str
    currency: str
    wallet: Decimal
    equity: Decimal
    free: Decimal
    used_margin: Decimal


class FundingPayment(msgspec.Struct, frozen=True, kw_only=True):
    """Positive was received by the account."""

    payment_id: int
    account: str
    symbol: str
    rate: Decimal
    amount: Decimal
    quantity: Decimal
    ts_ns: int


class MoneyTransfer(msgspec.Struct, frozen=True, kw_only=True):
    """Money that came into an account (positive) or left it; no profit."""

    transfer_id: int
    account: str
    currency: str
    amount: Decimal
    ts_ns: int


class BookView(msgspec.Struct, frozen=True, kw_only=True):
    """The book, best level first, as (price, quantity, orders)."""

    symbol: str
    bids: tuple[tuple[Decimal, Decimal, int], ...]
    asks: tuple[tuple[Decimal, Decimal, int], ...]
    sequence: int
    ts_ns: int


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """Mark, index and the coming funding of a symbol."""

    symbol: str
    mark_price: Decimal
    index_price: Decimal
    funding_rate: Decimal
    next_funding_ns: int
    ts_ns: int


class PublicTrade(msgspec.Struct, frozen=True, kw_only=True):
    """One public trade; side is the taker's."""

    symbol: str
    trade_id: int
    price: Decimal
    quantity: Decimal
    side: Side
    ts_ns: int
    buyer: str = ""
    seller: str = ""


class BookChange(msgspec.Struct, frozen=True, kw_only=True):
    """Levels that changed between two sequence numbers; quantity 0 removes."""

    symbol: str
    previous_sequence: int
    sequence: int
    bids: tuple[tuple[Decimal, Decimal, int], ...]
    asks: tuple[tuple[Decimal, Decimal, int], ...]
    ts_ns: int


class OrderUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """An order changed; `execution` is the fill that changed it, where one did."""

    order: OrderView
    execution: Execution | None = None


class AccountUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """Balances and legs of an account that changed; `cause` is order, funding, transfer."""

    account: str
    cause: str
    balances: tuple[BalanceView, ...]
    positions: tuple[PositionView, ...]
    funding: FundingPayment | None = None
    transfer: MoneyTransfer | None = None


ExchangeNews = BookChange | PublicTrade | Mark | OrderUpdate | AccountUpdate
Listener = Callable[[ExchangeNews], None]
PRIVATE_NEWS: frozenset[type[ExchangeNews]] = frozenset({OrderUpdate, AccountUpdate})
"""What happens to accounts; the rest is the market."""


class Refusal(StrEnum):
    """Why an exchange said no. Each server has its own words and codes for each."""

    UNKNOWN_SYMBOL = "unknown_symbol"
    BAD_PRICE = "bad_price"
    BAD_QUANTITY = "bad_quantity"
    MIN_NOTIONAL = "min_notional"
    PRICE_BAND = "price_band"
    INSUFFICIENT_MARGIN = "insufficient_margin"
    REDUCE_ONLY = "reduce_only"
    POST_ONLY_WOULD_TAKE = "post_only_would_take"
    DUPLICATE_CLIENT_ID = "duplicate_client_id"
    UNKNOWN_ORDER = "unknown_order"
    POSITION_SIDE = "position_side"
    POSITION_MODE = "position_mode"
    EXPIRED_REQUEST = "expired_request"
    WOULD_TRIGGER = "would_trigger"
    FOK_NOT_FILLED = "fok_not_filled"
    UNKNOWN_ACCOUNT = "unknown_account"
    HALTED = "halted"


class ExchangeRefusal(Exception):
    """A definite no; nothing changed."""

    def __init__(self, refusal: Refusal, text: str) -> None:
        super().__init__(text)
        self.refusal = refusal
        self.text = text


class ClientIdRule(StrEnum):
    """Uniqueness of client ids, per venue."""

    NEVER = "never"
    OPEN_ORDERS = "open_orders"
    FOREVER = "forever"


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """Where venues differ in matching, as capabilities the servers declare."""

    name: str
    maker_fee: Decimal
    taker_fee: Decimal
    """Ratios; a negative maker fee is a rebate."""
    client_ids: ClientIdRule = ClientIdRule.OPEN_ORDERS
    post_only_refuses: bool = True
    """Whether a crossing post-only order is refused, or accepted and then cancelled (OKX)."""
    reduce_only: bool = True
    band_ratio: Decimal = Decimal("0.2")
    settle: str = "USDT"
    hedge_mode: bool = False
    """Whether accounts may choose to hold LONG and SHORT legs apart; all start one-way."""
    dead_man_removes_stops: bool = False
    """Whether a dead man's switch also cancels stops that have not triggered."""
    first_id: int = 1
    """Of orders, trades, payments and transfers, each counted for itself."""


class ExchangeView(Protocol):
    """What servers and the in-process venue use of `perpbot.simulation.exchange.Exchange`.

    Synchronous and single threaded; news is delivered to listeners before a call returns, in the
    order in which it happened (an execution's OrderUpdate before its AccountUpdate).
    """

    profile: Profile

    def contracts(self) -> Sequence[Contract]:
        """All listed contracts."""

    def listen(
        self, listener: Listener, kinds: frozenset[type[ExchangeNews]] | None = None
    ) -> Callable[[], None]:
        """Deliver news to `listener`, all or of these kinds; returns what stops it."""

    def open_account(self, account: str, balances: dict[str, Decimal]) -> None:
        """Create an account with wallet balances by currency."""

    def submit(self, account: str, ticket: Ticket) -> OrderView:
        """Match and rest; returns the order after all immediate fills. Raises ExchangeRefusal."""

    def cancel(self, account: str, symbol: str, order_id: int) -> OrderView:
        """Take an open order away. Raises ExchangeRefusal(UNKNOWN_ORDER) when not open."""

    def cancel_all(self, account: str, symbol: str | None = None) -> Sequence[OrderView]:
        """Take all resting orders away (not untriggered ones)."""

    def amend(
        self, account: str, order_id: int, *, price: Decimal | None, quantity: Decimal | None
    ) -> OrderView:
        """Change price or total quantity, keep the id; loses priority unless only smaller."""

    def order(self, account: str, order_id: int) -> OrderView | None:
        """Any order of the account, open or ended."""

    def order_by_client_id(self, account: str, client_id: str) -> OrderView | None:
        """The newest order with that client id."""

    def open_orders(self, account: str, symbol: str | None = None) -> Sequence[OrderView]:
        """Resting and untriggered orders, oldest first."""

    def order_history(self, account: str, since_ns: int = 0) -> Sequence[OrderView]:
        """All orders of the account, oldest first."""

    def executions(self, account: str, since_ns: int = 0) -> Sequence[Execution]:
        """Fills of the account, oldest first."""

    def positions(self, account: str) -> Sequence[PositionView]:
        """Non-zero legs."""

    def balances(self, account: str) -> Sequence[BalanceView]:
        """All currencies of the account."""

    def funding_payments(self, account: str, since_ns: int = 0) -> Sequence[FundingPayment]:
        """Payments of the account, oldest first."""

    def transfers(self, account: str, since_ns: int = 0) -> Sequence[MoneyTransfer]:
        """What came in or went out since the account was opened, oldest first."""

    def book(self, symbol: str, depth: int = 20) -> BookView:
        """The book now."""

    def mark(self, symbol: str) -> Mark:
        """Mark, index and funding now."""

    def recent_trades(self, symbol: str, limit: int = 100) -> Sequence[PublicTrade]:
        """Newest last."""

    def set_leverage(self, account: str, symbol: str, leverage: int) -> None:
        """Set initial leverage."""

    def leverage(self, account: str, symbol: str) -> int:
        """Leverage of a symbol."""

    def set_hedge_mode(self, account: str, enabled: bool) -> None:  # noqa: FBT001
        """Refused (POSITION_MODE) with open orders or positions."""

    def hedge_mode(self, account: str) -> bool:
        """Whether the account holds LONG and SHORT legs apart."""

    def arm_dead_man(self, account: str, symbol: str | None, at_ns: int) -> None:
        """Cancel all (of a symbol) at a time; 0 disarms. Driven by `advance`."""

    def quote(
        self,
        symbol: str,
        bids: Sequence[tuple[Decimal, Decimal]],
        asks: Sequence[tuple[Decimal, Decimal]],
    ) -> None:
        """Replace the market makers' liquidity; what crosses resting client orders trades."""

    def set_mark(
        self, symbol: str, mark: Decimal, index: Decimal, funding_rate: Decimal, next_ns: int
    ) -> None:
        """Move the mark; triggers stops and liquidations, updates unrealised profit."""

    def settle_funding(self, symbol: str) -> None:
        """Pay funding on all positions at the current rate and mark."""

    def transfer(self, account: str, currency: str, amount: Decimal) -> None:
        """Move money in or out; refused (INSUFFICIENT_MARGIN) beyond what is free."""

    def advance(self) -> None:
        """Do what is due by the clock (dead man's switches)."""
