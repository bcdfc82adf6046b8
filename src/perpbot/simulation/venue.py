"""A venue in process: an exchange of ours behind the node's own events, with latency, without I/O.

It answers commands as a gateway and a private stream would: SENT when the request leaves, the
exchange acts one latency later, and what it says arrives another latency after that. A request or
answer that is lost ends as UNKNOWN after the request timeout, never as a refusal. Used in virtual
time (replay, backtests, the simulated world) and for paper trading on real quotes: takers fill
against the quote that stands when the order arrives, makers when the market reaches through them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from perpbot.domain.capabilities import Capabilities, Lookup
from perpbot.domain.events import (
    AccountReported,
    CancelForgotten,
    CancelOrders,
    ConnectionState,
    Event,
    FillReported,
    InstrumentsListed,
    ListInstruments,
    OrderCancelFailed,
    OrderIntent,
    OrderReported,
    QueryOrder,
    QuoteUpdated,
    ReconcileVenue,
    VenueConnectionChanged,
    VenueSnapshot,
)
from perpbot.domain.instruments import Instrument
from perpbot.domain.orders import OrderReport, OrderRequest, TransferReport
from perpbot.domain.sides import OrderState
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import SECOND, Clock, Timers
from perpbot.simulation.depth import QuotedDepth
from perpbot.simulation.exchange import Exchange
from perpbot.simulation.fates import Fate, FaultPlan, Message, NoFaults
from perpbot.simulation.model import (
    PRIVATE_NEWS,
    AccountUpdate,
    ExchangeNews,
    ExchangeRefusal,
    OrderUpdate,
)
from perpbot.simulation.translation import Reporter, instrument_of, ticket_of

MARK_EVERY_NS = SECOND
"""How often fed quotes move the mark (and so stops and liquidations)."""


class SimulatedVenue:
    """One account at one exchange of ours, spoken to over the bus.

    `lookup` finds our orders by client id (cancels and queries carry nothing else); the exchange
    must hold an account called `account_name`. Latency is one way.
    """

    def __init__(
        self,
        exchange: Exchange,
        *,
        account_name: str,
        capabilities: Capabilities,
        bus: EventBus,
        clock: Clock,
        timers: Timers,
        lookup: Callable[[str], OrderRequest | None],
        latency_ns: int,
        timeout_ns: int = 2 * SECOND,
        faults: FaultPlan | None = None,
        depth: QuotedDepth | None = None,
    ) -> None:
        """`depth` is the exchange's where the market outlives this venue."""
        self.name = exchange.profile.name
        self.account_name = account_name
        self.capabilities = capabilities
        self.exchange = exchange
        self._bus = bus
        self._clock = clock
        self._timers = timers
        self._lookup = lookup
        self._latency_ns = latency_ns
        self._timeout_ns = timeout_ns
        self._faults = faults or NoFaults()
        contracts = {contract.symbol: contract for contract in exchange.contracts()}
        self._reporter = Reporter(self.name, account_name, contracts)
        self._symbols = {contract.asset: contract.symbol for contract in exchange.contracts()}
        self._depth = depth or QuotedDepth(exchange)
        self._marked_ns: dict[str, int] = {}
        exchange.listen(self._on_news, PRIVATE_NEWS)
        bus.subscribe(OrderIntent, self._on_submit)
        bus.subscribe(CancelOrders, self._on_cancel)
        bus.subscribe(CancelForgotten, self._on_cancel_forgotten)
        bus.subscribe(QueryOrder, self._on_query)
        bus.subscribe(ReconcileVenue, self._on_reconcile)

    def tell_listings(self) -> None:
        """Answer when somebody asks what is traded; on paper the real venue does."""
        self._bus.subscribe(ListInstruments, self._on_list)

    def instruments(self) -> list[Instrument]:
        """What can be traded here."""
        return [instrument_of(self.name, contract) for contract in self.exchange.contracts()]

    def start(self, channels: Sequence[str] = ("public", "private", "trading")) -> None:
        """Say which channels are up: all of them, unless the market is somebody else's."""
        for channel in channels:
            self._bus.publish(
                VenueConnectionChanged(
                    ts_ns=self._clock.now_ns(),
                    source=self.name,
                    venue=self.name,
                    channel=channel,
                    state=ConnectionState.LIVE,
                    reason="in process",
                )
            )

    # --- the market ------------------------------------------------------------------------------

    def on_quote(self, event: QuoteUpdated) -> None:
        """Take the quotes of this venue from the bus (paper trading)."""
        if event.venue == self.name:
            self.feed_quote(event.asset, event.bid, event.bid_size, event.ask, event.ask_size)

    def feed_quote(
        self, asset: str, bid: float, bid_size: float, ask: float, ask_size: float
    ) -> None:
        """Replace the market makers' depth by one level a side.

        It is laid on the book when somebody can notice: at once while orders rest there, else when
        the next order arrives. Numbers that are no market leave an empty book: nothing can fill.
        """
        symbol = self._symbols.get(asset)
        if symbol is None:
            return
        self._depth.keep(symbol, bid, bid_size, ask, ask_size)
        now_ns = self._clock.now_ns()
        mark_due = now_ns - self._marked_ns.get(symbol, -MARK_EVERY_NS) >= MARK_EVERY_NS
        if mark_due or self.exchange.has_resting(symbol):
            self._depth.lay(symbol)
        if mark_due:
            self._mark(symbol, now_ns)

    def _mark(self, symbol: str, now_ns: int) -> None:
        mid = self.exchange.mid(symbol)
        if mid is None:
            return
        self._marked_ns[symbol] = now_ns
        known = self.exchange.mark(symbol)
        self.exchange.set_mark(symbol, mid, mid, known.funding_rate, known.next_funding_ns)

    # --- commands --------------------------------------------------------------------------------

    def _on_submit(self, command: OrderIntent) -> None:
        for order in command.orders:
            if order.venue == self.name:
                self._submit(order)

    def _submit(self, order: OrderRequest) -> None:
        self._say_order(self._reporter.request(order, OrderState.SENT))
        fate = self._faults.request(Message.SUBMIT, order.client_id)
        if fate.reject:
            refused = self._reporter.request(
                order, OrderState.REJECTED, reason=fate.reject, code="front_door"
            )
            self._back(2 * self._latency_ns, self._order_event(refused))
        elif fate.drop:
            self._unknown(order)
        else:
            self._there(fate, lambda: self._arrive(order))

    def _arrive(self, order: OrderRequest) -> None:
        """The exchange has the request."""
        self._depth.lay(order.symbol)
        try:
            view = self.exchange.submit(self.account_name, ticket_of(order))
        except ExchangeRefusal as refusal:
            report = self._reporter.request(
                order, OrderState.REJECTED, reason=refusal.text, code=refusal.refusal.value
            )
        else:
            report = self._reporter.order(view)
        fate = self._faults.response(Message.SUBMIT, order.client_id)
        if fate.drop:
            self._unknown(order)
        else:
            self._answer(fate, self._order_event(report))

    def _unknown(self, order: OrderRequest) -> None:
        report = self._reporter.request(
            order, OrderState.UNKNOWN, reason="no answer within the request timeout"
        )
        self._back(self._timeout_ns, self._order_event(report))

    def _on_cancel(self, command: CancelOrders) -> None:
        for client_id in command.client_ids:
            order = self._ours(client_id)
            if order is not None:
                self._cancel(order)

    def _on_cancel_forgotten(self, command: CancelForgotten) -> None:
        """Nobody waits for an answer: what still rests is seen, and asked for, again."""
        order = command.order
        if order.venue != self.name:
            return
        fate = self._faults.request(Message.CANCEL, order.client_id)
        if not fate.drop and not fate.reject:
            self._there(fate, lambda: self._forgotten_goes(order))

    def _forgotten_goes(self, order: OrderRequest) -> None:
        view = self.exchange.order_by_client_id(self.account_name, order.client_id)
        if view is not None and view.is_open:
            self.exchange.cancel(self.account_name, order.symbol, view.order_id)

    def _cancel(self, order: OrderRequest) -> None:
        fate = self._faults.request(Message.CANCEL, order.client_id)
        if fate.reject:
            self._back(
                2 * self._latency_ns, self._cancel_failed(order, fate.reject, definite=True)
            )
        elif fate.drop:
            self._back(self._timeout_ns, self._cancel_failed(order, "no answer", definite=False))
        else:
            self._there(fate, lambda: self._cancel_arrives(order))

    def _cancel_arrives(self, order: OrderRequest) -> None:
        answer: Event
        try:
            view = self.exchange.order_by_client_id(self.account_name, order.client_id)
            order_id = 0 if view is None else view.order_id
            view = self.exchange.cancel(self.account_name, order.symbol, order_id)
            answer = self._order_event(self._reporter.order(view))
        except ExchangeRefusal as refusal:
            answer = self._cancel_failed(order, refusal.text, definite=True)
        fate = self._faults.response(Message.CANCEL, order.client_id)
        if fate.drop:
            self._back(self._timeout_ns, self._cancel_failed(order, "no answer", definite=False))
        else:
            self._answer(fate, answer)

    def _on_query(self, command: QueryOrder) -> None:
        order = self._ours(command.client_id)
        if order is None:
            return
        fate = self._faults.request(Message.QUERY, order.client_id)
        # A query that is lost changes nothing: whoever asked asks again.
        if not fate.drop and not fate.reject:
            self._there(fate, lambda: self._query_arrives(order))

    def _query_arrives(self, order: OrderRequest) -> None:
        view = self.exchange.order_by_client_id(self.account_name, order.client_id)
        lookup = self.capabilities.lookup
        if view is not None and (
            lookup is Lookup.FULL or (lookup is Lookup.OPEN_ONLY and view.is_open)
        ):
            report = self._reporter.order(view)
        elif lookup is Lookup.FULL:
            report = self._reporter.request(
                order, OrderState.PROVEN_ABSENT, reason="the exchange does not know the order"
            )
        else:
            # This venue forgets what has ended: not finding it says nothing.
            return
        fate = self._faults.response(Message.QUERY, order.client_id)
        if not fate.drop:
            self._answer(fate, self._order_event(report))

    def _on_list(self, command: ListInstruments) -> None:
        if command.venue != self.name:
            return
        fate = self._faults.request(Message.QUERY, self.name)
        # A question that is lost changes nothing: whoever asked asks again.
        if not fate.drop and not fate.reject:
            self._there(fate, self._list_arrives)

    def _list_arrives(self) -> None:
        fate = self._faults.response(Message.QUERY, self.name)
        if not fate.drop:
            listed = InstrumentsListed(
                **self._head(), venue=self.name, instruments=tuple(self.instruments())
            )
            self._answer(fate, listed)

    def _on_reconcile(self, command: ReconcileVenue) -> None:
        if command.venue != self.name:
            return
        asked_ns = self._clock.monotonic_ns()
        fate = self._faults.request(Message.RECONCILE, self.name)
        if fate.drop or fate.reject:
            self._no_snapshot(command, asked_ns, fate.reject or "no answer")
        else:
            self._there(fate, lambda: self._reconcile_arrives(command, asked_ns))

    def _reconcile_arrives(self, command: ReconcileVenue, asked_ns: int) -> None:
        fate = self._faults.response(Message.RECONCILE, self.name)
        if fate.drop:
            self._no_snapshot(command, asked_ns, "no answer")
            return
        exchange, account, reporter = self.exchange, self.account_name, self._reporter
        now_ns = self._clock.now_ns()
        since_ns = command.fills_since_ns
        snapshot = VenueSnapshot(
            ts_ns=now_ns,
            source=self.name,
            correlation_id=command.correlation_id,
            venue=self.name,
            reason=command.reason,
            asked_ns=asked_ns,
            orders=tuple(reporter.order(view) for view in exchange.open_orders(account)),
            fills=tuple(reporter.fill(fill) for fill in exchange.executions(account, since_ns)),
            positions=tuple(reporter.position(v, now_ns) for v in exchange.positions(account)),
            balances=tuple(reporter.balance(v, now_ns) for v in exchange.balances(account)),
            funding=tuple(
                reporter.funding(paid)
                for paid in exchange.funding_payments(account, command.funding_from_ns)
            ),
            transfers=self._transfers(command.transfers_since_ns),
        )
        self._answer(fate, snapshot)

    def _transfers(self, since_ns: int | None) -> tuple[TransferReport, ...] | None:
        """Return the history of transfers; the stream tells only what they do to the balance."""
        if since_ns is None:
            return None
        moved = self.exchange.transfers(self.account_name, since_ns)
        return tuple(self._reporter.transfer(one) for one in moved)

    def _no_snapshot(self, command: ReconcileVenue, asked_ns: int, error: str) -> None:
        self._back(
            self._timeout_ns,
            VenueSnapshot(
                ts_ns=self._clock.now_ns(),
                source=self.name,
                correlation_id=command.correlation_id,
                venue=self.name,
                reason=command.reason,
                asked_ns=asked_ns,
                error=error,
            ),
        )

    # --- the private stream ----------------------------------------------------------------------

    def _on_news(self, news: ExchangeNews) -> None:
        if isinstance(news, OrderUpdate) and news.order.account == self.account_name:
            subject = news.order.ticket.client_id
            if news.execution is not None:
                fill = self._reporter.fill(news.execution)
                self._stream(subject, FillReported(**self._head(), report=fill))
            self._stream(subject, self._order_event(self._reporter.order(news.order)))
        elif isinstance(news, AccountUpdate) and news.account == self.account_name:
            self._stream(self.name, self._account_event(news))

    def _account_event(self, news: AccountUpdate) -> AccountReported:
        now_ns = self._clock.now_ns()
        paid = () if news.funding is None else (self._reporter.funding(news.funding),)
        return AccountReported(
            **self._head(),
            venue=self.name,
            balances=tuple(self._reporter.balance(view, now_ns) for view in news.balances),
            positions=tuple(self._reporter.position(view, now_ns) for view in news.positions),
            funding=paid,
        )

    # --- ways ------------------------------------------------------------------------------------

    def _ours(self, client_id: str) -> OrderRequest | None:
        order = self._lookup(client_id)
        return order if order is not None and order.venue == self.name else None

    def _there(self, fate: Fate, act: Callable[[], None]) -> None:
        for _ in range(fate.copies):
            self._timers.call_later(self._latency_ns + fate.delay_ns, act)

    def _answer(self, fate: Fate, event: Event) -> None:
        for _ in range(fate.copies):
            self._back(self._latency_ns + fate.delay_ns, event)

    def _stream(self, subject: str, event: Event) -> None:
        fate = self._faults.stream(subject)
        if not fate.drop:
            self._answer(fate, event)

    def _back(self, delay_ns: int, event: Event) -> None:
        self._timers.call_later(delay_ns, lambda: self._bus.publish(event))

    def _say_order(self, report: OrderReport) -> None:
        self._bus.publish(self._order_event(report))

    def _order_event(self, report: OrderReport) -> OrderReported:
        return OrderReported(**self._head(), report=report)

    def _cancel_failed(
        self, order: OrderRequest, reason: str, *, definite: bool
    ) -> OrderCancelFailed:
        return OrderCancelFailed(
            ts_ns=self._clock.now_ns(),
            source=self.name,
            correlation_id=order.owner,
            client_id=order.client_id,
            venue=self.name,
            reason=reason,
            definite=definite,
        )

    def _head(self) -> dict[str, Any]:
        return {"ts_ns": self._clock.now_ns(), "source": self.name}
