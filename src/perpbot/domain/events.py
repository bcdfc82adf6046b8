"""Facts and commands: everything that rides on the bus.

Facts are named in the past tense, commands in the imperative. Each class is declared once, with
its kind and its lane next to each other by `@event`; extensions declare theirs the same way.
Quotes, statistics and market data carry floats; orders, fills and capital carry Decimal.

Times: `ts_ns` is when it happened by the node's clock (UTC ns), `venue_ns` the venue's own time
where it has one, else 0. `correlation_id` leads from the quote to the fill.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import ClassVar, TypeVar

import msgspec

from perpbot.domain.errors import InvalidValue
from perpbot.domain.money import ZERO, plain
from perpbot.domain.orders import (
    BalanceReport,
    FillReport,
    FundingReport,
    OrderReport,
    OrderRequest,
    PositionReport,
)
from perpbot.domain.pairs import PairPlan, ProfitSplit
from perpbot.domain.quotes import Opportunity
from perpbot.domain.sides import Liquidity, PairState, PositionSide, Side


class Lane(IntEnum):
    """How an event travels (DESIGN.md section 3). Lower goes first."""

    URGENT = 0
    """First; in order; never dropped; journalled."""
    DURABLE = 1
    """In order; never dropped; journalled before any handler sees it."""
    STREAM = 2
    """In order; never dropped in process; not journalled."""
    LATEST = 3
    """A newer value for the same key replaces the waiting one, counted."""


class EventKind(StrEnum):
    """The name of an event outside the process: journal, console, alerts."""

    QUOTE_UPDATED = "QUOTE_UPDATED"
    BOOK_UPDATED = "BOOK_UPDATED"
    BOOK_CHANGED = "BOOK_CHANGED"
    TRADE_PRINTED = "TRADE_PRINTED"
    CANDLE_CLOSED = "CANDLE_CLOSED"
    MARK_UPDATED = "MARK_UPDATED"
    FUNDING_RATE_UPDATED = "FUNDING_RATE_UPDATED"
    OPPORTUNITY_FOUND = "OPPORTUNITY_FOUND"
    PAIR_PLANNED = "PAIR_PLANNED"
    PAIR_STATE_CHANGED = "PAIR_STATE_CHANGED"
    HEDGE_REQUIRED = "HEDGE_REQUIRED"
    TRADE_COMPLETED = "TRADE_COMPLETED"
    SUBMIT_ORDERS = "SUBMIT_ORDERS"
    CANCEL_ORDERS = "CANCEL_ORDERS"
    CLOSE_PAIR = "CLOSE_PAIR"
    EVALUATE_PAIR = "EVALUATE_PAIR"
    QUERY_ORDER = "QUERY_ORDER"
    RECONCILE_VENUE = "RECONCILE_VENUE"
    ORDER_REPORTED = "ORDER_REPORTED"
    FILL_REPORTED = "FILL_REPORTED"
    ACCOUNT_REPORTED = "ACCOUNT_REPORTED"
    VENUE_SNAPSHOT = "VENUE_SNAPSHOT"
    ORDER_SENT = "ORDER_SENT"
    ORDER_PLACED = "ORDER_PLACED"
    ORDER_FILLED = "ORDER_FILLED"
    ORDER_CANCELLED = "ORDER_CANCELLED"
    ORDER_EXPIRED = "ORDER_EXPIRED"
    ORDER_FAILED = "ORDER_FAILED"
    ORDER_UNKNOWN = "ORDER_UNKNOWN"
    ORDER_PROVEN_ABSENT = "ORDER_PROVEN_ABSENT"
    ORDER_CANCEL_FAILED = "ORDER_CANCEL_FAILED"
    FOREIGN_ORDER_SEEN = "FOREIGN_ORDER_SEEN"
    POSITION_UPDATED = "POSITION_UPDATED"
    POSITION_ADJUSTED = "POSITION_ADJUSTED"
    FUNDING_PAID = "FUNDING_PAID"
    TRANSFER = "TRANSFER"
    LEASE_RELEASED = "LEASE_RELEASED"
    CAPITAL_SNAPSHOT_UPDATE = "CAPITAL_SNAPSHOT_UPDATE"
    CAPITAL_UPDATED = "CAPITAL_UPDATED"
    FOLLOW_CAPITAL = "FOLLOW_CAPITAL"
    CAPITAL_RESERVED = "CAPITAL_RESERVED"
    CAPITAL_RELEASED = "CAPITAL_RELEASED"
    CAPITAL_REJECTED = "CAPITAL_REJECTED"
    RESERVE_TOPPED_UP = "RESERVE_TOPPED_UP"
    SAFE_MODE_CHANGED = "SAFE_MODE_CHANGED"
    EQUITY_SAMPLED = "EQUITY_SAMPLED"
    DAY_STARTED = "DAY_STARTED"
    RISK_REJECTED = "RISK_REJECTED"
    HALT_LATCHED = "HALT_LATCHED"
    HALT_CLEARED = "HALT_CLEARED"
    COOLDOWN_STARTED = "COOLDOWN_STARTED"
    OVERRIDE_GRANTED = "OVERRIDE_GRANTED"
    KILL_SWITCH = "KILL_SWITCH"
    KILL_SWITCH_CLEARED = "KILL_SWITCH_CLEARED"
    VENUE_RECONCILED = "VENUE_RECONCILED"
    VENUE_CONNECTION_CHANGED = "VENUE_CONNECTION_CHANGED"
    RUN_STARTED = "RUN_STARTED"
    RUN_ENDED = "RUN_ENDED"
    RECORD_PASSED_OVER = "RECORD_PASSED_OVER"
    JOURNAL_REPAIRED = "JOURNAL_REPAIRED"
    NONCES_RESERVED = "NONCES_RESERVED"
    CONFIG_CHANGED = "CONFIG_CHANGED"
    COMPONENT_ERROR = "COMPONENT_ERROR"
    BUS_OVERFLOW = "BUS_OVERFLOW"
    ALERT_FIRED = "ALERT_FIRED"
    HEARTBEAT = "HEARTBEAT"
    HEALTH_SNAPSHOT_UPDATE = "HEALTH_SNAPSHOT_UPDATE"


KIND_ALIASES: dict[str, EventKind] = {
    "ARBITRAGE_OPPORTUNITY_FOUND": EventKind.OPPORTUNITY_FOUND,
    "HEALTH_SNAPSHOT": EventKind.HEALTH_SNAPSHOT_UPDATE,
    "RISK_REJECT": EventKind.RISK_REJECTED,
    "CAPITAL_REJECT": EventKind.CAPITAL_REJECTED,
    "EXPOSURE_UPDATE": EventKind.POSITION_UPDATED,
    "EXECUTION_SUBMITTED": EventKind.ORDER_SENT,
}
"""Names of the original documents, accepted on the way in."""


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of everything on the bus."""

    kind: ClassVar[str]
    lane: ClassVar[Lane]

    ts_ns: int = 0
    source: str = ""
    correlation_id: str = ""

    @property
    def key(self) -> object:
        """On the latest lane: what a newer value replaces."""
        return self.source


