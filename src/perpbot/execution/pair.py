"""Pair trades: what is planned, where each one is, what each leg holds. Folds from the journal.

A pair is one durable thing of two legs. `TRANSITIONS` holds every legal move of its state; legs
change by booked fills only. A pair that is not FLAT always has a next action: an unsettled order,
or an entry in the agenda (`perpbot.execution.agenda`), which a restart makes anew from this state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from perpbot.domain.errors import StateConflict
from perpbot.domain.events import (
    ClosePair,
    Event,
    FundingPaid,
    OrderFilled,
    OrderIntent,
    PairPlanned,
    PairStateChanged,
    PositionAdjusted,
    SubmitOrders,
    TradeCompleted,
)
from perpbot.domain.money import ONE, ZERO
from perpbot.domain.pairs import PairPlan, ProfitSplit
from perpbot.domain.sides import PairState
from perpbot.portfolio.leases import leg, legs_of

P = PairState

KILL_SWITCH = "kill_switch"
"""Begins the reason of a pair that the kill switch closes."""
KEPT_ENDED = 200
"""Flat pairs that are remembered for executions that are told late."""

TRANSITIONS: Mapping[PairState, frozenset[PairState]] = {
    P.PLANNED: frozenset({P.RESERVED}),
    P.RESERVED: frozenset({P.OPENING}),
    P.OPENING: frozenset({P.HEDGED, P.HEDGING, P.UNWINDING, P.FLAT}),
    P.HEDGING: frozenset({P.HEDGED, P.UNWINDING, P.FLAT}),
    P.HEDGED: frozenset({P.CLOSING, P.UNWINDING}),
    P.UNWINDING: frozenset({P.HEDGED, P.CLOSING, P.FLAT}),
    P.CLOSING: frozenset({P.FLAT}),
    P.FLAT: frozenset(),
}
"""PLANNED, RESERVED, OPENING, HEDGED, CLOSING, FLAT is the good way; HEDGING completes a leg that
filled less, UNWINDING takes back what could not be completed. One record, PAIR_PLANNED, takes a
pair from PLANNED over RESERVED to OPENING."""


class LegState(msgspec.Struct):
    """One leg of a pair; `quantity` is signed base coins, money is USD."""

    quantity: Decimal = ZERO
    opened: Decimal = ZERO
    """Base coins ever traded in the direction of the plan."""
    cash: Decimal = ZERO
    fees: Decimal = ZERO
    funding: Decimal = ZERO
    last_price: Decimal = ZERO
    """Of the newest fill, settle currency."""
    usd_rate: Decimal = ONE
    """USD for one unit of settle currency at the newest fill."""

    @property
    def worth(self) -> Decimal:
        """What was earned by trading and what is held at the last price, USD."""
        return self.cash + self.quantity * self.last_price * self.usd_rate


class Pair(msgspec.Struct, kw_only=True):
    """One pair trade."""

    plan: PairPlan
    state: PairState
    long: LegState
    short: LegState
    planned_ns: int = 0
    hedged_ns: int = 0
    first_fill_ns: int = 0
    unhedged_since_ns: int = 0
    """When the legs began to differ; 0 while they agree."""
    worst_unhedged_ns: int = 0
    attempts: int = 0
    """Orders ever sent for this pair; numbers the next client id."""
    close_reason: str = ""

    @property
    def imbalance(self) -> Decimal:
        """Long plus short quantity: what is not hedged, signed base coins."""
        return self.long.quantity + self.short.quantity

    @property
    def matched(self) -> Decimal:
        """Base coins that both legs hold."""
        return max(min(self.long.quantity, -self.short.quantity), ZERO)

    @property
    def reversed(self) -> Decimal:
        """Base coins that both legs hold the other way round: others traded there."""
        return max(min(-self.long.quantity, self.short.quantity), ZERO)

    @property
    def killed(self) -> bool:
        """Whether the kill switch wants it gone."""
        return self.close_reason.startswith(KILL_SWITCH)

    @property
    def has_opened(self) -> bool:
        """Whether both legs had a fill."""
        return self.long.opened > 0 and self.short.opened > 0

    def leg(self, index: int) -> LegState:
        """0 is the long leg, 1 the short one."""
        return self.short if index else self.long

    def venue(self, index: int) -> str:
        """Return the venue of a leg."""
        return self.plan.short_venue if index else self.plan.long_venue

    def account(self, index: int) -> str:
        """Return the account of a leg."""
        return self.plan.account_short if index else self.plan.account_long

    def profit(self) -> ProfitSplit:
        """Profit in USD; exact once both legs are flat, else with what is held at last prices."""
        return ProfitSplit(
            price=self.long.worth + self.short.worth,
            fees=-(self.long.fees + self.short.fees),
            funding=self.long.funding + self.short.funding,
        )


def check_move(before: PairState, after: PairState) -> None:
    """Raise `StateConflict` unless the table allows the move."""
    if after not in TRANSITIONS[before]:
        raise StateConflict(f"a pair that is {before} cannot become {after}")


class PairBook:
    """Every pair that is not flat. Folds from the journal."""

    name = "pairs"

    def __init__(self) -> None:
        self._pairs: dict[str, Pair] = {}
        self._orders: dict[str, tuple[str, int]] = {}
        self._sent: dict[str, list[str]] = {}
        """By pair: its orders in that table."""
        self._ended: dict[str, PairPlan] = {}
        self.opened = 0
        """Pairs whose both legs had a fill."""
        self.closed = 0
        """Of those, how many are flat again."""
        self.worst_unhedged_ns = 0
        self.realised = ProfitSplit()
        self._settled_moves: dict[str, Decimal] = {}

    # --- reading ---

    def get(self, pair_id: str) -> Pair | None:
        """Return a pair that is not flat."""
        return self._pairs.get(pair_id)

    def __iter__(self) -> Iterator[Pair]:
        return iter(tuple(self._pairs.values()))

    def __len__(self) -> int:
        return len(self._pairs)

    def at_venue(self, venue: str) -> int:
        """Return how many pairs use a venue."""
        count = 0
        for pair in self._pairs.values():
            count += venue in (pair.plan.long_venue, pair.plan.short_venue)
        return count

    def moved(self, mark: Callable[[str, str], Decimal | None]) -> dict[str, Decimal] | None:
        """Return what the legs of all pairs lost on a venue and won on the other, by venue, USD.

        Positive where a leg lost. None while `mark(venue, asset)` does not know a held leg.
        """
        total = dict(self._settled_moves)
        for pair in self._pairs.values():
            profits = []
            for index in (0, 1):
                leg = pair.leg(index)
                price = mark(pair.venue(index), pair.plan.asset) if leg.quantity else ZERO
                if price is None:
                    return None
                profits.append(leg.cash + leg.quantity * price)
            _add_moved(total, pair, profits[0], profits[1])
        return total

    def owner_of(self, venue: str, account: str, asset: str) -> str:
        """Return the id of the pair that holds a leg, or ""."""
        for pair in self._pairs.values():
            for index in (0, 1):
                place = (pair.venue(index), pair.account(index), pair.plan.asset)
                if place == (venue, account, asset):
                    return pair.plan.pair_id
        return ""

    # --- folding ---

    def newest_order(self, pair_id: str, leg: int) -> str:
        """Return the id of the last order that a leg sent, or ""."""
        sent = reversed(self._sent.get(pair_id, ()))
        return next((found for found in sent if self._orders[found][1] == leg), "")

    def folds(self) -> Mapping[type[Event], Any]:
        """What it lives on."""
        return {
            PairPlanned: self._planned,
            PairStateChanged: self._moved,
            SubmitOrders: self._submitted,
            OrderFilled: self._filled,
            PositionAdjusted: self._adjusted,
            FundingPaid: self._funded,
            ClosePair: self._close,
            TradeCompleted: self._completed,
        }

    def _planned(self, event: PairPlanned) -> None:
        pair_id = event.plan.pair_id
        if pair_id in self._pairs:
            raise StateConflict(f"pair {pair_id} is planned twice")
        self._pairs[pair_id] = Pair(
            plan=event.plan,
            state=P.OPENING,
            long=LegState(),
            short=LegState(),
            planned_ns=event.ts_ns,
        )
        self._submitted(event)

    def _moved(self, event: PairStateChanged) -> None:
        pair = self._pairs.get(event.pair_id)
        if pair is None:
            return
        check_move(pair.state, event.after)
        pair.state = event.after
        if event.after is P.HEDGED and not pair.hedged_ns:
            pair.hedged_ns = event.ts_ns

    def _submitted(self, event: OrderIntent) -> None:
        for request in event.orders:
            pair = self._pairs.get(request.owner)
            if pair is not None:
                self._orders[request.client_id] = (request.owner, request.leg)
                self._sent.setdefault(request.owner, []).append(request.client_id)
                pair.attempts += 1

    def _filled(self, event: OrderFilled) -> None:
        place = self._place(event)
        if place is None:
            return
        pair = self._pairs.get(place[0]) or self._revive(place[0], event.ts_ns)
        was_open = pair.has_opened
        leg, index = pair.leg(place[1]), place[1]
        leg.usd_rate = event.usd_rate
        _book(leg, event.quantity * event.side.sign, event.price)
        leg.fees += event.fee_usd
        if event.client_id and (event.side.sign > 0) == (index == 0):
            leg.opened += event.quantity
        if not pair.first_fill_ns:
            pair.first_fill_ns = event.ts_ns
        if pair.has_opened and not was_open:
            self.opened += 1
        self._measure(pair, event.ts_ns)

    def _place(self, event: OrderFilled) -> tuple[str, int] | None:
        """Return pair and leg: of our order, or of the leg that the venue itself moved (ADL)."""
        place = self._orders.get(event.client_id) if event.client_id else None
        if place is not None and place[0] in self._pairs:
            return place
        # Whoever holds the leg now takes what came late; it stands against his position.
        holder = self._leg_of(event)
        return holder or place

    def _revive(self, pair_id: str, ts_ns: int) -> Pair:
        """Begin a pair again that was flat: an execution was told after its end."""
        pair = Pair(
            plan=self._ended.pop(pair_id),
            state=PairState.UNWINDING,
            long=LegState(),
            short=LegState(),
            planned_ns=ts_ns,
            close_reason="late_fill",
        )
        self._pairs[pair_id] = pair
        return pair

    def _leg_of(self, event: OrderFilled | PositionAdjusted) -> tuple[str, int] | None:
        """Return the pair that holds a leg, and which one; the other side of it is not its."""
        key = leg(event.venue, event.account, event.asset, event.position_side)
        for pair_id, pair in self._pairs.items():
            legs = legs_of(pair.plan)
            if key in legs:
                return pair_id, legs.index(key)
        return None

    def _adjusted(self, event: PositionAdjusted) -> None:
        place = self._leg_of(event)
        if place is not None:
            pair = self._pairs[place[0]]
            _book(pair.leg(place[1]), event.delta, event.price)
            self._measure(pair, event.ts_ns)

    def _measure(self, pair: Pair, ts_ns: int) -> None:
        """Keep the time that the legs differ, from the fill that parted them to its cover."""
        if pair.imbalance != 0:
            pair.unhedged_since_ns = pair.unhedged_since_ns or ts_ns
            return
        if pair.unhedged_since_ns:
            spell = ts_ns - pair.unhedged_since_ns
            pair.worst_unhedged_ns = max(pair.worst_unhedged_ns, spell)
            self.worst_unhedged_ns = max(self.worst_unhedged_ns, spell)
            pair.unhedged_since_ns = 0

    def _funded(self, event: FundingPaid) -> None:
        pair = self._pairs.get(event.owner)
        if pair is not None:
            pair.leg(int(event.venue == pair.plan.short_venue)).funding += event.amount_usd

    def _close(self, event: ClosePair) -> None:
        pair = self._pairs.get(event.pair_id)
        if pair is None:
            return
        if not pair.close_reason or (event.reason.startswith(KILL_SWITCH) and not pair.killed):
            pair.close_reason = event.reason

    def _completed(self, event: TradeCompleted) -> None:
        pair = self._pairs.pop(event.pair_id, None)
        if pair is None:
            return
        _add_moved(self._settled_moves, pair, pair.long.worth, pair.short.worth)
        self.closed += event.opened
        self.realised = self.realised.plus(event.pnl)
        self._ended[event.pair_id] = pair.plan
        if len(self._ended) > KEPT_ENDED:
            self._forget(next(iter(self._ended)))

    def _forget(self, pair_id: str) -> None:
        del self._ended[pair_id]
        for client_id in self._sent.pop(pair_id, ()):
            del self._orders[client_id]

    # --- surviving ---

    def snapshot(self) -> object:
        """The book as plain values."""
        return {
            "pairs": list(self._pairs.values()),
            "orders": [[key, *place] for key, place in self._orders.items()],
            "ended": list(self._ended.values()),
            "opened": self.opened,
            "closed": self.closed,
            "worst_unhedged_ns": self.worst_unhedged_ns,
            "realised": self.realised,
            "moved": self._settled_moves,
        }

    def restore(self, state: Any) -> None:
        """Take over a snapshot."""
        pairs = msgspec.convert(state["pairs"], list[Pair], strict=False)
        self._pairs = {pair.plan.pair_id: pair for pair in pairs}
        self._orders = {row[0]: (row[1], row[2]) for row in state["orders"]}
        self._sent = {}
        for client_id, (owner, _) in self._orders.items():
            self._sent.setdefault(owner, []).append(client_id)
        ended = msgspec.convert(state["ended"], list[PairPlan], strict=False)
        self._ended = {plan.pair_id: plan for plan in ended}
        self.opened = state["opened"]
        self.closed = state["closed"]
        self.worst_unhedged_ns = state["worst_unhedged_ns"]
        self.realised = msgspec.convert(state["realised"], ProfitSplit, strict=False)
        self._settled_moves = msgspec.convert(state["moved"], dict[str, Decimal], strict=False)


def _add_moved(total: dict[str, Decimal], pair: Pair, long: Decimal, short: Decimal) -> None:
    """Add what one leg lost and the other won; two legs that both lost moved nothing."""
    if long * short < 0:
        amount = min(abs(long), abs(short)) * (1 if long < 0 else -1)
        for venue, signed in ((pair.venue(0), amount), (pair.venue(1), -amount)):
            total[venue] = total.get(venue, ZERO) + signed


def _book(leg: LegState, signed: Decimal, price: Decimal) -> None:
    leg.quantity += signed
    leg.cash -= price * leg.usd_rate * signed
    leg.last_price = price
