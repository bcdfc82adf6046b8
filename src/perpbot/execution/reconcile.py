"""Keeps our books and every venue's in agreement: asks, compares, acts on what is seen twice.

At the start, after every reconnect of a private stream and on a timer from the venue's budget.
Executions and orders that were missed are taken in at once (they are facts with ids of their own);
a position that differs is adjusted only when the same difference is seen again and nothing of ours
is under way there, as a journalled event with a reason and an alarm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

from perpbot.domain.capabilities import Capabilities, Lookup
from perpbot.domain.events import (
    AccountReported,
    AlertFired,
    ConnectionState,
    PositionAdjusted,
    QueryOrder,
    ReconcileVenue,
    VenueConnectionChanged,
    VenueReconciled,
    VenueSnapshot,
)
from perpbot.domain.orders import OrderReport
from perpbot.domain.sides import RESTING, OrderState, PositionSide
from perpbot.execution.watch import MISSING_FILLS
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import SECOND, Clock, TimerHandle, Timers
from perpbot.portfolio.comparison import (
    PositionDifference,
    position_differences,
    unlisted_orders,
)
from perpbot.portfolio.intake import ReportIntake
from perpbot.portfolio.leases import Leg
from perpbot.portfolio.orders import Order, OrderTable
from perpbot.portfolio.positions import PositionBook

FIRST_LOOKBACK_NS = 3_600 * SECOND
OVERLAP_NS = 60 * SECOND
"""How far before the last answer executions are asked for again: a venue may list them late."""
CALM_OVERLAP_NS = 10 * SECOND
"""The same while books and venue agree. What is listed later than that shows as a difference."""
UNANSWERED = "unanswered"
"""Why a venue is asked again whose answer has not come."""
UNANSWERED_RETRY_NS = SECOND
PAYMENTS_LOOKBACK_NS = 3_600 * SECOND
"""Funding and transfers are asked for this much further back: they are few, have ids, venues list
them minutes late, and no position tells that one is missing."""
_TIMER, _MISSED_FILLS = "timer", "missed_fills"
_CALM = frozenset({_TIMER, _MISSED_FILLS})
"""Why a venue is asked that showed no difference the last time. An answer that overtakes the
stream is no sign of one: with many orders a second that happens again and again."""
ANSWER_LIMIT_NS = 15 * SECOND
SETTLED_AFTER_NS = 2 * SECOND
"""After its intent (and expiry), and between two answers that miss it: then an order has ended."""
STUBBORN_NS = 10 * SECOND
"""A difference that stays the same for so long is not made by the orders that move its leg."""


class ReconcileDriver:
    """See the module."""

    def __init__(
        self,
        bus: EventBus,
        clock: Clock,
        timers: Timers,
        orders: OrderTable,
        book: PositionBook,
        intake: ReportIntake,
        capabilities: Iterable[Capabilities],
        *,
        confirmations: int = 2,
        quiet_s: float = 5.0,
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._timers = timers
        self._orders = orders
        self._book = book
        self._intake = intake
        known = tuple(capabilities)
        self._interval_ns = {c.venue: int(c.reconcile_interval_s * SECOND) for c in known}
        self._forgets = frozenset(c.venue for c in known if c.lookup is not Lookup.FULL)
        """Venues that do not find an order by its id once it has ended."""
        self._confirmations = confirmations
        self._quiet_ns = int(quiet_s * SECOND)
        self._first_ns: dict[str, int] = {}
        """By venue: from when on executions may not be booked, before its first full answer."""
        self._heard_ns: dict[str, int] = {}
        """By venue: when the question left (UTC) that was answered in full last."""
        self._whole_until_ns: Callable[[str], int] | None = None
        self._moved_since_ns: dict[str, int] = {}
        """From when on transfers may not be known, by venue."""
        self._born_ns = 0
        self._asked: dict[str, TimerHandle] = {}
        self._live_ns: dict[str, int] = {}
        """By venue: when its private stream came up last (monotonic)."""
        self._seen: dict[tuple[Leg, Decimal], tuple[int, int]] = {}
        """Differences: how often they were seen, and when last (UTC)."""
        self._moving_ns: dict[tuple[Leg, Decimal], int] = {}
        """Differences of legs that orders of ours are moving: when first seen (monotonic)."""
        self._missed_ns: dict[str, int] = {}
        """By client id: when an answer first missed an order that should rest."""
        self._stopped = False
        bus.subscribe(VenueSnapshot, self._on_snapshot)
        bus.subscribe(VenueConnectionChanged, self._on_connection)

    def start(
        self, whole_until_ns: Callable[[str], int] | None = None, *, born_ns: int = 0
    ) -> None:
        """Compare every venue now, and from then on by its interval.

        `whole_until_ns(venue)` is up to when our books are known to be whole (UTC): executions
        are asked for from then on, however long ago it is. Without it: the last hour. `born_ns`
        is when they began: what moved before is part of what was there.
        """
        self._whole_until_ns = whole_until_ns
        self._born_ns = born_ns
        for venue in self._interval_ns:
            self._ask(venue, "start")

    def stop(self) -> None:
        """Ask no more; answers that are under way are still taken in."""
        self._stopped = True
        for timer in self._asked.values():
            timer.cancel()

    # --- asking ---

    def ask(self, venue: str, reason: str) -> None:
        """Ask a venue now, whatever its turn is."""
        if not self._stopped and venue in self._interval_ns:
            self._ask(venue, reason)

    def _ask(self, venue: str, reason: str) -> None:
        previous = self._asked.pop(venue, None)
        if previous is not None:
            previous.cancel()
        now_ns = self._clock.now_ns()
        overlap_ns = CALM_OVERLAP_NS if reason in _CALM else OVERLAP_NS
        since_ns = self._since_ns(venue, now_ns, OVERLAP_NS)
        # A question that is never answered is asked again.
        self._ask_later(venue, UNANSWERED, ANSWER_LIMIT_NS)
        self._bus.publish(
            ReconcileVenue(
                ts_ns=now_ns,
                venue=venue,
                reason=reason,
                fills_since_ns=self._since_ns(venue, now_ns, overlap_ns),
                funding_since_ns=self._payments_since_ns(since_ns),
                transfers_since_ns=self._payments_since_ns(
                    self._moved_since_ns.setdefault(venue, since_ns)
                ),
            )
        )

    def _since_ns(self, venue: str, now_ns: int, overlap_ns: int) -> int:
        heard_ns = self._heard_ns.get(venue)
        if heard_ns is not None:
            return max(heard_ns - overlap_ns, 0)
        if venue not in self._first_ns:
            whole_until_ns = self._whole_until_ns
            self._first_ns[venue] = (
                max(now_ns - FIRST_LOOKBACK_NS, 0)
                if whole_until_ns is None
                else whole_until_ns(venue)
            )
        return self._first_ns[venue]

    def _payments_since_ns(self, known_ns: int) -> int:
        return max(known_ns - PAYMENTS_LOOKBACK_NS, self._born_ns, 0)

    def _ask_later(self, venue: str, reason: str, delay_ns: int) -> None:
        previous = self._asked.pop(venue, None)
        if previous is not None:
            previous.cancel()
        if self._stopped:
            return
        self._asked[venue] = self._timers.call_later(delay_ns, lambda: self._ask(venue, reason))

    def _on_connection(self, event: VenueConnectionChanged) -> None:
        if (
            event.channel == "private"
            and event.state is ConnectionState.LIVE
            and event.venue in self._interval_ns
        ):
            self._live_ns[event.venue] = self._clock.monotonic_ns()
            self._ask(event.venue, "reconnect")

    # --- comparing ---

    def _on_snapshot(self, snapshot: VenueSnapshot) -> None:
        venue = snapshot.venue
        if venue not in self._interval_ns:
            return
        missed = self._take_in(snapshot)
        for order in unlisted_orders(snapshot, self._orders.unsettled()):
            self._bus.publish(QueryOrder(ts_ns=snapshot.ts_ns, client_id=order.request.client_id))
        if snapshot.asked_ns < self._live_ns.get(venue, snapshot.asked_ns):
            return  # it says nothing of what the stream missed since; the next one is under way
        if not snapshot.complete:
            self._conclude(venue, agreed=False, texts=(f"no full answer: {snapshot.error}",))
            self._ask_later(venue, "retry", UNANSWERED_RETRY_NS)
            return
        # What an order asked for may look back less far; payments that failed are missing still.
        if snapshot.reason != MISSING_FILLS and snapshot.funding is not None:
            self._heard_ns[venue] = self._asked_at_ns(snapshot)
        if missed:
            # What was missed is folded after this; the positions are compared with that next time.
            self._ask_later(venue, _MISSED_FILLS, 0)
            return
        if venue in self._forgets:
            self._judge_missing(snapshot)
        differences = self._differences(snapshot)
        texts = [difference.text for difference in differences]
        self._conclude(venue, agreed=not differences, texts=tuple(texts))
        soon = bool(differences)
        self._ask_later(
            venue, "confirm" if soon else _TIMER, SECOND if soon else self._interval_ns[venue]
        )

    def _take_in(self, snapshot: VenueSnapshot) -> bool:
        """Take in what are facts of their own; return whether executions were missed."""
        venue = snapshot.venue
        for report in snapshot.orders or ():
            self._intake.take_order(report)
        taken = [self._intake.take_fill(fill, reconciled=True) for fill in snapshot.fills or ()]
        for payment in snapshot.funding or ():
            self._intake.take_funding(payment)
        # Before the balances, which contain them.
        for transfer in snapshot.transfers or ():
            self._intake.take_transfer(transfer)
        if snapshot.transfers is not None:
            self._moved_since_ns[venue] = snapshot.ts_ns
        if snapshot.balances:
            self._bus.publish(
                AccountReported(
                    ts_ns=snapshot.ts_ns,
                    source="reconcile",
                    venue=venue,
                    balances=snapshot.balances,
                )
            )
        return any(taken)

    def _judge_missing(self, snapshot: VenueSnapshot) -> None:
        """Judge orders that complete answers neither list as open nor as newly filled.

        Where an ended order is not found by its id, asking for it would never end. What was known
        to rest and is missed twice has ended with the fills that are booked; what was unknown goes
        to the intake, which judges whether its absence is proof already.
        """
        listed = {report.client_id for report in snapshot.orders or ()}
        asked_ns = self._asked_at_ns(snapshot)
        unsettled = {order.request.client_id: order for order in self._orders.unsettled()}
        self._missed_ns = {key: ns for key, ns in self._missed_ns.items() if key in unsettled}
        for order in unsettled.values():
            request = order.request
            if request.venue != snapshot.venue or order.state.is_end:
                continue
            if request.client_id in listed:
                self._missed_ns.pop(request.client_id, None)
            elif asked_ns > max(order.created_ns, request.expires_ns) + SETTLED_AFTER_NS:
                first_ns = self._missed_ns.setdefault(request.client_id, asked_ns)
                if order.state not in RESTING or asked_ns - first_ns >= SETTLED_AFTER_NS:
                    self._missed_ns.pop(request.client_id, None)
                    self._intake.take_order(_missing(order, snapshot.ts_ns))

    def _differences(self, snapshot: VenueSnapshot) -> list[PositionDifference]:
        """Return differences that stand; adjust those that have been seen often enough.

        One that was seen before and may be moving just now is looked at again soon: a leg whose
        orders are refused one after the other would else never be seen twice in a row.
        """
        differing = position_differences(snapshot, self._book)
        found = {(d.key, d.theirs - d.ours): d for d in differing or ()}
        seen = {k: d for k, d in found.items() if not self._under_way(d.key, snapshot)}
        self._seen = {
            key: count
            for key, count in self._seen.items()
            if key[0][0] != snapshot.venue or key in found
        }
        open_differences = [d for k, d in found.items() if k in self._seen and k not in seen]
        moving = {k: d for k, d in found.items() if k not in seen and k not in self._seen}
        open_differences += self._stubborn(snapshot.venue, moving)
        for key, difference in seen.items():
            count, last_ns = self._seen.get(key, (0, 0))
            # Two answers to questions that were on their way together are one look.
            if self._asked_at_ns(snapshot) >= last_ns:
                count += 1
            self._seen[key] = (count, self._clock.now_ns())
            if count >= self._confirmations and difference.price > 0:
                del self._seen[key]
                self._adjust(difference)
            else:
                open_differences.append(difference)
        return open_differences

    def _stubborn(
        self, venue: str, moving: dict[tuple[Leg, Decimal], PositionDifference]
    ) -> list[PositionDifference]:
        """Return differences that have stayed the same although orders were moving their legs.

        A leg that trades all the time is never quiet enough to be compared. What does not change
        meanwhile is no order of ours: nothing opens until the leg has come to rest.
        """
        now_ns = self._clock.monotonic_ns()
        others = {k: ns for k, ns in self._moving_ns.items() if k[0][0] != venue}
        self._moving_ns = others | {key: self._moving_ns.get(key, now_ns) for key in moving}
        return [d for k, d in moving.items() if now_ns - self._moving_ns[k] >= STUBBORN_NS]

    def _under_way(self, key: Leg, snapshot: VenueSnapshot) -> bool:
        """Whether orders of ours may be moving this leg, or just did."""
        for order in self._orders.unsettled():
            request = order.request
            if (request.venue, request.account, request.asset) == key[:3]:
                return True
        # The venue looked when it was asked; what it said may have taken long to come together.
        quiet_since_ns = self._asked_at_ns(snapshot) - self._quiet_ns
        return self._orders.last_change_ns(key[0], key[1], key[2]) > quiet_since_ns

    def _asked_at_ns(self, snapshot: VenueSnapshot) -> int:
        """Return when the question left (UTC)."""
        return self._clock.now_ns() - (self._clock.monotonic_ns() - snapshot.asked_ns)

    def _adjust(self, difference: PositionDifference) -> None:
        venue, account, asset, side = difference.key
        now_ns = self._clock.now_ns()
        self._bus.publish(
            PositionAdjusted(
                ts_ns=now_ns,
                venue=venue,
                account=account,
                asset=asset,
                position_side=PositionSide(side),
                delta=difference.theirs - difference.ours,
                price=difference.price,
                reason=f"the venue says so, seen {self._confirmations} times: {difference.text}",
            )
        )
        self._bus.publish(
            AlertFired(
                ts_ns=now_ns,
                name="position_adjusted",
                severity="high",
                text=f"{difference.text}; our books follow the venue. A pair that holds "
                "the leg sees to it; beside what no pair holds nothing opens: `perpbot status` "
                "tells what to flatten by hand",
            )
        )

    def _conclude(self, venue: str, *, agreed: bool, texts: tuple[str, ...]) -> None:
        self._bus.publish(
            VenueReconciled(
                ts_ns=self._clock.now_ns(), venue=venue, agreed=agreed, differences=texts
            )
        )


def _missing(order: Order, ts_ns: int) -> OrderReport:
    request = order.request
    return OrderReport(
        venue=request.venue,
        account=request.account,
        client_id=request.client_id,
        venue_order_id=order.venue_order_id,
        symbol=request.symbol,
        state=OrderState.CANCELLED if order.state in RESTING else OrderState.PROVEN_ABSENT,
        reason="neither among the open orders nor among the new fills",
        venue_ns=ts_ns,
    )