E = TypeVar("E", bound=type[Event])

EVENTS: dict[str, type[Event]] = {}
"""Every declared event class by kind."""


def event(kind: EventKind | str, lane: Lane) -> Callable[[E], E]:
    """Declare an event class. A kind can be declared once."""

    def declare(cls: E) -> E:
        if kind in EVENTS:
            raise InvalidValue(f"event kind {kind} is declared by {EVENTS[kind].__name__} already")
        cls.kind = str(kind)
        cls.lane = lane
        EVENTS[str(kind)] = cls
        return cls

    return declare


def event_class(kind: str) -> type[Event]:
    """Return the class of `kind` or of an alias; raise `InvalidValue` for an unknown name."""
    found = EVENTS.get(KIND_ALIASES.get(kind, kind))
    if found is None:
        raise InvalidValue(f"event kind was {kind!r}, one of {', '.join(sorted(EVENTS))} expected")
    return found


# --- market data ---------------------------------------------------------------------------------


@event(EventKind.QUOTE_UPDATED, Lane.LATEST)
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


@event(EventKind.BOOK_UPDATED, Lane.LATEST)
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


@event(EventKind.BOOK_CHANGED, Lane.STREAM)
class BookChanged(Event, frozen=True, kw_only=True, gc=False):
    """One delta of a book; size 0 removes a level."""

    venue: str
    asset: str
    bids: tuple[tuple[float, float], ...]
    asks: tuple[tuple[float, float], ...]
    sequence: int
    venue_ns: int = 0


