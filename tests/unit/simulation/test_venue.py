from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from perpbot.domain.capabilities import Capabilities, Lookup
from perpbot.domain.events import (
    AccountReported,
    CancelOrders,
    ConnectionState,
    Event,
    FillReported,
    GateDecision,
    OrderCancelFailed,
    OrderReported,
    QueryOrder,
    QuoteUpdated,
    ReconcileVenue,
    SubmitOrders,
    VenueConnectionChanged,
    VenueSnapshot,
)
from perpbot.domain.orders import OrderRequest
from perpbot.domain.sides import Liquidity, OrderState, OrderType, Purpose, Side, TimeInForce
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import MS, SECOND, VirtualTime
from perpbot.simulation.accountant import Accountant
from perpbot.simulation.exchange import Exchange
from perpbot.simulation.fates import ARRIVES, Fate, Message
from perpbot.simulation.venue import SimulatedVenue
from tests.unit.simulation.desk import BTC, ETH, PROFILE, d

START = 1_700_000_000 * SECOND
LATENCY = 20 * MS
DECISION = GateDecision(gate="open", checks={}, ts_ns=0)


class Plan:
    """Fates by message, each used once."""

    def __init__(self) -> None:
        self.requests: dict[Message, Fate] = {}
        self.responses: dict[Message, Fate] = {}
        self.streams: list[Fate] = []

    def request(self, message: Message, subject: str) -> Fate:
        return self.requests.pop(message, ARRIVES)

    def response(self, message: Message, subject: str) -> Fate:
        return self.responses.pop(message, ARRIVES)

    def stream(self, subject: str) -> Fate:
        return self.streams.pop(0) if self.streams else ARRIVES


