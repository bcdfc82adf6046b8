"""The book of one symbol: resting client orders and the market makers' depth, in price-time order.

The market makers' depth is no account: at each price it is one lump that `replace` sets wholesale.
A lump that stays at its price keeps its place in the queue; consumed quantity stays consumed until
the next `replace`. The book never matches by itself (`perpbot.simulation.matching` does); it keeps
order, tells who is first, and collects the levels that changed since the last `take_changes`.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from decimal import Context, Decimal

import msgspec

from perpbot.domain.errors import InvalidValue
from perpbot.domain.money import ZERO
from perpbot.domain.sides import OrderType, PositionSide, Side
from perpbot.simulation.model import OPEN, OrderStatus, OrderView, Ticket

Level = tuple[Decimal, Decimal, int]
"""Price, total quantity, number of orders."""

_AVERAGE = Context(prec=16)


class Order:
    """One client order while the exchange works on it; `view` is what clients see."""

    __slots__ = (
        "account",
        "arrival",
        "cause",
        "created_ns",
        "fee",
        "filled",
        "order_id",
        "remaining",
        "status",
        "ticket",
        "updated_ns",
        "value",
    )

    def __init__(self, order_id: int, account: str, ticket: Ticket, now_ns: int) -> None:
        self.order_id = order_id
        self.account = account
        self.ticket = ticket
        self.status = OrderStatus.NEW
        self.remaining = ticket.quantity
        self.filled = ZERO
        self.value = ZERO
        self.fee = ZERO
        self.cause = ""
        self.created_ns = now_ns
        self.updated_ns = now_ns
        self.arrival = 0

    @property
    def is_open(self) -> bool:
        """Whether it rests or waits for its trigger."""
        return self.status in OPEN

    @property
    def reduces(self) -> bool:
        """Whether it may only shrink its leg: asked for, or the closing side of a hedge leg."""
        return reduces(self.ticket)

    def resize(self, quantity: Decimal) -> None:
        """Set the total quantity; `remaining` follows."""
        self.ticket = msgspec.structs.replace(self.ticket, quantity=quantity)
        self.remaining = quantity - self.filled

    def view(self) -> OrderView:
        """The order as clients see it now."""
        average = _AVERAGE.divide(self.value, self.filled) if self.filled else ZERO
        return OrderView(
            order_id=self.order_id,
            account=self.account,
            ticket=self.ticket,
            status=self.status,
            filled=self.filled,
            average_price=average,
            fee=self.fee,
            created_ns=self.created_ns,
            updated_ns=self.updated_ns,
            cause=self.cause,
        )


def reduces(ticket: Ticket) -> bool:
    """Whether a ticket may only shrink its leg."""
    if ticket.reduce_only or ticket.close_position:
        return True
    closing = Side.SELL if ticket.position_side is PositionSide.LONG else Side.BUY
    return ticket.position_side is not PositionSide.NET and ticket.side is closing


class _Lump:
    """The market makers' quantity at one price and its place in the queue."""

    __slots__ = ("arrival", "quantity")

    def __init__(self, quantity: Decimal, arrival: int) -> None:
        self.quantity = quantity
        self.arrival = arrival