@event(EventKind.TRADE_PRINTED, Lane.STREAM)
class TradePrinted(Event, frozen=True, kw_only=True, gc=False):
    """One public trade; side is the taker's."""

    venue: str
    asset: str
    trade_id: str
    price: float
    size: float
    side: Side
    venue_ns: int = 0


@event(EventKind.CANDLE_CLOSED, Lane.STREAM)
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


@event(EventKind.MARK_UPDATED, Lane.LATEST)
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


@event(EventKind.FUNDING_RATE_UPDATED, Lane.LATEST)
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


# --- opportunities and pairs ---------------------------------------------------------------------


@event(EventKind.OPPORTUNITY_FOUND, Lane.LATEST)
class OpportunityFound(Event, frozen=True, kw_only=True, gc=False):
    """An edge above the floor. An episode lasts while every evaluation stays above it."""

    opportunity: Opportunity

    @property
    def key(self) -> object:
        """The direction."""
        return (self.opportunity.asset, self.opportunity.long_venue, self.opportunity.short_venue)


@event(EventKind.PAIR_STATE_CHANGED, Lane.DURABLE)
class PairStateChanged(Event, frozen=True, kw_only=True):
    """A pair moved along its table; `reason` is a short word, `detail` its numbers."""

    pair_id: str
    before: PairState
    after: PairState
    reason: str
    detail: dict[str, str] = {}


@event(EventKind.HEDGE_REQUIRED, Lane.DURABLE)
class HedgeRequired(Event, frozen=True, kw_only=True):
    """The legs of a pair differ by `imbalance` base coins (long minus short)."""

    pair_id: str
    imbalance: Decimal
    reason: str


@event(EventKind.TRADE_COMPLETED, Lane.DURABLE)
class TradeCompleted(Event, frozen=True, kw_only=True):
    """A pair is flat; its profit in USD, and what was left below one step as dust."""

    pair_id: str
    strategy: str
    asset: str
    long_venue: str
    short_venue: str
    quantity: Decimal
    pnl: ProfitSplit
    opened: bool
    """Whether both legs had a fill."""
    hold_ns: int
    worst_unhedged_ns: int
    exit_reason: str
    dust_long: Decimal = ZERO
    dust_short: Decimal = ZERO


# --- commands ------------------------------------------------------------------------------------


class Measure(msgspec.Struct, frozen=True, array_like=True):
    """One measured value against its limit: a number with its unit, or words alone."""

    passed: bool
    limit: str
    words: str = ""
    number: Decimal | None = None

    @property
    def value(self) -> str:
        """The measured value in plain words, to six decimals."""
        return self.words if self.number is None else plain(round(self.number, 6)) + self.words

    def __str__(self) -> str:
        return f"{self.value} ({self.limit})"


class GateDecision(msgspec.Struct, frozen=True, kw_only=True):
    """What a gate measured when it let an order pass; journalled with the order."""

    gate: str
    """open, hedge or reduce."""
    checks: dict[str, Measure]
    """By rule, in the order in which they were asked."""
    ts_ns: int


class OrderIntent(Event, frozen=True, kw_only=True):
    """Base of what sends orders: one atomic decision, one record."""

    orders: tuple[OrderRequest, ...]
    decision: GateDecision
    read_ns: int = 0
    """Monotonic time of the market frame that led here; 0 where there was none."""


@event(EventKind.SUBMIT_ORDERS, Lane.DURABLE)
class SubmitOrders(OrderIntent, frozen=True, kw_only=True):
    """Send these orders of a pair that is under way."""


