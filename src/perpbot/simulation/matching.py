"""Matching: price-time priority among client orders and the market makers' depth.

A trade is always at the price of whoever was there first. Client orders take and rest; background
depth only rests, and where new depth crosses resting client orders it is the taker. Every fill
books its fee and profit at once and tells the accountant; a leg that shrank takes back the resting
reduce-only quantity that it no longer covers before the next fill is looked for, so no sequence of
fills can turn a reduction into a new position.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import count

import msgspec

from perpbot.domain.money import ONE, ZERO
from perpbot.domain.sides import Liquidity, OrderType, PositionSide, Side, TimeInForce
from perpbot.simulation.accountant import Accountant
from perpbot.simulation.book import Book, Order
from perpbot.simulation.ledger import Account, booked
from perpbot.simulation.margin import Market
from perpbot.simulation.model import (
    AccountUpdate,
    BookChange,
    Contract,
    Execution,
    OrderStatus,
    OrderUpdate,
    Profile,
    PublicTrade,
)
from perpbot.simulation.news import Outbox
from perpbot.simulation.views import account_update

_KEPT_TRADES = 1_000


class Matcher:
    """Owns the books and books the fills; the exchange decides what may enter."""

    def __init__(
        self,
        profile: Profile,
        contracts: Sequence[Contract],
        clock_ns: Callable[[], int],
        accountant: Accountant,
    ) -> None:
        self.profile = profile
        self.contracts = {contract.symbol: contract for contract in contracts}
        self.books = {symbol: Book(symbol) for symbol in self.contracts}
        self.trades: dict[str, deque[PublicTrade]] = {
            symbol: deque(maxlen=_KEPT_TRADES) for symbol in self.contracts
        }
        self.accounts: dict[str, Account] = {}
        self.marks: dict[str, Decimal] = dict.fromkeys(self.contracts, ZERO)
        self.market = Market(self.contracts, self.marks)
        self.news = Outbox()
        self._clock_ns = clock_ns
        self._accountant = accountant
        self._trade_ids = count(profile.first_id)

    # --- orders ----------------------------------------------------------------------------------

    def place(self, order: Order) -> None:
        """Match an order, then rest or end what is left."""
        account = self.accounts[order.account]
        account.open[order.order_id] = order
        self._tell(order)
        ticket = order.ticket
        book = self.books[ticket.symbol]
        limit = self._limit(order)
        tif = ticket.time_in_force
        is_passive = tif is TimeInForce.POST_ONLY and ticket.price is not None
        if is_passive and book.would_take(ticket.side, ticket.price):
            self.end(order, OrderStatus.EXPIRED, "post_only")
            return
        if tif is TimeInForce.FOK and self._fillable(order, limit) < order.remaining:
            self.end(order, OrderStatus.EXPIRED, "fok")
            return
        self._sweep(order, limit, "")
        if not order.is_open:
            return
        if ticket.order_type is OrderType.MARKET:
            self.end(order, OrderStatus.EXPIRED, "market")
        elif tif in (TimeInForce.IOC, TimeInForce.FOK):
            self.end(order, OrderStatus.EXPIRED, "ioc")
        else:
            book.rest(order)

    def end(self, order: Order, status: OrderStatus, cause: str) -> None:
        """End an order without a fill and tell it. It must not be in the book any more."""
        order.status = status
        order.cause = cause
        order.updated_ns = self._clock_ns()
        self.accounts[order.account].open.pop(order.order_id, None)
        self._tell(order)

    def withdraw(self, order: Order, cause: str) -> None:
        """Take an open order away: out of the book where it rests there, then ended."""
        if order.status is not OrderStatus.UNTRIGGERED:
            self.books[order.ticket.symbol].side(order.ticket.side).remove(order)
        self.end(order, OrderStatus.CANCELLED, cause)

    def wait_for_trigger(self, order: Order) -> None:
        """Keep a stop outside the book until its trigger."""
        order.status = OrderStatus.UNTRIGGERED
        self.accounts[order.account].open[order.order_id] = order
        self._tell(order)

    def liquidate(self, order: Order) -> None:
        """Close by force: what the book does not take within the band goes at the mark."""
        ticket = order.ticket
        self.accounts[order.account].open[order.order_id] = order
        self._tell(order)
        self._sweep(order, self._limit(order), "liquidation")
        if order.is_open:
            mark = self.marks[ticket.symbol]
            self._match(
                ticket.symbol,
                ticket.side,
                mark,
                order.remaining,
                taker=order,
                cause="liquidation",
            )

    def shrink(self, order: Order, total: Decimal) -> None:
        """Make a resting order smaller; it keeps its place in the queue."""
        order.resize(total)
        order.updated_ns = self._clock_ns()
        self.books[order.ticket.symbol].side(order.ticket.side).touch(order)
        self._tell(order)

    def resting(self, account: Account, symbol: str | None = None) -> list[Order]:
        """Orders of the account that are in a book, oldest first."""
        return [
            order
            for order in account.open.values()
            if order.arrival and (symbol is None or order.ticket.symbol == symbol)
        ]

    def _limit(self, order: Order) -> Decimal | None:
        """The worst price an order may take: its own, or the band's for a market order."""
        ticket = order.ticket
        if ticket.order_type is OrderType.LIMIT:
            return ticket.price
        mark = self.marks[ticket.symbol]
        return mark * (ONE + ticket.side.sign * self.profile.band_ratio) if mark else None

    def _fillable(self, taker: Order, limit: Decimal | None) -> Decimal:
        """What a sweep would fill, up to `remaining`, without doing it.

        Makers' reductions shrink while the sweep goes on, just as they will when it does.
        """
        ticket = taker.ticket
        side = self.books[ticket.symbol].side(ticket.side.opposite)
        moved: dict[tuple[str, PositionSide], Decimal] = {}
        total = ZERO
        for price in side.prices():
            if not side.reaches(price, limit) or total >= taker.remaining:
                break
            for maker, standing in side.queue(price):
                if maker is None:
                    total += standing
                    continue
                if maker.account == taker.account:
                    if ticket.self_trade != "cancel_maker":
                        return total
                    continue
                key = (maker.account, maker.ticket.position_side)
                done = moved.get(key, ZERO)
                quantity = standing
                if maker.reduces:
                    leg = self.accounts[maker.account].leg(ticket.symbol, key[1])
                    covered = -(leg.quantity + done) * maker.ticket.side.sign
                    quantity = max(min(standing, covered), ZERO)
                moved[key] = done + quantity * maker.ticket.side.sign
                total += quantity
        return total

    def _sweep(self, taker: Order, limit: Decimal | None, cause: str) -> None:
        side = self.books[taker.ticket.symbol].side(taker.ticket.side.opposite)
        while taker.is_open and taker.remaining > ZERO:
            price = side.best
            if price is None or not side.reaches(price, limit):
                return
            maker = side.front(price)
            if maker is None:
                quantity = min(taker.remaining, side.lump(price))
                side.consume(price, quantity)
            elif maker.account == taker.account:
                self._prevent_self_trade(taker, maker)
                continue
            else:
                quantity = min(taker.remaining, maker.remaining)
            self._match(
                taker.ticket.symbol,
                taker.ticket.side,
                price,
                quantity,
                taker=taker,
                maker=maker,
                cause=cause,
            )

    def _prevent_self_trade(self, taker: Order, maker: Order) -> None:
        mode = taker.ticket.self_trade
        if mode in ("cancel_maker", "cancel_both"):
            self.withdraw(maker, "self_trade")
        if mode in ("cancel_taker", "cancel_both"):
            self.end(taker, OrderStatus.CANCELLED, "self_trade")

    # --- the market makers -----------------------------------------------------------------------

    def meet_background(self, symbol: str) -> None:
        """Let background depth that crosses resting client orders take them, best first."""
        book = self.books[symbol]
        for makers, takers, taker_side in (
            (book.bids, book.asks, Side.SELL),
            (book.asks, book.bids, Side.BUY),
        ):
            while (price := makers.best_client) is not None:
                depth = takers.best_background
                if depth is None or not makers.reaches(price, depth):
                    break
                maker = makers.front(price)
                assert maker is not None, "background depth never crosses itself"
                quantity = min(maker.remaining, takers.lump(depth))
                takers.consume(depth, quantity)
                self._match(symbol, taker_side, price, quantity, maker=maker)

    def outside_taker(
        self, symbol: str, side: Side, quantity: Decimal, limit: Decimal | None
    ) -> Decimal:
        """Trade for nobody's account against the book; return what was filled."""
        book = self.books[symbol].side(side.opposite)
        left = quantity
        while left > ZERO:
            price = book.best
            if price is None or not book.reaches(price, limit):
                break
            maker = book.front(price)
            if maker is None:
                part = min(left, book.lump(price))
                book.consume(price, part)
            else:
                part = min(left, maker.remaining)
            self._match(symbol, side, price, part, maker=maker)
            left -= part
        return quantity - left

    # --- fills -----------------------------------------------------------------------------------

    def _match(
        self,
        symbol: str,
        side: Side,
        price: Decimal,
        quantity: Decimal,
        *,
        taker: Order | None = None,
        maker: Order | None = None,
        cause: str = "",
    ) -> None:
        trade = PublicTrade(
            symbol=symbol,
            trade_id=next(self._trade_ids),
            price=price,
            quantity=quantity,
            side=side,
            ts_ns=self._clock_ns(),
            buyer=_name(taker if side is Side.BUY else maker),
            seller=_name(maker if side is Side.BUY else taker),
        )
        self.trades[symbol].append(trade)
        if self.news.wanted(PublicTrade):
            self.news.put(trade)
        if maker is not None:
            book_side = self.books[symbol].side(side.opposite)
            if maker.remaining == quantity:
                book_side.remove(maker)
            else:
                book_side.touch(maker)
        if taker is not None:
            self._book_fill(taker, trade, Liquidity.TAKER, cause)
        if maker is not None:
            self._book_fill(maker, trade, Liquidity.MAKER, "")

    def _book_fill(self, order: Order, trade: PublicTrade, role: Liquidity, cause: str) -> None:
        """Book one execution: order, leg, wallet, accountant; then tell order and account."""
        price, quantity, now = trade.price, trade.quantity, trade.ts_ns
        ticket = order.ticket
        account = self.accounts[order.account]
        contract = self.contracts[ticket.symbol]
        is_taker = role is Liquidity.TAKER
        ratio = self.profile.taker_fee if is_taker else self.profile.maker_fee
        fee = booked(price * quantity * ratio)
        leg = account.leg(ticket.symbol, ticket.position_side)
        realized = leg.trade(quantity * ticket.side.sign, price)
        account.wallets[contract.settle] = (
            account.wallets.get(contract.settle, ZERO) + realized - fee
        )
        order.remaining -= quantity
        order.filled += quantity
        order.value += price * quantity
        order.fee += fee
        order.updated_ns = now
        order.status = OrderStatus.PARTIALLY_FILLED if order.remaining else OrderStatus.FILLED
        if not order.remaining:
            account.open.pop(order.order_id, None)
        execution = Execution(
            trade_id=trade.trade_id,
            account=order.account,
            symbol=ticket.symbol,
            order_id=order.order_id,
            client_id=ticket.client_id,
            side=ticket.side,
            position_side=ticket.position_side,
            price=price,
            quantity=quantity,
            fee=fee,
            liquidity=role,
            realized_pnl=realized,
            ts_ns=now,
            cause=cause,
        )
        account.executions.append(execution)
        self._accountant.executed(
            venue=self.profile.name,
            account=order.account,
            asset=contract.asset,
            client_id=ticket.client_id,
            signed_quantity=quantity * ticket.side.sign,
            price=price,
            fee=fee,
            ts_ns=now,
        )
        self._tell(order, execution)
        if self.news.wanted(AccountUpdate):
            key = (ticket.symbol, ticket.position_side)
            self.news.put(
                account_update(
                    account, cause or "order", self.market, currency=contract.settle, legs=(key,)
                )
            )
        self._clip_reductions(account, order)

    def _clip_reductions(self, account: Account, filled: Order) -> None:
        """Shrink the leg's other resting reduce-only orders to what the leg still covers."""
        ticket = filled.ticket
        for order in list(account.open.values()):
            other = order.ticket
            if (
                not order.arrival
                or not order.reduces
                or order is filled
                or other.symbol != ticket.symbol
                or other.position_side is not ticket.position_side
            ):
                continue
            covered = account.reducible(other.symbol, other.position_side, other.side)
            if covered <= ZERO:
                self.withdraw(order, "reduce_only")
            elif order.remaining > covered:
                self.shrink(order, order.filled + covered)

    # --- news ------------------------------------------------------------------------------------

    def tell_book(self, symbol: str) -> None:
        """Number and tell the levels that changed; nothing where none did."""
        book = self.books[symbol]
        if not (book.bids.has_changed or book.asks.has_changed):
            return
        previous = book.sequence
        book.sequence = previous + 1
        if not self.news.wanted(BookChange):
            book.bids.forget_changes()
            book.asks.forget_changes()
            return
        self.news.put(
            BookChange(
                symbol=symbol,
                previous_sequence=previous,
                sequence=book.sequence,
                bids=book.bids.take_changes(),
                asks=book.asks.take_changes(),
                ts_ns=self._clock_ns(),
            )
        )

    def _tell(self, order: Order, execution: Execution | None = None) -> None:
        if self.news.wanted(OrderUpdate):
            self.news.put(OrderUpdate(order=order.view(), execution=execution))

    def reprice(self, order: Order, price: Decimal, quantity: Decimal) -> None:
        """Give an order that is not in the book a new limit and total quantity."""
        order.ticket = msgspec.structs.replace(order.ticket, price=price)
        order.resize(quantity)
        order.updated_ns = self._clock_ns()


def _name(order: Order | None) -> str:
    return "" if order is None else order.account