class BookSide:
    """Bids or asks."""

    __slots__ = ("_changed", "_is_bid", "_ladder", "_lumps", "_prices", "_queues")

    def __init__(self, *, is_bid: bool) -> None:
        self._is_bid = is_bid
        self._queues: dict[Decimal, list[Order]] = {}
        self._prices: list[Decimal] = []
        """Prices of client orders, ascending."""
        self._lumps: dict[Decimal, _Lump] = {}
        self._ladder: list[Decimal] = []
        """Prices of lumps, best first."""
        self._changed: set[Decimal] = set()

    @property
    def best_client(self) -> Decimal | None:
        """Best price of a client order."""
        if not self._prices:
            return None
        return self._prices[-1] if self._is_bid else self._prices[0]

    @property
    def best_background(self) -> Decimal | None:
        """Best price of the market makers."""
        return self._ladder[0] if self._ladder else None

    @property
    def best(self) -> Decimal | None:
        """Best price of all."""
        client, background = self.best_client, self.best_background
        if client is None or background is None:
            return background if client is None else client
        return max(client, background) if self._is_bid else min(client, background)

    def reaches(self, price: Decimal, limit: Decimal | None) -> bool:
        """Whether a taker with `limit` (None: any price) trades with this side's `price`."""
        if limit is None:
            return True
        return price >= limit if self._is_bid else price <= limit

    def front(self, price: Decimal) -> Order | None:
        """Who is first in the queue at `price`: an order, or None for the market makers' lump."""
        queue = self._queues.get(price)
        lump = self._lumps.get(price)
        if queue and (lump is None or queue[0].arrival < lump.arrival):
            return queue[0]
        return None

    def lump(self, price: Decimal) -> Decimal:
        """The market makers' quantity at `price`."""
        found = self._lumps.get(price)
        return ZERO if found is None else found.quantity

    def add(self, order: Order) -> None:
        """Put an order at the end of the queue of its limit price."""
        price = _limit_price(order)
        queue = self._queues.get(price)
        if queue is None:
            self._queues[price] = [order]
            insort(self._prices, price)
        else:
            queue.append(order)
        self._changed.add(price)

    def restore(self, order: Order) -> None:
        """Put an order that was just removed back in its old place."""
        self.add(order)
        self._queues[_limit_price(order)].sort(key=lambda queued: queued.arrival)

    def remove(self, order: Order) -> None:
        """Take a resting order out."""
        price = _limit_price(order)
        queue = self._queues[price]
        queue.remove(order)
        if not queue:
            del self._queues[price]
            del self._prices[bisect_left(self._prices, price)]
        self._changed.add(price)

    def touch(self, order: Order) -> None:
        """Note that the quantity of a resting order changed in place."""
        self._changed.add(_limit_price(order))

    def consume(self, price: Decimal, quantity: Decimal) -> None:
        """Take `quantity` out of the lump at `price`."""
        lump = self._lumps[price]
        lump.quantity -= quantity
        if not lump.quantity:
            del self._lumps[price]
            self._ladder.remove(price)
        self._changed.add(price)

    def replace(self, levels: Sequence[tuple[Decimal, Decimal]], arrival: int) -> None:
        """Set all lumps; `levels` best first, positive. A lump that stays keeps its place."""
        old = self._lumps
        lumps: dict[Decimal, _Lump] = {}
        changed = self._changed
        for price, quantity in levels:
            lump = old.pop(price, None)
            if lump is None:
                lump = _Lump(quantity, arrival)
                changed.add(price)
            elif lump.quantity != quantity:
                lump.quantity = quantity
                changed.add(price)
            lumps[price] = lump
        changed.update(old)
        self._lumps = lumps
        self._ladder = [price for price, _ in levels]

    def queue(self, price: Decimal) -> Iterator[tuple[Order | None, Decimal]]:
        """Who stands at `price` and with how much, first come first; None is the lump."""
        lump = self._lumps.get(price)
        for order in self._queues.get(price, ()):
            if lump is not None and lump.arrival < order.arrival:
                yield None, lump.quantity
                lump = None
            yield order, order.remaining
        if lump is not None:
            yield None, lump.quantity

    def prices(self) -> list[Decimal]:
        """All prices, best first."""
        if not self._prices:
            return self._ladder
        return sorted({*self._prices, *self._ladder}, reverse=self._is_bid)

    def level(self, price: Decimal) -> Level:
        """Total quantity and number of orders at `price` (zeros where there is nothing)."""
        lump = self._lumps.get(price)
        total, count = (ZERO, 0) if lump is None else (lump.quantity, 1)
        for order in self._queues.get(price, ()):
            total += order.remaining
            count += 1
        return (price, total, count)

    def levels(self, depth: int) -> tuple[Level, ...]:
        """The best `depth` levels."""
        return tuple(self.level(price) for price in self.prices()[:depth])

    @property
    def has_changed(self) -> bool:
        """Whether any level changed since the changes were last taken or forgotten."""
        return bool(self._changed)

    def forget_changes(self) -> None:
        """Nobody wants to know which levels changed."""
        self._changed.clear()

    def take_changes(self) -> tuple[Level, ...]:
        """The levels that changed since the last call, best first; forgets them."""
        if not self._changed:
            return ()
        changed = sorted(self._changed, reverse=self._is_bid)
        self._changed.clear()
        return tuple(self.level(price) for price in changed)


class Book:
    """Both sides of one symbol and its sequence number."""

    __slots__ = ("_arrivals", "asks", "bids", "sequence", "symbol")

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.bids = BookSide(is_bid=True)
        self.asks = BookSide(is_bid=False)
        self.sequence = 1
        self._arrivals = 0

    def side(self, side: Side) -> BookSide:
        """Where orders of `side` rest."""
        return self.bids if side is Side.BUY else self.asks

    def would_take(self, side: Side, price: Decimal | None) -> bool:
        """Whether an order at `price` (None: any price) would trade at once."""
        other = self.side(side.opposite)
        best = other.best
        return best is not None and other.reaches(best, price)

    def rest(self, order: Order) -> None:
        """Put an order last in the queue of its price."""
        self._arrivals += 1
        order.arrival = self._arrivals
        self.side(order.ticket.side).add(order)

    def replace(
        self,
        bids: Sequence[tuple[Decimal, Decimal]],
        asks: Sequence[tuple[Decimal, Decimal]],
    ) -> None:
        """Set the market makers' depth, best first. Raises `InvalidValue` where it is no book."""
        _check_levels(bids, asks, self.symbol)
        self._arrivals += 1
        self.bids.replace(bids, self._arrivals)
        self.asks.replace(asks, self._arrivals)

    @property
    def mid(self) -> Decimal | None:
        """Middle of the best prices, None while one side is empty."""
        bid, ask = self.bids.best, self.asks.best
        return None if bid is None or ask is None else (bid + ask) / 2


def _limit_price(order: Order) -> Decimal:
    price = order.ticket.price
    assert price is not None, "only limit orders rest"
    assert order.ticket.order_type is OrderType.LIMIT
    return price


def _check_levels(
    bids: Sequence[tuple[Decimal, Decimal]], asks: Sequence[tuple[Decimal, Decimal]], symbol: str
) -> None:
    if bids and asks and bids[0][0] >= asks[0][0]:
        raise InvalidValue(
            f"{symbol}: background bid was {bids[0][0]} at ask {asks[0][0]}, "
            "a bid below the ask was expected"
        )
    for name, levels, descending in (("bids", bids, True), ("asks", asks, False)):
        previous: Decimal | None = None
        for price, quantity in levels:
            in_order = previous is None or (price < previous if descending else price > previous)
            if not in_order or price <= ZERO or quantity <= ZERO:
                raise InvalidValue(
                    f"{symbol}: background {name} had {quantity} at {price}, "
                    "positive levels, best first, were expected"
                )
            previous = price