@event(EventKind.PAIR_PLANNED, Lane.DURABLE)
class PairPlanned(OrderIntent, frozen=True, kw_only=True):
    """An opportunity is taken: gates passed, capital reserved, legs leased, both entries sent.

    The pair owns the legs of its plan from here on.
    """

    plan: PairPlan
    reservation: CapitalReserved


@event(EventKind.CANCEL_ORDERS, Lane.DURABLE)
class CancelOrders(Event, frozen=True, kw_only=True):
    """Cancel these orders of ours."""

    client_ids: tuple[str, ...]
    reason: str


@event(EventKind.CLOSE_PAIR, Lane.DURABLE)
class ClosePair(Event, frozen=True, kw_only=True):
    """Leave a pair: convergence, take_profit, stop, max_hold, funding, shutdown, kill."""

    pair_id: str
    reason: str
    detail: dict[str, str] = {}


@event(EventKind.EVALUATE_PAIR, Lane.STREAM)
class EvaluatePair(Event, frozen=True, kw_only=True, gc=False):
    """Decide what a pair does next.

    On the stream lane: after every durable event has been folded, so two decisions never overlap.
    """

    pair_id: str


@event(EventKind.QUERY_ORDER, Lane.STREAM)
class QueryOrder(Event, frozen=True, kw_only=True, gc=False):
    """Ask the venue what became of an order; the answer comes as reports."""

    client_id: str


@event(EventKind.RECONCILE_VENUE, Lane.STREAM)
class ReconcileVenue(Event, frozen=True, kw_only=True, gc=False):
    """Ask a venue for orders, positions, balances and fills since `fills_since_ns`."""

    venue: str
    reason: str
    fills_since_ns: int


# --- what venues and transports say (not yet facts of ours) --------------------------------------


@event(EventKind.ORDER_REPORTED, Lane.STREAM)
class OrderReported(Event, frozen=True, kw_only=True, gc=False):
    """A venue or our transport said something of an order."""

    report: OrderReport


@event(EventKind.FILL_REPORTED, Lane.STREAM)
class FillReported(Event, frozen=True, kw_only=True, gc=False):
    """A venue told an execution; may repeat."""

    report: FillReport


@event(EventKind.ACCOUNT_REPORTED, Lane.STREAM)
class AccountReported(Event, frozen=True, kw_only=True, gc=False):
    """A private stream told balances, positions or funding; only what it said."""

    venue: str
    balances: tuple[BalanceReport, ...] = ()
    positions: tuple[PositionReport, ...] = ()
    funding: tuple[FundingReport, ...] = ()


@event(EventKind.VENUE_SNAPSHOT, Lane.STREAM)
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
    error: str = ""

    @property
    def complete(self) -> bool:
        """Whether every part was answered."""
        parts = (self.orders, self.fills, self.positions, self.balances)
        return all(part is not None for part in parts)


# --- orders --------------------------------------------------------------------------------------


class OrderFact(Event, frozen=True, kw_only=True):
    """Base of the durable facts about one order of ours."""

    client_id: str
    venue: str = ""
    venue_ns: int = 0


@event(EventKind.ORDER_SENT, Lane.DURABLE)
class OrderSent(OrderFact, frozen=True, kw_only=True):
    """The request's bytes were handed to the socket (or may have been)."""

    sent_ns: int = 0
    """Monotonic."""


@event(EventKind.ORDER_PLACED, Lane.DURABLE)
class OrderPlaced(OrderFact, frozen=True, kw_only=True):
    """The venue took the order."""

    venue_order_id: str = ""


@event(EventKind.ORDER_FILLED, Lane.DURABLE)
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


@event(EventKind.ORDER_CANCELLED, Lane.DURABLE)
class OrderCancelled(OrderFact, frozen=True, kw_only=True):
    """The venue took the order away with `filled` base coins done."""

    filled: Decimal = ZERO
    reason: str = ""


@event(EventKind.ORDER_EXPIRED, Lane.DURABLE)
class OrderExpired(OrderFact, frozen=True, kw_only=True):
    """The order ended by its own terms (IOC remainder, FOK, post-only that would take)."""

    filled: Decimal = ZERO
    reason: str = ""


