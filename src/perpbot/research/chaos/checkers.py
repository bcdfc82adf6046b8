"""The invariants, held by code that shares nothing with the node.

`Witness` hears executions from the exchanges, requests from the wire and records from the journal,
and keeps books of its own: a violation is one line that says what, where and by how much.
Time here is the true time of the world, not the clock of any venue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from perpbot.domain.instruments import Instrument
from perpbot.domain.orders import OrderRequest
from perpbot.kernel.clock import MS, SECOND, Clock
from perpbot.research.chaos.plan import QUOTE_INTERVAL_S, START_NS, Plan
from perpbot.research.chaos.unhedged import Spell
from perpbot.simulation.model import Execution

ZERO = Decimal(0)
QUOTE_AGE_NS = int(QUOTE_INTERVAL_S * SECOND) + 300 * MS
"""A quote may be this old, and a sweep late, when something opens on it."""
LATE_NS = 8 * SECOND
"""An order of unknown outcome has to be asked for at least this often."""
_WORST_KEPT = 12
_RESOLVES = frozenset(
    {
        "ORDER_PLACED",
        "ORDER_FILLED",
        "ORDER_CANCELLED",
        "ORDER_EXPIRED",
        "ORDER_FAILED",
        "ORDER_PROVEN_ABSENT",
    }
)


class Witness:
    """See the module. Read `violations` at the end."""

    def __init__(self, plan: Plan, clock: Clock) -> None:
        self._plan = plan
        self._clock = clock
        self.violations: list[str] = []
        self.steps = {
            (venue, contract.asset): contract.quantity_step
            for venue, contracts in plan.contracts.items()
            for contract in contracts
        }
        """The coarsest that each market was traded in."""
        self._listed: dict[tuple[str, str], tuple[Instrument, int]] = {}
        """What the node was told of an instrument since it lives, and when."""
        self.true: dict[tuple[str, str], Decimal] = {}
        self.booked: dict[tuple[str, str], Decimal] = {}
        self.declared_dust: dict[str, Decimal] = {}
        self.planned_usd = ZERO
        self.brought = ZERO
        """What came to the accounts since they were opened; what went is not taken off."""
        self.killed = False
        self.may_halt = False
        """Whether the core may halt now: its queues are tiny, or the disk is full."""
        self.full_since_ns = 0
        """Since when the disk is full; 0 while there is room."""
        self._muted = False
        self._requests: dict[str, OrderRequest] = {}
        self._sent: dict[str, int] = {}
        self._filled: dict[str, Decimal] = {}
        self._intents: dict[str, OrderRequest] = {}
        self._trades: set[tuple[str, str, str, str]] = set()
        self._pair_net: dict[object, Decimal] = {}
        self._leg_net: dict[object, Decimal] = {}
        self._moved_by_others: dict[tuple[str, str], int] = {}
        self._asked_ns: dict[str, int] = {}
        self._live: dict[tuple[str, str], bool] = {}
        self._compared: set[str] = set()
        self._good_ns: dict[tuple[str, str], int] = {}
        self._open_ns: dict[str, int] = {}
        self._pair_venues: dict[str, frozenset[str]] = {}
        self._doubt_ns: dict[str, int] = {}
        """By asset: when an order of unknown outcome, or a wrong position, last became known."""
        self.spells: list[Spell] = []
        """Of unhedged time that have ended."""
        self._handlers: dict[str, Callable[[Any], None]] = {
            "SUBMIT_ORDERS": self._intended,
            "ORDER_FILLED": self._booked,
            "ORDER_UNKNOWN": self._unanswered,
            "POSITION_ADJUSTED": self._adjusted,
            "TRADE_COMPLETED": self._completed,
            "ALERT_FIRED": self._alarmed,
            "PAIR_PLANNED": self._planned,
            "COMPONENT_ERROR": self._failed,
        }
        self._unknown: dict[str, tuple[str, int]] = {}
        self._filled_told: dict[str, Decimal] = {}
        self._absent: set[str] = set()
        self._held_by_pairs: dict[tuple[str, int], tuple[str, str]] = {}
        """Venue and asset of each leg of a pair that has not ended."""
        self._stray = ("", ZERO)
        """The newest execution that the journal holds and that is no order of ours."""
        self.trace: list[str] = []

    @property
    def worst_unhedged_ns(self) -> int:
        """The longest unhedged spell."""
        return max((spell.lasted_ns for spell in self.spells), default=0)

    def violate(self, text: str) -> None:
        """Note a violation once."""
        if self._muted:
            return
        line = f"{(self._clock.now_ns() - START_NS) / SECOND:.2f} s: {text}"
        if len(self.violations) < _WORST_KEPT and all(
            known.split(": ", 1)[1] != text for known in self.violations
        ):
            self.violations.append(line)

    # --- the market as the node was told it ---

    def good_quote(self, venue: str, asset: str) -> None:
        """A quote that may open something reached the node."""
        self._good_ns[venue, asset] = self._clock.now_ns()

    def bad_quote(self, venue: str, asset: str) -> None:
        """A quote that must not open anything reached the node."""
        self._good_ns.pop((venue, asset), None)

    def regridded(self, venue: str, asset: str, step: Decimal) -> None:
        """A venue trades an asset in other steps: dust may be as large as the coarsest of them."""
        self.steps[venue, asset] = max(self.steps[venue, asset], step)

    def listed(self, instruments: Iterable[Instrument]) -> None:
        """A venue's list reached the node."""
        for told in instruments:
            self._listed[told.venue, told.asset] = (told, self._clock.now_ns())

    def channel(self, venue: str, channel: str, *, live: bool) -> None:
        """The node was told where a channel is."""
        if channel == "private" and self._live.get((venue, channel)) is not live:
            self._compared.discard(venue)
        self._live[venue, channel] = live

    def compared(self, venue: str) -> None:
        """A full snapshot of a venue reached the node."""
        if self._live.get((venue, "private")):
            self._compared.add(venue)

    def died(self) -> None:
        """The node died: the next one has to compare anew."""
        self._compared.clear()
        self._listed.clear()
        self._live.clear()
        self._asked_ns.clear()

    # --- the wire ---

    def sent(self, order: OrderRequest) -> None:
        """A request leaves the node."""
        client_id = order.client_id
        self._requests[client_id] = order
        self._sent[client_id] = self._sent.get(client_id, 0) + 1
        if self._sent[client_id] > 1:
            self.violate(f"O2 {order.purpose} order transmitted twice on {order.venue}")
        if client_id not in self._intents:
            self.violate(f"O1 {order.purpose} order sent before it was journalled")
        for number in (order.quantity, order.reference_price, order.price or Decimal(1)):
            if not number.is_finite() or number <= 0:
                self.violate(f"O7 {order.purpose} order with a number of {number}")
        self._gridded(order)
        if order.purpose == "open":
            self._opening(order)
            return
        self._again(order)
        if order.purpose == "hedge":
            self._hedging(order)
        else:
            self._reducing(order)

    def _gridded(self, order: OrderRequest) -> None:
        """What was told of an instrument holds from the next instant on."""
        told, told_ns = self._listed.get((order.venue, order.asset), (None, 0))
        if told is None or told_ns == self._clock.now_ns():
            return
        off = order.quantity % told.quantity_step or (order.price or ZERO) % told.tick_size
        if off or order.quantity < told.min_quantity:
            self.violate(
                f"O7 {order.purpose} order of {order.quantity} at {order.price} on {order.venue},"
                f" which had told steps of {told.quantity_step} and {told.tick_size}"
            )

    def _again(self, order: OrderRequest) -> None:
        """Nothing is sent for what an order of unknown outcome may have done already."""
        unknown = [
            self._intents[client_id].quantity - self._filled_told.get(client_id, ZERO)
            for client_id, place in self._unknown.items()
            if place == (order.owner, order.leg) and client_id != order.client_id
        ]
        if not unknown:
            return
        missing = self._pair_net if order.purpose == "hedge" else self._leg_net
        key: object = order.owner if order.purpose == "hedge" else (order.owner, order.leg)
        if sum(unknown, order.quantity) > abs(missing.get(key, ZERO)):
            self.violate(f"O2 {order.purpose} order sent again while another is unknown")

    def _opening(self, order: OrderRequest) -> None:
        venue, now_ns = order.venue, self._clock.now_ns()
        if 0 < self.full_since_ns < now_ns:
            self.violate(f"R2 opened on {venue} with a full disk")
        if self.killed:
            self.violate(f"R5 opened on {venue} with the kill switch engaged")
        good_ns = self._good_ns.get((venue, order.asset))
        if good_ns is None or now_ns - good_ns > QUOTE_AGE_NS:
            self.violate(f"R6 opened on {venue} without a fresh good quote")
        if venue not in self._compared:
            self.violate(f"V3 opened on {venue} before its books were compared")
        if not all(self._live.get((venue, name)) for name in ("public", "private")):
            self.violate(f"V3 opened on {venue} with a channel down")

    def _hedging(self, order: OrderRequest) -> None:
        net = self._pair_net.get(order.owner, ZERO)
        others = any(order.asset == asset for _, asset in self._moved_by_others)
        after = net + order.quantity * order.side.sign
        if not others and (abs(after) > abs(net) or after * net < 0):
            self.violate(f"P4 a hedge of {order.quantity} {order.side} on a net of {net}")

    def _reducing(self, order: OrderRequest) -> None:
        can = self._plan.venues[order.venue].capabilities.reduce_only
        if can and not order.reduce_only:
            self.violate(f"O8 a reduction without reduce-only on {order.venue}, which has it")

    def asked(self, client_id: str) -> None:
        """The node asks what became of an order."""
        self._asked_ns[client_id] = self._clock.now_ns()

    # --- the exchanges ---

    def executed(self, execution: Execution, venue: str, asset: str) -> None:
        """One true execution of the account."""
        key, now_ns = (venue, asset), self._clock.now_ns()
        signed = execution.quantity * execution.side.sign
        before = self.true.get(key, ZERO)
        after = self.true[key] = before + signed
        self.trace.append(
            f"{now_ns} {venue} {asset} {execution.client_id} {signed} {execution.price}"
        )
        client_id = execution.client_id
        if not client_id:
            self._moved_by_others[key] = now_ns
        else:
            self._ours(client_id, execution.quantity, key, before, after)
        self._expose(asset, now_ns)

    def _ours(
        self,
        client_id: str,
        quantity: Decimal,
        key: tuple[str, str],
        before: Decimal,
        after: Decimal,
    ) -> None:
        order = self._requests.get(client_id)
        if order is None:
            self.violate(f"O1 an order filled on {key[0]} that never left the node")
            return
        if client_id in self._absent:
            self.violate(f"O2 an order executed on {key[0]} after its absence was proven")
        total = self._filled[client_id] = self._filled.get(client_id, ZERO) + quantity
        if total > order.quantity:
            self.violate(
                f"O2 {order.purpose} order of {order.quantity} on {key[0]} executed {total}"
            )
        grew = abs(after) > abs(before) or before * after < 0
        if order.purpose == "reduce" and grew and key not in self._moved_by_others:
            self.violate(f"O8 a reduction on {key[0]} grew the position {before} -> {after}")

    def net(self, asset: str) -> Decimal:
        """Return the true net of an asset over all venues."""
        return sum((q for (_, name), q in self.true.items() if name == asset), ZERO)

    def tolerance(self, asset: str) -> Decimal:
        """Return what may stay unhedged: one step and the dust that was declared."""
        largest = max(step for (_, name), step in self.steps.items() if name == asset)
        return largest + self.declared_dust.get(asset, ZERO)

    def _expose(self, asset: str, now_ns: int) -> None:
        hedged = abs(self.net(asset)) <= self.tolerance(asset)
        since_ns = self._open_ns.get(asset)
        if hedged and since_ns is not None:
            del self._open_ns[asset]
            self._spell(asset, since_ns, now_ns)
        elif not hedged and since_ns is None:
            self._open_ns[asset] = now_ns

    def _spell(self, asset: str, start_ns: int, stop_ns: int) -> None:
        unknown = any(self._intents[name].asset == asset for name in self._unknown)
        doubt_ns = stop_ns if unknown else self._doubt_ns.get(asset, 0)
        moved = {venue for venue, name in self._moved_by_others if name == asset}
        venues = self._pair_venues.get(asset, frozenset()) | moved
        self.spells.append(Spell(asset, venues, start_ns, stop_ns, doubt_ns >= start_ns))

    # --- the journal ---

    def journalled(self, event: Any) -> None:
        """A record was written."""
        kind = event.kind
        if kind in _RESOLVES:
            self._resolved(event)
        handler = self._handlers.get(kind)
        if handler is not None:
            handler(event)

    def _intended(self, event: Any) -> None:
        self._intents.update((order.client_id, order) for order in event.orders)

    def _unanswered(self, event: Any) -> None:
        order = self._intents.get(event.client_id)
        if order is not None:
            self._unknown[event.client_id] = (order.owner, order.leg)

    def _resolved(self, event: Any) -> None:
        if self._unknown.pop(event.client_id, None) is not None:
            self._doubt_ns[self._intents[event.client_id].asset] = self._clock.now_ns()
        if event.kind == "ORDER_PROVEN_ABSENT":
            self._absent.add(event.client_id)

    def _adjusted(self, event: Any) -> None:
        key = (event.venue, event.asset)
        self.booked[key] = self.booked.get(key, ZERO) + event.delta
        if key not in self._moved_by_others:
            self.violate(f"P2 books of {event.venue} adjusted by {event.delta} without cause")
        self._doubt_ns[event.asset] = self._clock.now_ns()
        self._moved(key, event.delta)
        if key not in self._held_by_pairs.values():
            # No pair holds that leg any more: it was told to a person, who closes it.
            self._declare(event.asset, abs(event.delta))

    def _completed(self, event: Any) -> None:
        dust = abs(event.dust_long) + abs(event.dust_short)
        self._declare(event.asset, dust)
        for leg in (0, 1):
            self._held_by_pairs.pop((event.pair_id, leg), None)

    def _alarmed(self, event: Any) -> None:
        if event.name == "stray_fill":
            self._declare(*self._stray)

    def _declare(self, asset: str, quantity: Decimal) -> None:
        """The node has said that this much stays as it is."""
        self.declared_dust[asset] = self.declared_dust.get(asset, ZERO) + quantity

    def _planned(self, event: Any) -> None:
        self._intended(event)
        plan = event.plan
        self.planned_usd += plan.notional_usd
        self._pair_venues[plan.asset] = frozenset({plan.long_venue, plan.short_venue})
        for leg, venue in enumerate((plan.long_venue, plan.short_venue)):
            self._held_by_pairs[plan.pair_id, leg] = (venue, plan.asset)

    def relearn(self, events: Iterable[Any]) -> None:
        """The power failed and took records: know what the others say."""
        for known in (
            self.booked,
            self.declared_dust,
            self._trades,
            self._pair_net,
            self._leg_net,
            self._filled_told,
            self._unknown,
            self._absent,
            self._held_by_pairs,
        ):
            known.clear()
        self.planned_usd, self._stray = ZERO, ("", ZERO)
        self._muted = True
        for event in events:
            self.journalled(event)
        self._muted = False

    def _failed(self, event: Any) -> None:
        if self.may_halt and event.component.startswith("core"):
            return
        self.violate(f"E3 {event.component}: {event.error}")

    def _booked(self, event: Any) -> None:
        trade = (event.venue, event.asset, str(event.side), event.trade_id)
        if trade in self._trades:
            self.violate(f"M3 trade {event.trade_id} of {event.venue} booked twice")
        self._trades.add(trade)
        key = (event.venue, event.asset)
        signed = event.quantity * event.side.sign
        self.booked[key] = self.booked.get(key, ZERO) + signed
        if not event.client_id:
            self._stray = (event.asset, event.quantity)
        if not event.owner:
            self._moved(key, signed)
        else:
            self._credit(event.owner, self._requests[event.client_id].leg, signed)
            told = self._filled_told.get(event.client_id, ZERO)
            self._filled_told[event.client_id] = told + event.quantity

    def _moved(self, key: tuple[str, str], signed: Decimal) -> None:
        """Somebody else moved a leg: it is the pair's that holds it."""
        for (owner, leg), held in self._held_by_pairs.items():
            if held == key:
                self._credit(owner, leg, signed)

    def _credit(self, owner: str, leg: int, signed: Decimal) -> None:
        self._pair_net[owner] = self._pair_net.get(owner, ZERO) + signed
        self._leg_net[owner, leg] = self._leg_net.get((owner, leg), ZERO) + signed

    # --- every step ---

    def inspect(self, core: Any, started_ns: int) -> None:
        """Look at a living node between two steps."""
        now_ns = self._clock.now_ns()
        self._inspect_orders(core, now_ns, started_ns)
        self._inspect_books(core)
        self._inspect_capital(core)
        if self.killed and core.folds.latches.kill_level == 0:
            self.violate("R5 the kill switch was forgotten")

    def _inspect_orders(self, core: Any, now_ns: int, started_ns: int) -> None:
        for order in core.folds.orders.unsettled():
            state, client_id = str(order.state), order.request.client_id
            asked_ns = max(self._asked_ns.get(client_id, 0), order.updated_ns, started_ns)
            owes = state == "unknown" or order.state.is_end or state == "pending_cancel"
            if owes and now_ns - asked_ns > LATE_NS:
                self.violate(f"O4 {state} order on {order.request.venue} and nobody asks")
            waited_ns = now_ns - max(order.updated_ns, started_ns)
            if state in {"intent", "sent"} and waited_ns > 3 * SECOND:
                self.violate(f"O4 {state} order on {order.request.venue} without an answer")

    def _inspect_books(self, core: Any) -> None:
        held: dict[tuple[str, str], Decimal] = {}
        for key, position in core.folds.positions.items():
            place = (key[0], key[2])
            held[place] = held.get(place, ZERO) + position.quantity
        if held == self.booked:
            return
        for place in sorted(held.keys() | self.booked.keys()):
            mine, theirs = held.get(place, ZERO), self.booked.get(place, ZERO)
            if mine != theirs:
                self.violate(f"P1 position {'/'.join(place)} is {mine}, its fills sum to {theirs}")

    def _inspect_capital(self, core: Any) -> None:
        held = ZERO
        for reservation in core.folds.reservations:
            for venue, amount in reservation.legs.items():
                used = reservation.used.get(venue, ZERO)
                held += amount
                if not ZERO <= used <= amount:
                    self.violate(f"C2 {used} of a reservation of {amount} used on {venue}")
            if core.folds.pairs.get(reservation.owner) is None:
                self.violate("C2 a reservation without a pair")
        pool = (self._plan.balance * len(self._plan.venues) + self.brought) * Decimal("0.3")
        if held > pool:
            self.violate(f"C1 {held} USD set aside, the pool and its reserve have {pool}")

    # --- the end ---

    def settled(self, core: Any) -> list[str]:
        """Return what keeps the world from being settled, or an empty list."""
        open_ = [
            f"{order.state} {order.request.purpose} order on {order.request.venue}"
            for order in core.folds.orders.unsettled()
        ]
        open_ += [
            f"pair {pair.state} holds {pair.long.quantity} / {pair.short.quantity}"
            for pair in core.folds.pairs
        ]
        for place in sorted(self.true.keys() | self.booked.keys()):
            mine, theirs = self.booked.get(place, ZERO), self.true.get(place, ZERO)
            if mine != theirs:
                open_.append(f"P2 {'/'.join(place)}: books {mine}, exchange {theirs}")
        open_ += [
            f"P4 {asset} is unhedged by {self.net(asset)}"
            for asset in self._plan.assets
            if abs(self.net(asset)) > self.tolerance(asset)
        ]
        if not open_ and core.capital.reserved_total() != 0:
            open_.append(f"C3 {core.capital.reserved_total()} USD reserved though all is flat")
        return open_

    def close(self) -> None:
        """Count exposures that are still open."""
        for asset, since_ns in self._open_ns.items():
            self._spell(asset, since_ns, self._clock.now_ns())
