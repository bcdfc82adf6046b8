"""What a restart would do, and why: the restart itself, with nobody behind the doors.

The recovered state is given to a core in virtual time that writes to memory and has no venue. It
starts as any node starts, and what it decides in the first moment is what a restart would decide:
the same watch, the same pair trader, the same gates, no second opinion. The folds are used up.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal

import msgspec

from perpbot import __version__
from perpbot.app.core import Core
from perpbot.app.markets import Markets
from perpbot.app.recovery import Recovered
from perpbot.configuration import Settings
from perpbot.domain.events import (
    AlertFired,
    CancelOrders,
    ClosePair,
    EvaluatePair,
    Event,
    FollowCapital,
    OrderUnknown,
    PairStateChanged,
    QueryOrder,
    ReconcileVenue,
    RiskRejected,
    RunStarted,
    SubmitOrders,
    TradeCompleted,
)
from perpbot.domain.money import ZERO, plain
from perpbot.domain.orders import OrderRequest
from perpbot.domain.sides import OrderState
from perpbot.execution.pair import Pair
from perpbot.kernel.bus import BusHalted
from perpbot.kernel.clock import MS, SECOND, Clock, Timers, VirtualTime
from perpbot.kernel.journal.memory import MemoryJournal
from perpbot.portfolio.intake import ReportIntake
from perpbot.portfolio.orders import Order

LOOK_NS = 500 * MS
"""How far into the restart is looked: every first question has been asked by then."""
_UNANSWERED = frozenset({OrderState.INTENT, OrderState.SENT, OrderState.UNKNOWN})
_INTERNAL = (EvaluatePair, FollowCapital, RunStarted)


class Step(msgspec.Struct, frozen=True):
    """Something that the restart does."""

    after_ms: int
    kind: str
    text: str


class OrderOutlook(msgspec.Struct, frozen=True, kw_only=True):
    """One order that was at work, and what becomes of it."""

    client_id: str
    pair: str
    venue: str
    asset: str
    purpose: str
    side: str
    quantity: Decimal
    filled: Decimal
    price: Decimal | None
    state: str
    since_ns: int
    awaits: str
    """What ends it: an answer, its fills, a proof of absence."""
    steps: tuple[Step, ...]


class PairOutlook(msgspec.Struct, frozen=True, kw_only=True):
    """One pair that is not flat, and its next action."""

    pair: str
    asset: str
    state: str
    long_venue: str
    long_quantity: Decimal
    short_venue: str
    short_quantity: Decimal
    imbalance: Decimal
    unhedged_since_ns: int
    close_reason: str
    orders: tuple[str, ...]
    steps: tuple[Step, ...]
    state_after: str
    """After these steps, before any venue has answered."""
    next_look_ms: int | None
    """When it is looked at again by itself; None where only news moves it."""


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """A leg with a position that no pair holds: dust, or something that nobody hedges."""

    venue: str
    account: str
    asset: str
    side: str
    quantity: Decimal
    held_by_pairs: Decimal
    dust: bool
    """Whether what no pair holds is less than one step of the instrument."""


class VenueOutlook(msgspec.Struct, frozen=True, kw_only=True):
    """One venue: nothing opens there before it has agreed with our books."""

    venue: str
    whole_until_ns: int
    """Up to when the books are known to be whole: executions are asked for from then on."""
    refusal: str
    """Why nothing opens there at first."""


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a restart would find and do."""

    epoch: int
    """The run that would begin."""
    orders: tuple[OrderOutlook, ...]
    pairs: tuple[PairOutlook, ...]
    reservations: tuple[dict[str, object], ...]
    leases: tuple[dict[str, str], ...]
    latches: dict[str, object]
    venues: tuple[VenueOutlook, ...]
    holdings: tuple[Holding, ...]
    others: tuple[Step, ...]
    """Steps that belong to no order and no pair."""
    halted: str
    """What would stop the restart at once; empty where nothing does."""


