"""Moves exchanges with a market: quotes on the tick grid, takers, marks, funding.

No timer of its own: a wire server calls `step` on one, the virtual world from its heap.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Protocol

from perpbot.domain.sides import Side
from perpbot.kernel.clock import SECOND
from perpbot.simulation.exchange import Exchange
from perpbot.simulation.market import MarketMark, MarketQuote, MarketTrade, MarketUpdate
from perpbot.simulation.model import Contract

_RATE_STEP = Decimal("0.00000001")
_EIGHT_HOURS_S = 28_800


class MarketProcess(Protocol):
    """What moves the exchanges: `SyntheticMarket`, or anything that speaks its updates."""

    def step(self, now_ns: int) -> Sequence[MarketUpdate]:
        """Move to a time and return what happened since."""


class _Desk:
    """One asset at one exchange, with what is needed to put floats on its grid."""

    __slots__ = ("contract", "exchange", "min_lots", "next_funding_ns", "step", "tick")

    def __init__(self, exchange: Exchange, contract: Contract) -> None:
        self.exchange = exchange
        self.next_funding_ns = 0
        self._take(contract)

    def _take(self, contract: Contract) -> None:
        self.contract = contract
        self.tick = contract.tick_size
        self.step = contract.quantity_step
        self.min_lots = math.ceil(contract.min_quantity / contract.quantity_step)

    def follow(self) -> None:
        """Go on with the steps that hold now."""
        contract = self.exchange.contract(self.contract.symbol)
        if contract is not self.contract:
            self._take(contract)

    def tick_at(self, price: float) -> Decimal:
        """The tick at a price: the contract's, coarser where digits are limited."""
        digits = self.contract.price_digits
        if digits is None:
            return self.tick
        exponent = math.floor(math.log10(price)) + 1 - digits
        # Whole numbers are always allowed, however many digits they have.
        return max(self.tick, Decimal(1).scaleb(min(exponent, 0)))

    def ladder(
        self, levels: tuple[tuple[float, float], ...], side: Side, tick: Decimal
    ) -> list[tuple[Decimal, Decimal]]:
        """Levels on the grid, best first, each at least one tick behind the one before."""
        width = float(tick)
        lot = float(self.step)
        away = -side.sign
        found: list[tuple[Decimal, Decimal]] = []
        last: int | None = None
        for price, size in levels:
            number = math.floor(price / width) if away < 0 else math.ceil(price / width)
            if last is not None and (number - last) * away <= 0:
                number = last + away
            if number <= 0:
                break
            last = number
            lots = max(round(size / lot), self.min_lots)
            found.append((tick * number, self.step * lots))
        return found


class MarketDriver:
    """Applies a market to the exchanges of its venues; unlisted assets are passed over."""

    def __init__(self, market: MarketProcess, exchanges: Mapping[str, Exchange]) -> None:
        self._market = market
        self._exchanges = dict(exchanges)
        self._desks = {
            (venue, contract.asset): _Desk(exchange, contract)
            for venue, exchange in exchanges.items()
            for contract in exchange.contracts()
        }

    def step(self, now_ns: int) -> int:
        """Apply everything up to `now_ns`; returns the number of updates applied."""
        applied = 0
        for update in self._market.step(now_ns):
            desk = self._desks.get((update.venue, update.asset))
            if desk is not None:
                self._apply(desk, update)
                applied += 1
        for exchange in self._exchanges.values():
            exchange.advance()
        return applied

    def _apply(self, desk: _Desk, update: MarketUpdate) -> None:
        desk.follow()
        if isinstance(update, MarketQuote):
            self._quote(desk, update)
        elif isinstance(update, MarketTrade):
            self._trade(desk, update)
        else:
            self._mark(desk, update)

    def _quote(self, desk: _Desk, update: MarketQuote) -> None:
        tick = desk.tick_at(update.bids[0][0])
        bids = desk.ladder(update.bids, Side.BUY, tick)
        asks = desk.ladder(update.asks, Side.SELL, tick)
        # Rounding outward keeps at least one tick between best bid and ask, except where both
        # fall onto the same grid line.
        if bids and asks and bids[0][0] >= asks[0][0]:
            asks = [(price + tick, size) for price, size in asks]
        desk.exchange.quote(desk.contract.symbol, bids, asks)

    def _trade(self, desk: _Desk, update: MarketTrade) -> None:
        symbol = desk.contract.symbol
        book = desk.exchange.book(symbol, 1)
        levels = book.asks if update.side is Side.BUY else book.bids
        if levels:
            lots = max(round(update.quantity / float(desk.step)), desk.min_lots)
            desk.exchange.take(symbol, update.side, desk.step * lots, levels[0][0])

    def _mark(self, desk: _Desk, update: MarketMark) -> None:
        contract = desk.contract
        symbol = contract.symbol
        interval_ns = contract.funding_interval_s * SECOND
        if not desk.next_funding_ns:
            desk.next_funding_ns = (update.ts_ns // interval_ns + 1) * interval_ns
        elif update.ts_ns >= desk.next_funding_ns:
            desk.exchange.settle_funding(symbol)
            desk.next_funding_ns += interval_ns
        tick = desk.tick_at(update.mark)
        rate = Decimal(update.funding_per_8h * contract.funding_interval_s / _EIGHT_HOURS_S)
        desk.exchange.set_mark(
            symbol,
            tick * round(update.mark / float(tick)),
            tick * round(update.index / float(tick)),
            rate.quantize(_RATE_STEP),
            desk.next_funding_ns,
        )