class Stage:
    """A venue in virtual time, and everything it told."""

    def __init__(self, lookup: Lookup = Lookup.FULL) -> None:
        self.time = VirtualTime(START)
        self.bus = EventBus(self.time)
        self.exchange = Exchange(PROFILE, [BTC, ETH], self.time.now_ns, Accountant())
        for account in ("main", "other"):
            self.exchange.open_account(account, {"USDT": d(100_000)})
        self.orders: dict[str, OrderRequest] = {}
        self.plan = Plan()
        self.told: list[tuple[int, Event]] = []
        self.venue = SimulatedVenue(
            self.exchange,
            account_name="main",
            capabilities=Capabilities(
                venue="binance",
                operator="binance",
                lookup=lookup,
                maker_fee_bps=Decimal(2),
                taker_fee_bps=Decimal(5),
                fees_as_of="2026-01-01",
            ),
            bus=self.bus,
            clock=self.time,
            timers=self.time,
            lookup=self.orders.get,
            latency_ns=LATENCY,
            faults=self.plan,
        )
        for kind in (
            OrderReported,
            FillReported,
            AccountReported,
            VenueSnapshot,
            OrderCancelFailed,
            VenueConnectionChanged,
        ):
            self.bus.subscribe(kind, self._hear)
        self.venue.feed_quote("BTC-PERP", 99.0, 5.0, 101.0, 5.0)

    def _hear(self, event: Event) -> None:
        self.told.append(((self.time.now_ns() - START) // MS, event))

    def request(
        self,
        side: Side = Side.BUY,
        quantity: str = "1",
        price: str | None = "101",
        *,
        client_id: str = "a",
        tif: TimeInForce = TimeInForce.GTC,
        venue: str = "binance",
    ) -> OrderRequest:
        """An order of ours, known to the lookup."""
        order = OrderRequest(
            client_id=client_id,
            venue=venue,
            account="main",
            asset="BTC-PERP",
            symbol="BTCUSDT",
            side=side,
            order_type=OrderType.MARKET if price is None else OrderType.LIMIT,
            time_in_force=tif,
            quantity=d(quantity),
            price=None if price is None else d(price),
            reference_price=d(100),
            purpose=Purpose.OPEN,
        )
        self.orders[client_id] = order
        return order

    def submit(self, *orders: OrderRequest) -> None:
        """Send orders over the bus."""
        self.bus.publish(SubmitOrders(orders=orders, decision=DECISION))

    def run(self, seconds: float = 5.0) -> None:
        """Let virtual time pass."""
        self.time.run_until(self.time.now_ns() + round(seconds * SECOND))

    def states(self, client_id: str = "a") -> list[tuple[int, OrderState]]:
        """When and what was reported of an order (ms since the start)."""
        return [
            (at, event.report.state)
            for at, event in self.told
            if isinstance(event, OrderReported) and event.report.client_id == client_id
        ]

    def of(self, kind: type[Event]) -> list[Event]:
        """What was told of one kind."""
        return [event for _, event in self.told if isinstance(event, kind)]


@pytest.fixture
def stage() -> Stage:
    """A venue without faults."""
    return Stage()


def test_order_is_sent_acts_and_comes_back_after_latencies(stage: Stage) -> None:
    """SENT at once, the exchange 20 ms later, its reports another 20 ms later."""
    stage.submit(stage.request())
    assert stage.states() == [(0, OrderState.SENT)]
    stage.run(0.019)
    assert not stage.exchange.executions("main")
    stage.run(0.001)
    assert len(stage.exchange.executions("main")) == 1
    stage.run()
    states = stage.states()
    assert {at for at, _ in states[1:]} == {40}
    assert [state for _, state in states] == [
        OrderState.SENT,
        OrderState.ACCEPTED,
        OrderState.FILLED,
        OrderState.FILLED,
    ]


def test_fill_and_account_are_told_in_the_nodes_words(stage: Stage) -> None:
    """Trade id, fee and currency, role; position and balance after it."""
    stage.submit(stage.request())
    stage.run()
    (fill,) = stage.of(FillReported)
    assert isinstance(fill, FillReported)
    assert fill.report.price == 101
    assert fill.report.fee == d("0.0505")
    assert fill.report.fee_currency == "USDT"
    assert fill.report.asset == "BTC-PERP"
    assert fill.report.liquidity is Liquidity.TAKER
    account = stage.of(AccountReported)[-1]
    assert isinstance(account, AccountReported)
    assert account.positions[0].quantity == 1
    assert account.balances[0].wallet == d("99999.9495")


def test_quote_that_moved_while_the_order_travelled_counts(stage: Stage) -> None:
    """A taker meets the book that stands when it arrives."""
    stage.submit(stage.request(tif=TimeInForce.IOC))
    stage.venue.feed_quote("BTC-PERP", 101.0, 5.0, 102.0, 5.0)
    stage.run()
    assert stage.states()[-1][1] is OrderState.EXPIRED
    assert not stage.exchange.executions("main")


def test_maker_fills_when_the_market_comes_through(stage: Stage) -> None:
    """Not when it merely comes near."""
    stage.submit(stage.request(price="100", tif=TimeInForce.POST_ONLY))
    stage.run()
    stage.venue.feed_quote("BTC-PERP", 99.0, 5.0, 100.1, 5.0)
    assert not stage.exchange.executions("main")
    stage.venue.feed_quote("BTC-PERP", 98.0, 5.0, 99.5, 0.4)
    stage.run()
    (fill,) = stage.of(FillReported)
    assert isinstance(fill, FillReported)
    assert fill.report.price == 100
    assert fill.report.quantity == d("0.4")
    assert fill.report.liquidity is Liquidity.MAKER


def test_refusal_is_reported_with_its_code(stage: Stage) -> None:
    """A definite no."""
    stage.submit(stage.request(quantity="0.0005"))
    stage.run()
    event = stage.told[-1][1]
    assert isinstance(event, OrderReported)
    assert event.report.state is OrderState.REJECTED
    assert event.report.code == "bad_quantity"
    assert "multiple" in event.report.reason


def test_orders_of_other_venues_are_not_ours(stage: Stage) -> None:
    """Every venue hears all commands."""
    stage.submit(stage.request(venue="okx"))
    stage.bus.publish(CancelOrders(client_ids=("a", "unknown"), reason="test"))
    stage.bus.publish(QueryOrder(client_id="a"))
    stage.bus.publish(ReconcileVenue(venue="okx", reason="test", fills_since_ns=0))
    stage.run()
    assert not stage.told


def test_cancel_takes_the_order_away(stage: Stage) -> None:
    """And a cancel of what is closed is a definite failure."""
    stage.submit(stage.request(price="98"))
    stage.run()
    stage.bus.publish(CancelOrders(client_ids=("a",), reason="test"))
    stage.run()
    assert stage.states()[-1][1] is OrderState.CANCELLED
    stage.bus.publish(CancelOrders(client_ids=("a",), reason="test"))
    stage.run()
    (failed,) = stage.of(OrderCancelFailed)
    assert isinstance(failed, OrderCancelFailed)
    assert failed.definite


def test_lost_response_leaves_an_order_that_a_query_finds(stage: Stage) -> None:
    """The order exists at the exchange; the node hears UNKNOWN, asks, and finds it."""
    stage.plan.responses[Message.SUBMIT] = Fate(drop=True)
    stage.plan.streams = [Fate(drop=True)]
    stage.submit(stage.request(price="98"))
    stage.run()
    assert stage.states() == [(0, OrderState.SENT), (2_020, OrderState.UNKNOWN)]
    assert len(stage.exchange.open_orders("main")) == 1
    stage.bus.publish(QueryOrder(client_id="a"))
    stage.run()
    assert stage.states()[-1][1] is OrderState.ACCEPTED


def test_lost_request_is_unknown_and_absent_when_asked(stage: Stage) -> None:
    """Nothing is at the exchange; only the answer to a query says so."""
    stage.plan.requests[Message.SUBMIT] = Fate(drop=True)
    stage.submit(stage.request())
    stage.run()
    assert [state for _, state in stage.states()] == [OrderState.SENT, OrderState.UNKNOWN]
    stage.bus.publish(QueryOrder(client_id="a"))
    stage.run()
    assert stage.states()[-1][1] is OrderState.PROVEN_ABSENT
    assert not stage.exchange.order_history("main")


def test_venue_that_forgets_says_nothing_of_ended_orders() -> None:
    """Open orders are found; others give no answer, which proves nothing."""
    stage = Stage(Lookup.OPEN_ONLY)
    stage.submit(stage.request(price="98"), stage.request(client_id="b"))
    stage.run()
    before = len(stage.told)
    stage.bus.publish(QueryOrder(client_id="a"))
    stage.bus.publish(QueryOrder(client_id="b"))
    stage.run()
    assert [
        e.report.client_id for _, e in stage.told[before:] if isinstance(e, OrderReported)
    ] == ["a"]


def test_repeated_request_and_rejected_request(stage: Stage) -> None:
    """A duplicate meets the client id rule; the front door's refusal never reaches the book."""
    stage.plan.requests[Message.SUBMIT] = Fate(copies=2)
    stage.submit(stage.request(price="98"))
    stage.run()
    assert len(stage.exchange.order_history("main")) == 1
    stage.plan.requests[Message.SUBMIT] = Fate(reject="overloaded")
    stage.submit(stage.request(client_id="b"))
    stage.run()
    assert stage.states("b")[-1][1] is OrderState.REJECTED
    assert len(stage.exchange.order_history("main")) == 1


def test_late_and_repeated_answers(stage: Stage) -> None:
    """A fate delays and repeats what comes back."""
    stage.plan.responses[Message.SUBMIT] = Fate(delay_ns=100 * MS, copies=2)
    stage.submit(stage.request(price="98"))
    stage.run()
    assert [at for at, _ in stage.states()] == [0, 40, 140, 140]


@pytest.mark.parametrize(
    ("where", "fate", "definite"),
    [
        ("requests", Fate(drop=True), False),
        ("responses", Fate(drop=True), False),
        ("requests", Fate(reject="busy"), True),
    ],
    ids=["lost request", "lost answer", "refused"],
)
def test_cancel_that_fails_says_whether_it_is_definite(
    stage: Stage, where: str, fate: Fate, definite: bool
) -> None:
    """Silence is not an answer."""
    stage.submit(stage.request(price="98"))
    stage.run()
    getattr(stage.plan, where)[Message.CANCEL] = fate
    stage.bus.publish(CancelOrders(client_ids=("a",), reason="test"))
    stage.run()
    (failed,) = stage.of(OrderCancelFailed)
    assert isinstance(failed, OrderCancelFailed)
    assert failed.definite is definite


@pytest.mark.parametrize("where", ["requests", "responses"])
def test_lost_query_says_nothing(stage: Stage, where: str) -> None:
    """Whoever asked asks again."""
    stage.submit(stage.request(price="98"))
    stage.run()
    before = len(stage.told)
    getattr(stage.plan, where)[Message.QUERY] = Fate(drop=True)
    stage.bus.publish(QueryOrder(client_id="a"))
    stage.run()
    assert len(stage.told) == before


def test_reconcile_gives_all_parts(stage: Stage) -> None:
    """Open orders, fills, legs, balances and funding, with the time of asking."""
    stage.submit(stage.request(), stage.request(client_id="b", price="90"))
    stage.run()
    stage.exchange.set_mark("BTCUSDT", d(100), d(100), d("0.001"), 0)
    stage.exchange.settle_funding("BTCUSDT")
    asked = stage.time.monotonic_ns()
    stage.bus.publish(ReconcileVenue(venue="binance", reason="start", fills_since_ns=0))
    stage.run()
    (snapshot,) = stage.of(VenueSnapshot)
    assert isinstance(snapshot, VenueSnapshot)
    assert snapshot.complete
    assert snapshot.asked_ns == asked
    assert [order.client_id for order in snapshot.orders or ()] == ["b"]
    assert [fill.client_id for fill in snapshot.fills or ()] == ["a"]
    assert [leg.quantity for leg in snapshot.positions or ()] == [1]
    assert [paid.amount for paid in snapshot.funding or ()] == [d("-0.1")]
    assert [paid for e in stage.of(AccountReported) for paid in e.funding]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("where", "fate", "error"),
    [
        ("requests", Fate(drop=True), "no answer"),
        ("requests", Fate(reject="maintenance"), "maintenance"),
        ("responses", Fate(drop=True), "no answer"),
    ],
)
def test_failed_reconcile_is_unknown_never_empty(
    stage: Stage, where: str, fate: Fate, error: str
) -> None:
    """Every part is None."""
    getattr(stage.plan, where)[Message.RECONCILE] = fate
    stage.bus.publish(ReconcileVenue(venue="binance", reason="timer", fills_since_ns=0))
    stage.run()
    (snapshot,) = stage.of(VenueSnapshot)
    assert isinstance(snapshot, VenueSnapshot)
    assert not snapshot.complete
    assert snapshot.positions is None
    assert snapshot.error == error


@pytest.mark.parametrize(
    "numbers",
    [(101.0, 1.0, 99.0, 1.0), (float("nan"), 1.0, 99.0, 1.0), (99.0, 0.0, 101.0, 1.0)],
    ids=["crossed", "nan", "no size"],
)
def test_quote_that_is_no_market_fills_nothing(
    stage: Stage, numbers: tuple[float, float, float, float]
) -> None:
    """The book stands empty rather than at an old or odd price."""
    stage.venue.feed_quote("BTC-PERP", *numbers)
    stage.submit(stage.request(price="110", tif=TimeInForce.IOC))
    stage.run()
    assert stage.states()[-1][1] is OrderState.EXPIRED
    assert not stage.exchange.executions("main")


def test_quotes_from_the_bus_feed_paper_trading(stage: Stage) -> None:
    """Those of this venue only; assets that are not listed are passed over."""
    stage.bus.subscribe(QuoteUpdated, stage.venue.on_quote)
    for venue, ask in (("binance", 98.0), ("okx", 50.0)):
        stage.bus.publish(
            QuoteUpdated(
                venue=venue, asset="BTC-PERP", bid=ask - 1, bid_size=1.0, ask=ask, ask_size=9.0
            )
        )
    stage.venue.feed_quote("DOGE-PERP", 1.0, 1.0, 2.0, 1.0)
    stage.submit(stage.request(price="99"))
    stage.run()
    assert [fill.price for fill in stage.exchange.executions("main")] == [98]


def test_marks_follow_the_quotes_each_second(stage: Stage) -> None:
    """Not with every quote; a market that is none moves no mark."""
    assert stage.exchange.mark("BTCUSDT").mark_price == 100
    stage.venue.feed_quote("BTC-PERP", 109.0, 5.0, 111.0, 5.0)
    assert stage.exchange.mark("BTCUSDT").mark_price == 100
    stage.run(1)
    stage.venue.feed_quote("BTC-PERP", 2.0, 5.0, 1.0, 5.0)
    assert stage.exchange.mark("BTCUSDT").mark_price == 100
    stage.venue.feed_quote("BTC-PERP", 119.0, 5.0, 121.0, 5.0)
    assert stage.exchange.mark("BTCUSDT").mark_price == 120


def test_other_accounts_news_is_not_told(stage: Stage) -> None:
    """A private stream is one account's."""
    stage.exchange.transfer("other", "USDT", d(5))
    stage.exchange.transfer("main", "USDT", d(5))
    stage.run()
    assert len(stage.of(AccountReported)) == 1


def test_transfers_are_told_to_who_asks_for_them(stage: Stage) -> None:
    """The stream tells the balance; the history is asked for, or not."""
    stage.exchange.transfer("main", "USDT", d(5))
    stage.exchange.transfer("main", "USDT", d(-2))
    stage.run()
    told = [one for one in stage.of(AccountReported) if isinstance(one, AccountReported)]
    assert len(told) == 2
    assert not any(one.transfers for one in told)
    ask = ReconcileVenue(venue="binance", reason="timer", fills_since_ns=0)
    stage.bus.publish(ask)
    stage.bus.publish(msgspec.structs.replace(ask, transfers_since_ns=0))
    stage.run()
    answers = [one.transfers for one in stage.of(VenueSnapshot) if isinstance(one, VenueSnapshot)]
    assert answers[0] is None
    assert [(one.amount, one.kind) for one in answers[1] or ()] == [
        (d(5), "deposit"),
        (d(-2), "withdrawal"),
    ]


def test_start_says_that_every_channel_is_up(stage: Stage) -> None:
    """So that a reconcile follows."""
    stage.venue.start()
    channels = {
        event.channel: event.state
        for event in stage.of(VenueConnectionChanged)
        if isinstance(event, VenueConnectionChanged)
    }
    assert channels == dict.fromkeys(("public", "private", "trading"), ConnectionState.LIVE)


def test_instruments_are_the_contracts(stage: Stage) -> None:
    """As gates and strategies know them."""
    instrument = stage.venue.instruments()[0]
    assert instrument.id == "binance:BTC-USDT-PERP"
    assert instrument.quantity_step == d("0.001")
    assert instrument.min_notional == 5


def test_without_a_plan_nothing_is_lost() -> None:
    """The default lets everything arrive."""
    stage = Stage()
    venue = SimulatedVenue(
        stage.exchange,
        account_name="other",
        capabilities=stage.venue.capabilities,
        bus=EventBus(stage.time),
        clock=stage.time,
        timers=stage.time,
        lookup=stage.orders.get,
        latency_ns=0,
    )
    bus = venue._bus
    heard: list[Event] = []
    for kind in (OrderReported, VenueSnapshot):
        bus.subscribe(kind, heard.append)
    order = stage.request(price="98")
    bus.publish(SubmitOrders(orders=(order,), decision=DECISION))
    bus.publish(QueryOrder(client_id="a"))
    bus.publish(CancelOrders(client_ids=("a",), reason="test"))
    bus.publish(ReconcileVenue(venue="binance", reason="test", fills_since_ns=0))
    stage.run()
    assert isinstance(heard[-1], VenueSnapshot)
    states = [event.report.state for event in heard if isinstance(event, OrderReported)]
    assert states[0] is OrderState.SENT
    assert OrderState.CANCELLED in states