class Rehearsal:
    """A core that is about to start; `look` starts it and tells what it did."""

    def __init__(
        self,
        settings: Settings,
        markets: Markets,
        recovered: Recovered,
        clock: Clock,
        timers: Timers,
    ) -> None:
        self._recovered = recovered
        self._clock = clock
        self._started_ns = clock.now_ns()
        self._heard: list[tuple[int, Event]] = []
        self.core = Core(
            settings,
            markets,
            recovered.folds,
            clock=clock,
            timers=timers,
            rng=random.Random(0),
            journal=MemoryJournal(),
        )
        self.core.bus.subscribe(Event, self._hear)
        self._orders = tuple(self._order(order) for order in self.core.folds.orders.unsettled())
        self._pairs = tuple(self._pair(pair) for pair in self.core.folds.pairs)
        self._latches = _latches(self.core, self._started_ns)
        self._holdings = tuple(_holdings(self.core))
        self._reservations = tuple(
            {
                "reservation": found.reservation_id,
                "pool": found.pool,
                "owner": found.owner,
                "legs": found.legs,
                "used": found.used,
                "sent": found.sent,
                "expires_ns": found.expires_ns,
            }
            for found in self.core.folds.reservations
        )
        self._leases = tuple(_leases(self.core))

    def _hear(self, event: Event) -> None:
        if not isinstance(event, _INTERNAL):
            self._heard.append((self._clock.now_ns() - self._started_ns, event))

    def start(self) -> str:
        """Start the core as a node would; return what halted it, or ""."""
        try:
            self.core.start(mode=self.core.settings.mode, version=__version__)
        except BusHalted as halt:
            return str(halt)
        return ""

    def outlook(self, halted: str = "") -> Outlook:
        """Tell what was found and what has been done so far."""
        by_order: dict[str, list[Step]] = {}
        by_pair: dict[str, list[Step]] = {}
        others: list[Step] = []
        orders = {found.client_id for found in self._orders}
        pairs = {found.pair for found in self._pairs}
        for after_ns, event in self._heard:
            step = Step(after_ns // MS, event.kind, text_of(event, self.core))
            named = [name for name in _orders_of(event) if name in orders]
            pair = getattr(event, "pair_id", "") or event.correlation_id
            for name in named:
                by_order.setdefault(name, []).append(step)
            if pair in pairs:
                by_pair.setdefault(pair, []).append(step)
            elif not named:
                others.append(step)
        runs = self.core.folds.runs
        return Outlook(
            epoch=runs.epoch,
            orders=tuple(
                msgspec.structs.replace(found, steps=tuple(by_order.get(found.client_id, ())))
                for found in self._orders
            ),
            pairs=tuple(
                msgspec.structs.replace(
                    found,
                    steps=tuple(by_pair.get(found.pair, ())),
                    state_after=self._state_after(found.pair),
                    next_look_ms=self._next_look_ms(found.pair),
                )
                for found in self._pairs
            ),
            reservations=self._reservations,
            leases=self._leases,
            latches=self._latches,
            venues=tuple(
                VenueOutlook(
                    venue=venue,
                    whole_until_ns=runs.whole_until_ns(venue),
                    refusal=self.core.readiness.refusal(venue),
                )
                for venue in self.core.markets.capabilities
            ),
            holdings=self._holdings,
            others=tuple(others),
            halted=halted,
        )

    def _state_after(self, pair_id: str) -> str:
        pair = self.core.folds.pairs.get(pair_id)
        return "flat" if pair is None else str(pair.state)

    def _next_look_ms(self, pair_id: str) -> int | None:
        due_ns = self.core.trader.next_look_ns(pair_id)
        return None if due_ns is None else max(due_ns - self._clock.monotonic_ns(), 0) // MS

    def _order(self, order: Order) -> OrderOutlook:
        request = order.request
        return OrderOutlook(
            client_id=request.client_id,
            pair=request.owner,
            venue=request.venue,
            asset=request.asset,
            purpose=request.purpose,
            side=request.side,
            quantity=request.quantity,
            filled=order.filled,
            price=request.price,
            state=order.state,
            since_ns=order.updated_ns,
            awaits=_awaits(order, self.core.intake),
            steps=(),
        )

    def _pair(self, pair: Pair) -> PairOutlook:
        return PairOutlook(
            pair=pair.plan.pair_id,
            asset=pair.plan.asset,
            state=pair.state,
            long_venue=pair.plan.long_venue,
            long_quantity=pair.long.quantity,
            short_venue=pair.plan.short_venue,
            short_quantity=pair.short.quantity,
            imbalance=pair.imbalance,
            unhedged_since_ns=pair.unhedged_since_ns,
            close_reason=pair.close_reason,
            orders=tuple(
                order.request.client_id
                for order in self.core.folds.orders.of_owner(pair.plan.pair_id)
            ),
            steps=(),
            state_after="",
            next_look_ms=None,
        )


def rehearse(settings: Settings, markets: Markets, recovered: Recovered, now_ns: int) -> Outlook:
    """Start a core on what was recovered, at `now_ns`, without any venue; tell what it did."""
    time = VirtualTime(now_ns)
    rehearsal = Rehearsal(settings, markets, recovered, time, time)
    halted = rehearsal.start()
    if not halted:
        try:
            time.run_until(now_ns + LOOK_NS)
        except BusHalted as halt:
            halted = str(halt)
    return rehearsal.outlook(halted)


# --- in words ---


def _awaits(order: Order, intake: ReportIntake) -> str:
    if order.state in _UNANSWERED:
        return f"an answer by its client id; {intake.terms_of_absence(order)}"
    owed = intake.filled_by_venue(order) - order.filled
    if owed > 0:
        return f"executions of {plain(owed)} that the venue spoke of and has not told"
    if order.state is OrderState.PENDING_CANCEL:
        return "the end that its cancel brings; a cancel without an answer is asked for again"
    return "its end: it rests at the venue and is still ours"


def _orders_of(event: Event) -> tuple[str, ...]:
    many: tuple[str, ...] = getattr(event, "client_ids", ())
    one: str = getattr(event, "client_id", "")
    # Questions for missing executions name their order by correlation.
    return many or (one or event.correlation_id,)


def text_of(event: Event, core: Core) -> str:
    """Say one step in plain words."""
    say: dict[type[Event], Callable[..., str]] = {
        AlertFired: lambda e: f"tells a person: {e.text}",
        CancelOrders: lambda e: f"cancels {len(e.client_ids)} of its orders: {e.reason}",
        ClosePair: lambda e: f"leaves: {e.reason}",
        OrderUnknown: lambda e: f"takes its outcome for unknown: {e.reason}",
        PairStateChanged: lambda e: f"{e.before} to {e.after}: {e.reason}",
        QueryOrder: lambda e: f"asks the venue for it{_known_as(core, e.client_id)}",
        ReconcileVenue: lambda e: f"compares everything with {e.venue}: {e.reason}",
        RiskRejected: lambda e: f"is refused at the {e.gate} gate: {e.rule} {e.value}, {e.limit}",
        SubmitOrders: lambda e: "; ".join(_sends(order) for order in e.orders),
        TradeCompleted: lambda e: f"is flat: {e.exit_reason}, net {plain(e.pnl.net)} USD",
    }
    found = say.get(type(event))
    if found is not None:
        return found(event)
    return event.kind.lower().replace("_", " ")


def _known_as(core: Core, client_id: str) -> str:
    order = core.folds.orders.get(client_id)
    return f" (there {order.venue_order_id})" if order and order.venue_order_id else ""


def _sends(order: OrderRequest) -> str:
    price = "market" if order.price is None else plain(order.price)
    only = ", reduce-only" if order.reduce_only else ""
    return (
        f"{order.purpose}s by a {order.side} of {plain(order.quantity)} {order.asset} on "
        f"{order.venue} at {price} {order.time_in_force}{only}"
    )


def _latches(core: Core, now_ns: int) -> dict[str, object]:
    latches = core.folds.latches
    override = latches.override if latches.overridden(now_ns) else None
    return {
        "kill_level": latches.kill_level,
        "kill_reason": latches.kill_reason,
        "halts": dict(latches.halts),
        "cooldowns": latches.cooling(now_ns),
        "safe_mode": [
            venue
            for venue in core.markets.capabilities
            if core.folds.equity.safe_since_ns(venue) is not None
        ],
        "override": None if override is None else msgspec.to_builtins(override),
    }


def _leases(core: Core) -> list[dict[str, str]]:
    return [
        {"venue": key[0], "account": key[1], "asset": key[2], "side": key[3], "owner": owner}
        for key, owner in core.folds.leases.items()
    ]


def _holdings(core: Core) -> list[Holding]:
    """Return the legs whose position is not what the pairs hold there."""
    by_pairs: dict[tuple[str, str, str, str], Decimal] = {}
    for pair in core.folds.pairs:
        for index in (0, 1):
            venue = pair.venue(index)
            side = core.around.position_side(venue, index)
            key = (venue, pair.account(index), pair.plan.asset, str(side))
            by_pairs[key] = by_pairs.get(key, ZERO) + pair.leg(index).quantity
    found = []
    for key, position in core.folds.positions.held():
        venue, account, asset, position_side = key
        held = by_pairs.get(key, ZERO)
        rest = position.quantity - held
        if rest:
            instrument = core.markets.instruments.get((venue, asset))
            found.append(
                Holding(
                    venue=venue,
                    account=account,
                    asset=asset,
                    side=position_side,
                    quantity=position.quantity,
                    held_by_pairs=held,
                    dust=instrument is not None and abs(rest) < instrument.quantity_step,
                )
            )
    return found


def seconds_since(ts_ns: int, now_ns: int) -> float:
    """Return an age in seconds; 0 for what never was."""
    return (now_ns - ts_ns) / SECOND if ts_ns else 0.0