@event(EventKind.ORDER_FAILED, Lane.DURABLE)
class OrderFailed(OrderFact, frozen=True, kw_only=True):
    """A definite refusal; nothing was executed."""

    reason: str
    code: str = ""


@event(EventKind.ORDER_UNKNOWN, Lane.DURABLE)
class OrderUnknown(OrderFact, frozen=True, kw_only=True):
    """No usable answer to a create. Resolved by asking, never by sending again."""

    reason: str


@event(EventKind.ORDER_PROVEN_ABSENT, Lane.DURABLE)
class OrderProvenAbsent(OrderFact, frozen=True, kw_only=True):
    """After its expiry the venue knows nothing of the order: it never happened."""

    evidence: str


@event(EventKind.ORDER_CANCEL_FAILED, Lane.DURABLE)
class OrderCancelFailed(OrderFact, frozen=True, kw_only=True):
    """A cancel was refused or got no answer; the order's true state is asked for."""

    reason: str
    definite: bool
    """Whether the venue answered (order unknown or closed) rather than stayed silent."""


@event(EventKind.FOREIGN_ORDER_SEEN, Lane.DURABLE)
class ForeignOrderSeen(Event, frozen=True, kw_only=True):
    """An open order at a venue that is not in our journal. Never cancelled by us."""

    venue: str
    venue_order_id: str
    symbol: str
    detail: str


# --- positions, leases ---------------------------------------------------------------------------


@event(EventKind.POSITION_UPDATED, Lane.DURABLE)
class PositionUpdated(Event, frozen=True, kw_only=True):
    """The net of one asset over venues after a change; USD at the last marks."""

    asset: str
    per_venue: dict[str, Decimal]
    net_usd: Decimal
    gross_usd: Decimal


@event(EventKind.POSITION_ADJUSTED, Lane.DURABLE)
class PositionAdjusted(Event, frozen=True, kw_only=True):
    """Our book was brought to the venue's truth by `delta` base coins, with a reason."""

    venue: str
    account: str
    asset: str
    position_side: PositionSide
    delta: Decimal
    price: Decimal
    reason: str


@event(EventKind.FUNDING_PAID, Lane.DURABLE)
class FundingPaid(Event, frozen=True, kw_only=True):
    """One funding payment in USD; positive was received."""

    venue: str
    account: str
    asset: str
    payment_id: str
    amount_usd: Decimal
    owner: str = ""
    venue_ns: int = 0


@event(EventKind.TRANSFER, Lane.DURABLE)
class Transfer(Event, frozen=True, kw_only=True):
    """Money moved in (positive) or out of an account, in USD; not profit."""

    venue: str
    account: str
    amount_usd: Decimal
    reference: str


@event(EventKind.LEASE_RELEASED, Lane.DURABLE)
class LeaseReleased(Event, frozen=True, kw_only=True):
    """The leg is free again."""

    venue: str
    account: str
    asset: str
    position_side: PositionSide
    owner: str


# --- capital and risk ----------------------------------------------------------------------------


@event(EventKind.CAPITAL_SNAPSHOT_UPDATE, Lane.DURABLE)
class CapitalSnapshotUpdated(Event, frozen=True, kw_only=True):
    """Balances of one venue in USD as the venue told them."""

    venue: str
    equity_usd: Decimal
    free_usd: Decimal
    wallet_usd: Decimal
    from_stream: bool


@event(EventKind.CAPITAL_UPDATED, Lane.LATEST)
class CapitalUpdated(Event, frozen=True, kw_only=True):
    """Pools after a change: pool -> {total, reserved, in_use, available} in USD."""

    pools: dict[str, dict[str, Decimal]]
    drawdown: Decimal


@event(EventKind.FOLLOW_CAPITAL, Lane.STREAM)
class FollowCapital(Event, frozen=True, kw_only=True, gc=False):
    """Look at the pools again, once everything durable of this moment has been folded."""


