"""What must hold after any sequence of orders, quotes, marks and settlements."""

from __future__ import annotations

from decimal import ROUND_UP, Decimal

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from perpbot.domain.money import ZERO
from perpbot.domain.sides import Liquidity, PositionSide, Side, TimeInForce
from perpbot.simulation.model import (
    BookChange,
    ExchangeRefusal,
    Execution,
    OrderStatus,
    OrderUpdate,
    PublicTrade,
)
from tests.unit.simulation.desk import PROFILE, Desk

ACCOUNTS = ("ann", "bob", "hed")
FUNDS = Decimal(100_000)

accounts = st.sampled_from(ACCOUNTS)
sides = st.sampled_from(Side)
ticks = st.integers(940, 1060)
"""Prices in tenths."""
lots = st.integers(50, 4_000)
"""Quantities in thousandths."""


def price_of(tick: int) -> Decimal:
    """A price on the grid."""
    return Decimal(tick) / 10


def quantity_of(lot: int) -> Decimal:
    """A quantity on the grid."""
    return Decimal(lot) / 1000


class ExchangeMachine(RuleBasedStateMachine):
    """Random traffic on one symbol by two one-way accounts and one in hedge mode."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk(funds=str(FUNDS))
        self.exchange = self.desk.exchange
        self.exchange.open_account("hed", {"USDT": FUNDS})
        self.exchange.set_hedge_mode("hed", enabled=True)
        self.transfers = dict.fromkeys(ACCOUNTS, FUNDS)
        self.seen = 0
        self.sequence = self.exchange.book("BTCUSDT").sequence
        self.followed: dict[str, dict[Decimal, Decimal]] = {"bids": {}, "asks": {}}
        self.legs: dict[tuple[str, PositionSide], Decimal] = {}

    # --- traffic ---------------------------------------------------------------------------------

    @rule(
        account=accounts,
        side=sides,
        lot=lots,
        tick=st.none() | ticks,
        tif=st.sampled_from(TimeInForce),
        reduce_only=st.booleans(),
        leg=st.sampled_from([PositionSide.LONG, PositionSide.SHORT]),
        self_trade=st.sampled_from(["cancel_maker", "cancel_taker", "cancel_both"]),
    )
    def submit(
        self,
        account: str,
        side: Side,
        lot: int,
        tick: int | None,
        tif: TimeInForce,
        *,
        reduce_only: bool,
        leg: PositionSide,
        self_trade: str,
    ) -> None:
        """An order of any kind."""
        ticket = self.desk.ticket(
            side,
            str(quantity_of(lot)),
            None if tick is None else str(price_of(tick)),
            tif=tif,
            reduce_only=reduce_only,
            leg=leg if account == "hed" else PositionSide.NET,
            self_trade=self_trade,
        )
        try:
            view = self.exchange.submit(account, ticket)
        except ExchangeRefusal:
            return
        asked = quantity_of(lot)
        assert view.filled <= view.ticket.quantity <= asked
        resting = view.is_open and tick is not None
        assert resting or not view.is_open
        if resting:
            assert tif in (TimeInForce.GTC, TimeInForce.POST_ONLY)
        if tif is TimeInForce.POST_ONLY and tick is not None:
            assert view.filled == 0
        if tif is TimeInForce.FOK and tick is not None:
            assert view.filled in (ZERO, view.ticket.quantity)

    @rule(pick=st.integers(0, 50), tick=ticks, part=st.sampled_from([1, 2]))
    def leave(self, pick: int, tick: int, part: int) -> None:
        """A reduce-only order over some leg, whatever else rests to reduce it already."""
        legs = [leg for account in ACCOUNTS for leg in self.exchange.positions(account)]
        if not legs:
            return
        leg = legs[pick % len(legs)]
        quantity = (abs(leg.quantity) / part).quantize(Decimal("0.001"), rounding=ROUND_UP)
        ticket = self.desk.ticket(
            Side.SELL if leg.quantity > 0 else Side.BUY,
            str(quantity),
            str(price_of(tick)),
            reduce_only=True,
            leg=leg.position_side,
        )
        try:
            view = self.exchange.submit(leg.account, ticket)
        except ExchangeRefusal:
            return
        assert view.ticket.quantity <= abs(leg.quantity)

    @rule(account=accounts, side=sides, lot=lots, tick=ticks, above=st.booleans())
    def stop(self, account: str, side: Side, lot: int, tick: int, *, above: bool) -> None:
        """A stop that can only reduce."""
        leg = PositionSide.NET
        if account == "hed":
            leg = PositionSide.LONG if side is Side.SELL else PositionSide.SHORT
        ticket = self.desk.ticket(
            side,
            str(quantity_of(lot)),
            trigger=str(price_of(tick)),
            above=above,
            reduce_only=True,
            leg=leg,
        )
        try:
            self.exchange.submit(account, ticket)
        except ExchangeRefusal:
            return

    @rule(mid=ticks, gap=st.integers(1, 5), sizes=st.lists(lots, min_size=1, max_size=4))
    def quote(self, mid: int, gap: int, sizes: list[int]) -> None:
        """New depth around a middle."""
        bids = [(price_of(mid - i), quantity_of(size)) for i, size in enumerate(sizes)]
        asks = [(price_of(mid + gap + i), quantity_of(size)) for i, size in enumerate(sizes)]
        self.exchange.quote("BTCUSDT", bids, asks)

    @rule(side=sides, lot=lots)
    def outsider(self, side: Side, lot: int) -> None:
        """Public flow."""
        self.exchange.take("BTCUSDT", side, quantity_of(lot))

    @rule(side=sides)
    def sweep(self, side: Side) -> None:
        """Public flow that empties one side."""
        self.exchange.take("BTCUSDT", side, Decimal(1_000))
        book = self.exchange.book("BTCUSDT")
        assert not (book.asks if side is Side.BUY else book.bids)

    @rule(account=accounts, pick=st.integers(0, 50), tick=ticks, lot=lots)
    def amend(self, account: str, pick: int, tick: int, lot: int) -> None:
        """Another price and quantity for some open order."""
        orders = self.exchange.open_orders(account)
        if not orders:
            return
        order_id = orders[pick % len(orders)].order_id
        try:
            self.exchange.amend(account, order_id, price=price_of(tick), quantity=quantity_of(lot))
        except ExchangeRefusal:
            assert self.exchange.order(account, order_id) == orders[pick % len(orders)]

    @rule(account=accounts, pick=st.integers(0, 50))
    def cancel(self, account: str, pick: int) -> None:
        """Cancel some open order."""
        orders = self.exchange.open_orders(account)
        if orders:
            order_id = orders[pick % len(orders)].order_id
            assert not self.exchange.cancel(account, "BTCUSDT", order_id).is_open

    @rule(tick=st.integers(900, 1100), rate=st.integers(-50, 50))
    def mark(self, tick: int, rate: int) -> None:
        """A new mark triggers stops."""
        self.desk.mark(str(price_of(tick)), rate=str(Decimal(rate) / 100_000))

    @precondition(lambda self: self.exchange.mark("BTCUSDT").mark_price > 0)
    @rule()
    def fund(self) -> None:
        """A funding settlement."""
        self.exchange.settle_funding("BTCUSDT")

    @rule(account=accounts, amount=st.integers(-500, 500))
    def transfer(self, account: str, amount: int) -> None:
        """Money in or out."""
        try:
            self.exchange.transfer(account, "USDT", Decimal(amount))
        except ExchangeRefusal:
            return
        self.transfers[account] += amount

    # --- what holds ------------------------------------------------------------------------------

    @invariant()
    def book_is_never_crossed(self) -> None:
        """Whatever could trade has traded; levels are positive and in order."""
        book = self.exchange.book("BTCUSDT", 1_000)
        if book.bids and book.asks:
            assert book.bids[0][0] < book.asks[0][0]
        for levels, reverse in ((book.bids, True), (book.asks, False)):
            prices = [price for price, _, _ in levels]
            assert prices == sorted(set(prices), reverse=reverse)
            assert all(quantity > 0 and count > 0 for _, quantity, count in levels)

    @invariant()
    def executions_explain_positions(self) -> None:
        """A position is the sum of its executions, for the exchange and the accountant alike."""
        for account in ACCOUNTS:
            total = ZERO
            for leg in PositionSide:
                fills = self._fills(account, leg)
                signed = sum((fill.quantity * fill.side.sign for fill in fills), ZERO)
                assert self.desk.position(account, leg) == signed
                total += signed
            assert self.desk.accountant.position("binance", account, "BTC-PERP") == total

    @invariant()
    def causes_explain_wallets(self) -> None:
        """Wallet = transfers + realised profit - fees + funding; fees follow role and price."""
        for account in ACCOUNTS:
            fills = self.exchange.executions(account)
            for fill in fills:
                maker = fill.liquidity is Liquidity.MAKER
                ratio = PROFILE.maker_fee if maker else PROFILE.taker_fee
                assert fill.fee == round(fill.price * fill.quantity * ratio, 8)
            explained = self.transfers[account]
            explained += sum((fill.realized_pnl - fill.fee for fill in fills), ZERO)
            paid = self.exchange.funding_payments(account)
            explained += sum((payment.amount for payment in paid), ZERO)
            assert self.desk.wallet(account) == explained

    @invariant()
    def accountant_agrees_to_the_last_digit(self) -> None:
        """Its cash-flow books and the exchange's cost books give one equity."""
        for account in ACCOUNTS:
            equity = self.exchange.balances(account)[0].equity
            assert self.desk.accountant.equity("binance", account, "USDT") == equity

    @invariant()
    def news_tells_the_truth(self) -> None:
        """Changes are numbered and give the book; fill by fill, a reduction only reduces."""
        for news in self.desk.news[self.seen :]:
            if isinstance(news, OrderUpdate) and news.execution is not None:
                self._walk_leg(news.execution, reduce_only=news.order.ticket.reduce_only)
            elif isinstance(news, BookChange):
                assert news.previous_sequence == self.sequence
                assert news.sequence > news.previous_sequence
                self.sequence = news.sequence
                for side in ("bids", "asks"):
                    for price, quantity, _ in getattr(news, side):
                        self.followed[side][price] = quantity
        self.seen = len(self.desk.news)
        book = self.exchange.book("BTCUSDT", 1_000)
        for side in ("bids", "asks"):
            known = {price: size for price, size in self.followed[side].items() if size}
            assert known == {price: size for price, size, _ in getattr(book, side)}

    @invariant()
    def clients_never_trade_with_themselves(self) -> None:
        """Self-trade prevention holds in every mode."""
        for news in self.desk.news[-20:]:
            if isinstance(news, PublicTrade):
                assert not news.buyer or news.buyer != news.seller

    @invariant()
    def fills_add_up_in_orders(self) -> None:
        """An order's filled quantity and fee are those of its executions."""
        for account in ACCOUNTS:
            done: dict[int, tuple[Decimal, Decimal]] = {}
            for fill in self.exchange.executions(account):
                filled, fee = done.get(fill.order_id, (ZERO, ZERO))
                done[fill.order_id] = (filled + fill.quantity, fee + fill.fee)
            for view in self.exchange.order_history(account):
                assert (view.filled, view.fee) == done.get(view.order_id, (ZERO, ZERO))
                assert view.filled <= view.ticket.quantity
                assert (view.status is OrderStatus.FILLED) == (view.filled == view.ticket.quantity)

    def _walk_leg(self, fill: Execution, *, reduce_only: bool) -> None:
        key = (fill.account, fill.position_side)
        before = self.legs.get(key, ZERO)
        after = before + fill.quantity * fill.side.sign
        closing = fill.side is (Side.SELL if fill.position_side is PositionSide.LONG else Side.BUY)
        if reduce_only or (fill.position_side is not PositionSide.NET and closing):
            assert abs(after) < abs(before)
            assert after * before >= 0
        if fill.position_side is PositionSide.LONG:
            assert after >= 0
        if fill.position_side is PositionSide.SHORT:
            assert after <= 0
        self.legs[key] = after

    def _fills(self, account: str, leg: PositionSide) -> list[Execution]:
        return [fill for fill in self.exchange.executions(account) if fill.position_side is leg]


ExchangeMachine.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
test_any_traffic_keeps_the_books = ExchangeMachine.TestCase
