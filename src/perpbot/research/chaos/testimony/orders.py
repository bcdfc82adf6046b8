"""Every order: intended in the journal, sent over the wire, executed at the exchange."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from perpbot.domain.money import ZERO
from perpbot.domain.orders import OrderRequest
from perpbot.kernel.clock import SECOND, Clock
from perpbot.research.chaos.plan import Plan
from perpbot.research.chaos.testimony.books import Books
from perpbot.research.chaos.testimony.truth import Place, Truth
from perpbot.research.chaos.testimony.verdict import Verdict

LATE_NS = 8 * SECOND
"""An order of unknown outcome has to be asked for at least this often."""
ANSWER_NS = 3 * SECOND
"""An order that was sent has to be answered, or be unknown, within this."""
RESOLVES = frozenset(
    {
        "ORDER_PLACED",
        "ORDER_FILLED",
        "ORDER_CANCELLED",
        "ORDER_EXPIRED",
        "ORDER_FAILED",
        "ORDER_PROVEN_ABSENT",
    }
)
"""Records that say what became of an order."""


class Orders:
    """O1, O2, O4, O7, O8 and the half of P4 that a single hedge can break."""

    def __init__(
        self, verdict: Verdict, clock: Clock, plan: Plan, truth: Truth, books: Books
    ) -> None:
        self._verdict = verdict
        self._clock = clock
        self._plan = plan
        self._truth = truth
        self._books = books
        self._intents: dict[str, OrderRequest] = {}
        self._requests: dict[str, OrderRequest] = {}
        self._times_sent: dict[str, int] = {}
        self._executed: dict[str, Decimal] = {}
        self._filled_told: dict[str, Decimal] = {}
        self._unknown: dict[str, tuple[str, int]] = {}
        """Owner and leg of each order of unknown outcome."""
        self._absent: set[str] = set()
        self._asked_ns: dict[str, int] = {}

    def died(self) -> None:
        """The node died: the next one has to ask anew."""
        self._asked_ns.clear()

    def forget(self) -> None:
        """Begin anew: the records that are left will be told once more."""
        self._filled_told.clear()
        self._unknown.clear()
        self._absent.clear()

    # --- the wire --------------------------------------------------------------------------------

    def sent(self, order: OrderRequest) -> None:
        """A request leaves the node."""
        client_id = order.client_id
        self._requests[client_id] = order
        self._times_sent[client_id] = self._times_sent.get(client_id, 0) + 1
        if self._times_sent[client_id] > 1:
            self._violate(f"O2 {order.purpose} order transmitted twice on {order.venue}")
        if client_id not in self._intents:
            self._violate(f"O1 {order.purpose} order sent before it was journalled")
        for number in (order.quantity, order.reference_price, order.price or Decimal(1)):
            if not number.is_finite() or number <= 0:
                self._violate(f"O7 {order.purpose} order with a number of {number}")

    def check_cover(self, order: OrderRequest) -> None:
        """A hedge or a reduction covers what is missing, once, and grows nothing."""
        self._again(order)
        if order.purpose == "hedge":
            self._hedging(order)
        else:
            self._reducing(order)

    def asked(self, client_id: str) -> None:
        """The node asks what became of an order."""
        self._asked_ns[client_id] = self._clock.now_ns()

    def _again(self, order: OrderRequest) -> None:
        """Nothing is sent for what an order of unknown outcome may have done already."""
        unknown = [
            self._intents[client_id].quantity - self._filled_told.get(client_id, ZERO)
            for client_id, place in self._unknown.items()
            if place == (order.owner, order.leg) and client_id != order.client_id
        ]
        if not unknown:
            return
        if order.purpose == "hedge":
            missing = self._books.pair_net.get(order.owner, ZERO)
        else:
            missing = self._books.leg_net.get((order.owner, order.leg), ZERO)
        if sum(unknown, order.quantity) > abs(missing):
            self._violate(f"O2 {order.purpose} order sent again while another is unknown")

    def _hedging(self, order: OrderRequest) -> None:
        net = self._books.pair_net.get(order.owner, ZERO)
        others = any(order.asset == asset for _, asset in self._truth.moved_by_others)
        after = net + order.quantity * order.side.sign
        if not others and (abs(after) > abs(net) or after * net < 0):
            self._violate(f"P4 a hedge of {order.quantity} {order.side} on a net of {net}")

    def _reducing(self, order: OrderRequest) -> None:
        can = self._plan.venues[order.venue].capabilities.reduce_only
        if can and not order.reduce_only:
            self._violate(f"O8 a reduction without reduce-only on {order.venue}, which has it")

    # --- the exchanges ---------------------------------------------------------------------------

    def executed(
        self, client_id: str, quantity: Decimal, place: Place, moved: tuple[Decimal, Decimal]
    ) -> None:
        """An order of ours executed and moved the position of its place."""
        order = self._requests.get(client_id)
        if order is None:
            self._violate(f"O1 an order filled on {place[0]} that never left the node")
            return
        if client_id in self._absent:
            self._violate(f"O2 an order executed on {place[0]} after its absence was proven")
        total = self._executed[client_id] = self._executed.get(client_id, ZERO) + quantity
        if total > order.quantity:
            self._violate(
                f"O2 {order.purpose} order of {order.quantity} on {place[0]} executed {total}"
            )
        before, after = moved
        grew = abs(after) > abs(before) or before * after < 0
        if order.purpose == "reduce" and grew and place not in self._truth.moved_by_others:
            self._violate(f"O8 a reduction on {place[0]} grew the position {before} -> {after}")

    # --- the journal -----------------------------------------------------------------------------

    def intended(self, event: Any) -> None:
        """Orders were journalled."""
        self._intents.update((order.client_id, order) for order in event.orders)

    def unanswered(self, event: Any) -> None:
        """The outcome of an order is unknown."""
        order = self._intents.get(event.client_id)
        if order is not None:
            self._unknown[event.client_id] = (order.owner, order.leg)

    def resolved(self, event: Any) -> str | None:
        """The outcome of an order is known; return its asset where it was unknown before."""
        was_unknown = self._unknown.pop(event.client_id, None) is not None
        if event.kind == "ORDER_PROVEN_ABSENT":
            self._absent.add(event.client_id)
        return self._intents[event.client_id].asset if was_unknown else None

    def filled(self, event: Any) -> int | None:
        """A fill was journalled; return the leg of its order, None where nobody owns it."""
        if not event.owner:
            return None
        told = self._filled_told.get(event.client_id, ZERO)
        self._filled_told[event.client_id] = told + event.quantity
        return self._requests[event.client_id].leg

    def any_unknown(self, asset: str) -> bool:
        """Whether an order of the asset is of unknown outcome."""
        return any(self._intents[client_id].asset == asset for client_id in self._unknown)

    # --- every step ------------------------------------------------------------------------------

    def inspect(self, core: Any, started_ns: int) -> None:
        """No order of a living node owes an answer that nobody asks for."""
        now_ns = self._clock.now_ns()
        for order in core.folds.orders.unsettled():
            state, client_id = str(order.state), order.request.client_id
            asked_ns = max(self._asked_ns.get(client_id, 0), order.updated_ns, started_ns)
            owes = state == "unknown" or order.state.is_end or state == "pending_cancel"
            if owes and now_ns - asked_ns > LATE_NS:
                self._violate(f"O4 {state} order on {order.request.venue} and nobody asks")
            waited_ns = now_ns - max(order.updated_ns, started_ns)
            if state in {"intent", "sent"} and waited_ns > ANSWER_NS:
                self._violate(f"O4 {state} order on {order.request.venue} without an answer")

    def _violate(self, text: str) -> None:
        self._verdict.violate(text)