@event(EventKind.CAPITAL_RESERVED, Lane.DURABLE)
class CapitalReserved(Event, frozen=True, kw_only=True):
    """Margin set aside on every venue of a trade, all or none; `legs` venue -> USD."""

    reservation_id: str
    pool: str
    owner: str
    legs: dict[str, Decimal]
    leverage: dict[str, Decimal]
    expires_ns: int
    """UTC ns; an unsent reservation falls back after it."""


@event(EventKind.CAPITAL_RELEASED, Lane.DURABLE)
class CapitalReleased(Event, frozen=True, kw_only=True):
    """A reservation ended; everything it held is free again."""

    reservation_id: str
    reason: str


@event(EventKind.CAPITAL_REJECTED, Lane.DURABLE)
class CapitalRejected(Event, frozen=True, kw_only=True):
    """A reservation did not fit."""

    pool: str
    venue: str
    asked_usd: Decimal
    free_usd: Decimal
    reason: str


@event(EventKind.RESERVE_TOPPED_UP, Lane.DURABLE)
class ReserveToppedUp(Event, frozen=True, kw_only=True):
    """The reserve pool lent `amount_usd` to `pool` on `venue` (negative gives it back)."""

    venue: str
    pool: str
    amount_usd: Decimal


@event(EventKind.SAFE_MODE_CHANGED, Lane.DURABLE)
class SafeModeChanged(Event, frozen=True, kw_only=True):
    """A venue entered or left safe mode; drawdown is positive."""

    venue: str
    active: bool
    drawdown: Decimal


@event(EventKind.EQUITY_SAMPLED, Lane.DURABLE)
class EquitySampled(Event, frozen=True, kw_only=True):
    """Equity in USD by venue (min of ours and the venue's); the peaks fold from it."""

    per_venue: dict[str, Decimal]
    total_usd: Decimal
    protected: dict[str, Decimal] = {}
    """The same without what hedged legs moved between venues: safe mode looks at this."""


@event(EventKind.DAY_STARTED, Lane.DURABLE)
class DayStarted(Event, frozen=True, kw_only=True):
    """A UTC day began with this equity."""

    day: str
    equity_usd: Decimal


@event(EventKind.RISK_REJECTED, Lane.DURABLE)
class RiskRejected(Event, frozen=True, kw_only=True):
    """A gate refused: first refusal decides, with its number and its limit."""

    gate: str
    layer: str
    rule: str
    value: str
    limit: str
    subject: str
    """What was refused: an opportunity, pair or order id."""
    asset: str = ""


@event(EventKind.HALT_LATCHED, Lane.URGENT)
class HaltLatched(Event, frozen=True, kw_only=True):
    """New risk is refused until a person clears it. `rule` is drawdown, daily_loss or failures."""

    rule: str
    value: str
    limit: str


@event(EventKind.HALT_CLEARED, Lane.DURABLE)
class HaltCleared(Event, frozen=True, kw_only=True):
    """A person cleared a halt, or a new day the one of the day before (actor `calendar`)."""

    rule: str
    actor: str
    reason: str


@event(EventKind.COOLDOWN_STARTED, Lane.DURABLE)
class CooldownStarted(Event, frozen=True, kw_only=True):
    """No new risk in `scope` (an asset, or "all") until `until_ns` (UTC)."""

    scope: str
    until_ns: int
    reason: str
    failures: int = 0


@event(EventKind.OVERRIDE_GRANTED, Lane.DURABLE)
class OverrideGranted(Event, frozen=True, kw_only=True):
    """A person lifted the failure pause for a while; never drawdown, daily loss or kill switch."""

    actor: str
    until_ns: int
    trades: int
    reason: str


@event(EventKind.KILL_SWITCH, Lane.URGENT)
class KillSwitchEngaged(Event, frozen=True, kw_only=True):
    """K1 no opens; K2 and cancel resting; K3 and flatten unhedged; K4 flatten all; K5 exit."""

    level: int
    actor: str
    reason: str


@event(EventKind.KILL_SWITCH_CLEARED, Lane.DURABLE)
class KillSwitchCleared(Event, frozen=True, kw_only=True):
    """A person cleared the latch."""

    actor: str
    reason: str


