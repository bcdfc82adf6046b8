# ruff: noqa: ARG001, ARG005 - a replacement takes what it replaces, and need not use it
"""Safeguards taken away, one at a time: each must be caught, or the checkers have no teeth.

A mutant is a function that replaces one attribute of one class for the length of a `with` block.
Nothing outside of this package knows of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from perpbot.domain.errors import InvalidValue
from perpbot.domain.events import KillSwitchEngaged, OrderPlaced, VenueSnapshot
from perpbot.domain.sides import OrderState, Purpose
from perpbot.execution.instrument_watch import InstrumentWatch
from perpbot.execution.order_maker import OrderMaker
from perpbot.execution.reconcile import ReconcileDriver
from perpbot.execution.trader import PairTrader
from perpbot.execution.watch import OrderWatch
from perpbot.kernel.fold import DurableState
from perpbot.kernel.ids import IdMaker
from perpbot.market.slot import Slot
from perpbot.portfolio.absence import Absences
from perpbot.portfolio.booked import BookedTrades
from perpbot.portfolio.intake import ReportIntake
from perpbot.portfolio.orders import OrderTable
from perpbot.portfolio.payments import PaymentIntake
from perpbot.portfolio.readiness import Readiness
from perpbot.portfolio.transfers import BookedTransfers
from perpbot.portfolio.unexplained import UnexplainedMoney
from perpbot.research.chaos.node import ChaosJournal
from perpbot.risk.manager import RiskManager
from perpbot.simulation.venue import SimulatedVenue

Patch = tuple[type, str, Callable[[Any], Any]]
"""Class, attribute, and what makes the new attribute of the old one."""


def _blind_resend(old: Any) -> Any:
    """The transport sends an order again when it got no answer."""

    def unknown(self: Any, order: Any) -> None:
        old(self, order)
        if order.client_id not in self.__dict__.setdefault("resent", set()):
            self.resent.add(order.client_id)
            self._submit(order)

    return unknown


def _timeout_is_failure(old: Any) -> Any:
    """No answer counts as a refusal."""

    def take(self: Any, report: Any) -> None:
        if report.state is OrderState.UNKNOWN:
            report = msgspec.structs.replace(report, state=OrderState.REJECTED)
        old(self, report)

    return take


def _not_found_is_rejected(old: Any) -> Any:
    """A first "unknown order" ends the order, however early."""
    return lambda self, order: "at first sight"


def _dedupe_off(old: Any) -> Any:
    """An execution is booked as often as it is told."""
    return lambda self, key: False


def _empty_is_flat(old: Any) -> Any:
    """A part that was not answered counts as empty."""

    def taken(self: Any, snapshot: VenueSnapshot) -> None:
        if not snapshot.complete:
            snapshot = msgspec.structs.replace(
                snapshot, orders=(), fills=(), positions=(), balances=(), funding=()
            )
        old(self, snapshot)

    return taken


def _gate_passes_bad_quotes(old: Any) -> Any:
    """Every quote is believed."""
    return lambda self, *numbers: False


def _cached_quote(old: Any) -> Any:
    """A quote is good for ever."""

    def build(self: Any, *args: Any, **rest: Any) -> None:
        old(self, *args, **rest)
        self._silence_ns = 10**15

    return build


def _kill_switch_forgotten(old: Any) -> Any:
    """A restart knows nothing of the kill switch."""

    def replay(self: Any, records: Any, **rest: Any) -> int:
        kept = (record for record in records if record.kind != KillSwitchEngaged.kind)
        return int(old(self, kept, **rest))

    return replay


def _status_regression(old: Any) -> Any:
    """A late acknowledgement brings an ended order back to life."""

    def placed(self: Any, event: OrderPlaced) -> None:
        old(self, event)
        order = self._orders.get(event.client_id)
        if order is not None and order.state.is_end:
            order.state = OrderState.ACCEPTED
            self._live[event.client_id] = order

    return placed


def _always_placed(old: Any) -> Any:
    """What goes with it: each report of an order counts as an acknowledgement."""

    def seen(self: Any, order: Any, report: Any) -> None:
        old(self, order, report)
        self._place(order, report)

    return seen


def _reservation_leak(old: Any) -> Any:
    """A pair that never filled keeps its capital."""

    def finish(self: Any, pair: Any, reason: str) -> None:
        bus, publish = self._bus, self._bus.publish
        if reason == "not_filled":
            bus.publish = lambda e: None if e.kind == "CAPITAL_RELEASED" else publish(e)
        try:
            old(self, pair, reason)
        finally:
            bus.__dict__.pop("publish", None)

    return finish


def _retry_without_proof(old: Any) -> Any:
    """Orders of unknown outcome are taken for nothing."""

    def of_owner(self: Any, owner: str) -> Iterator[Any]:
        return (order for order in old(self, owner) if order.state is not OrderState.UNKNOWN)

    return of_owner


def _send_before_journal(old: Any) -> Any:
    """The record of an intent is written later than its order is sent."""

    def keep(self: Any, event: Any) -> int:
        waiting = self.__dict__.setdefault("waiting", [])
        if event.kind in {"PAIR_PLANNED", "SUBMIT_ORDERS"}:
            waiting.append(event)
            return int(self.last_sequence) + 1
        while waiting:
            old(self, waiting.pop(0))
        return int(old(self, event))

    return keep


def _adjust_at_once(old: Any) -> Any:
    """A difference is believed at first sight, whatever is under way."""

    def build(self: Any, *args: Any, **rest: Any) -> None:
        old(self, *args, **{**rest, "confirmations": 1})

    return build


def _never_under_way(old: Any) -> Any:
    return lambda self, key, snapshot: False


def _hedge_beyond(old: Any) -> Any:
    """A hedge of twice what is missing."""

    def order(self: Any, plan: Any, **what: Any) -> Any:
        if what["purpose"] is Purpose.HEDGE:
            what["quantity"] *= 2
        return old(self, plan, **what)

    return order


def _hedge_gate_open(old: Any) -> Any:
    """The hedge gate lets everything pass."""
    return lambda self, order, imbalance, plan: self._passed("hedge", {})


def _plain_reductions(old: Any) -> Any:
    """Reductions do not say that they are."""

    def order(self: Any, plan: Any, **what: Any) -> Any:
        return msgspec.structs.replace(old(self, plan, **what), reduce_only=False)

    return order


def _reduce_gate_open(old: Any) -> Any:
    return lambda self, order: self._passed("reduce", {})


def _released_before_hedged(old: Any) -> Any:
    """A pair counts as balanced whatever its legs hold."""
    return lambda self, pair: True


def _opens_unreconciled(old: Any) -> Any:
    """A venue may open at once after a start or a reconnect."""
    return lambda self, venue: ""


def _recovery_forgets(old: Any) -> Any:
    """Nobody looks at the pairs that a crash left."""
    return lambda self: None


def _watch_asleep(old: Any) -> Any:
    """Nobody asks for orders that owe an answer."""
    return lambda self, order, now_ns, **rest: None


def _half_decision(old: Any) -> Any:
    """The hedge of an unfilled leg is forgotten: a pair that differs is left as it is."""
    return lambda self, pair, quantity: True


def _wrong_side_fill(old: Any) -> Any:
    """A fill that came by asking is booked at half its size."""

    def take(self: Any, report: Any, *, reconciled: bool) -> bool:
        if reconciled:
            report = msgspec.structs.replace(report, quantity=report.quantity / 2)
        return bool(old(self, report, reconciled=reconciled))

    return take


def _epoch_repeats(old: Any) -> Any:
    """A restart makes the ids of the last run again."""

    def make(self: Any, *, epoch: int) -> None:
        old(self, epoch=1)

    return make


def _old_grid(old: Any) -> Any:
    """What a venue tells of new steps is heard, and then not used."""
    return lambda self, event: None


def _balance_believed_at_once(old: Any) -> Any:
    """The smaller of two words counts: what went out is a loss until it is known."""

    def equity(self: Any, venue: str) -> Any:
        ours, balance = old(self, venue), self._snapshots.balance(venue)
        return ours if ours is None or balance is None else min(ours, balance.equity)

    return equity


def _transfer_unheard(old: Any) -> Any:
    """Nobody takes in what the venue says of transfers."""
    return lambda self, report: False


PATCHES: Mapping[str, tuple[Patch, ...]] = {
    "ack_before_journal": ((ChaosJournal, "keep", _send_before_journal),),
    "adjust_on_first_sight": (
        (ReconcileDriver, "__init__", _adjust_at_once),
        (ReconcileDriver, "_under_way", _never_under_way),
    ),
    "blind_resend": ((SimulatedVenue, "_unknown", _blind_resend),),
    "cached_quote_opens": ((Slot, "__init__", _cached_quote),),
    "dedupe_off": ((BookedTrades, "__contains__", _dedupe_off),),
    "empty_is_flat": ((ReconcileDriver, "_on_snapshot", _empty_is_flat),),
    "gate_passes_bad_quotes": ((Slot, "_refuses", _gate_passes_bad_quotes),),
    "half_of_missed_fills": ((ReportIntake, "take_fill", _wrong_side_fill),),
    "hedge_beyond_imbalance": (
        (OrderMaker, "order", _hedge_beyond),
        (RiskManager, "check_hedge", _hedge_gate_open),
    ),
    "hedge_never_sent": ((PairTrader, "_hedge", _half_decision),),
    "ids_repeat_after_restart": ((IdMaker, "__init__", _epoch_repeats),),
    "kill_switch_not_persisted": ((DurableState, "replay", _kill_switch_forgotten),),
    "not_found_is_rejected": ((Absences, "evidence", _not_found_is_rejected),),
    "old_grid_kept": ((InstrumentWatch, "_take", _old_grid),),
    "opens_before_reconcile": ((Readiness, "refusal", _opens_unreconciled),),
    "orders_never_asked_for": ((OrderWatch, "_look", _watch_asleep),),
    "recovery_forgets_pairs": ((PairTrader, "resume", _recovery_forgets),),
    "reduce_without_reduce_only": (
        (OrderMaker, "order", _plain_reductions),
        (RiskManager, "check_reduce", _reduce_gate_open),
    ),
    "release_before_hedged": ((PairTrader, "_is_balanced", _released_before_hedged),),
    "reservation_leak": ((PairTrader, "_finish", _reservation_leak),),
    "retry_without_proof": ((OrderTable, "of_owner", _retry_without_proof),),
    "status_regression": (
        (OrderTable, "_placed", _status_regression),
        (ReportIntake, "_seen", _always_placed),
    ),
    "transfer_booked_again": ((BookedTransfers, "__contains__", _dedupe_off),),
    "transfers_are_losses": ((UnexplainedMoney, "equity", _balance_believed_at_once),),
    "transfers_unheard": ((PaymentIntake, "take_transfer", _transfer_unheard),),
    "timeout_is_failure": ((ReportIntake, "take_order", _timeout_is_failure),),
}
MUTANTS = tuple(sorted(PATCHES))
"""Every mutant by name."""


@contextmanager
def mutated(name: str, known: Mapping[str, Sequence[Patch]] | None = None) -> Iterator[None]:
    """Take one safeguard away; raise `InvalidValue` for a name that is not `known`."""
    known = PATCHES if known is None else known
    patches = known.get(name)
    if patches is None:
        raise InvalidValue(f"mutant was {name!r}, one of {', '.join(sorted(known))} was expected")
    kept = [(owner, attribute, owner.__dict__[attribute]) for owner, attribute, _ in patches]
    for owner, attribute, make in patches:
        setattr(owner, attribute, make(owner.__dict__[attribute]))
    try:
        yield
    finally:
        for owner, attribute, old in kept:
            setattr(owner, attribute, old)