# --- the node ------------------------------------------------------------------------------------


@event(EventKind.VENUE_RECONCILED, Lane.DURABLE)
class VenueReconciled(Event, frozen=True, kw_only=True):
    """A comparison with the venue ended; opens need `agreed`."""

    venue: str
    agreed: bool
    differences: tuple[str, ...] = ()


class ConnectionState(StrEnum):
    """A venue's ladder: websocket, REST polling, stale, none."""

    LIVE = "live"
    POLLING = "polling"
    STALE = "stale"
    DOWN = "down"


@event(EventKind.VENUE_CONNECTION_CHANGED, Lane.STREAM)
class VenueConnectionChanged(Event, frozen=True, kw_only=True, gc=False):
    """A channel (public, private, trading) of a venue moved on its ladder."""

    venue: str
    channel: str
    state: ConnectionState
    reason: str = ""


@event(EventKind.RUN_STARTED, Lane.DURABLE)
class RunStarted(Event, frozen=True, kw_only=True):
    """A process took over the journal; `epoch` grows with each."""

    epoch: int
    mode: str
    version: str
    config_hash: str


@event(EventKind.RUN_ENDED, Lane.DURABLE)
class RunEnded(Event, frozen=True, kw_only=True):
    """An orderly end."""

    epoch: int
    reason: str


@event(EventKind.NONCES_RESERVED, Lane.DURABLE)
class NoncesReserved(Event, frozen=True, kw_only=True):
    """Requests of an account carry no nonce beyond `until` before a later one is reserved."""

    venue: str
    account: str
    until: int


@event(EventKind.RECORD_PASSED_OVER, Lane.DURABLE)
class RecordPassedOver(Event, frozen=True, kw_only=True):
    """A person decided that a record which cannot be folded is left out of every replay."""

    sequence: int
    record_kind: str
    component: str
    error: str
    actor: str
    reason: str


@event(EventKind.JOURNAL_REPAIRED, Lane.DURABLE)
class JournalRepaired(Event, frozen=True, kw_only=True):
    """A person had damaged parts of the journal moved aside; the venues say what is true now."""

    damage: str
    kept_until: int
    """Last record before the damage that is still part of the journal; 0 where none is."""
    lost: int
    """Records that the state no longer contains, as far as they can be counted."""
    epoch: int
    """Runs up to this number may have sent orders that the journal no longer knows."""
    files: tuple[str, ...]
    actor: str


@event(EventKind.CONFIG_CHANGED, Lane.DURABLE)
class ConfigChanged(Event, frozen=True, kw_only=True):
    """Settings changed while running; values are masked where secret."""

    changes: dict[str, str]
    actor: str


@event(EventKind.COMPONENT_ERROR, Lane.DURABLE)
class ComponentFailed(Event, frozen=True, kw_only=True):
    """A handler or task raised; `traceback` is text."""

    component: str
    error: str
    traceback: str
    quarantined: bool = False


@event(EventKind.BUS_OVERFLOW, Lane.DURABLE)
class BusOverflow(Event, frozen=True, kw_only=True):
    """A lane passed its high-water mark (`active`) or fell below it again."""

    queue: str
    """urgent, durable, stream or latest; "all" when it is over."""
    depth: int
    active: bool


@event(EventKind.ALERT_FIRED, Lane.DURABLE)
class AlertFired(Event, frozen=True, kw_only=True):
    """Something a person should know; fired once an edge."""

    name: str
    severity: str
    text: str


@event(EventKind.HEARTBEAT, Lane.LATEST)
class Heartbeat(Event, frozen=True, kw_only=True, gc=False):
    """A component is alive."""

    component: str
    status: str = "ok"

    @property
    def key(self) -> object:
        """The component."""
        return self.component


@event(EventKind.HEALTH_SNAPSHOT_UPDATE, Lane.LATEST)
class HealthSnapshotUpdated(Event, frozen=True, kw_only=True):
    """0 to 100; a component that cannot be judged is absent, never invented."""

    score: float | None
    components: dict[str, float]
