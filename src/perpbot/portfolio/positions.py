"""What we own by our own books: the sum of booked fills, leg by leg, and its profit in USD.

Positions change by fills and journalled adjustments only (spec corrections E-24), de-duplicated
before they get here. Profit is cash flow: price = what sells brought minus what buys cost plus the
worth of what is still held; fees and funding stand beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from perpbot.domain.events import Event, FundingPaid, OrderFilled, PositionAdjusted
from perpbot.domain.money import ONE, ZERO
from perpbot.domain.pairs import ProfitSplit
from perpbot.domain.sides import PositionSide
from perpbot.portfolio.leases import Leg, leg

_SIDES = tuple(str(side) for side in PositionSide)


ADJUSTMENTS_KEPT = 8


class Adjustment(msgspec.Struct):
    """A change that no execution explains yet; `delta` is signed base coins."""

    ts_ns: int
    delta: Decimal
    price: Decimal
    """Settle currency."""


class Position(msgspec.Struct):
    """One leg; `quantity` is signed base coins, money is USD."""

    quantity: Decimal = ZERO
    entry_price: Decimal = ZERO
    """Average price of what is held, settle currency; 0 when flat."""
    cash: Decimal = ZERO
    """Proceeds of sells minus cost of buys so far."""
    fees: Decimal = ZERO
    """Positive is a cost."""
    funding: Decimal = ZERO
    """Positive was received."""
    traded: Decimal = ZERO
    """Turnover in USD."""
    usd_rate: Decimal = ONE
    """USD for one unit of settle currency at the newest fill."""
    adjustments: list[Adjustment] = []
    """The newest that stand, oldest first."""

    @property
    def entry_usd(self) -> Decimal:
        """Average price of what is held in USD."""
        return self.entry_price * self.usd_rate


class PositionBook:
    """All legs that ever traded. Folds from the journal."""

    name = "positions"

    def __init__(self) -> None:
        self._legs: dict[Leg, Position] = {}
        self._held: dict[Leg, Position] = {}
        """Of these the ones that are not flat."""

    def get(self, key: Leg) -> Position:
        """Return a leg; an empty one when it never traded."""
        return self._legs.get(key) or Position()

    def quantity(self, venue: str, account: str, asset: str) -> Decimal:
        """Return the signed net of all sides of an instrument."""
        total = ZERO
        for side in _SIDES:
            position = self._held.get((venue, account, asset, side))
            if position is not None:
                total += position.quantity
        return total

    def items(self) -> Iterator[tuple[Leg, Position]]:
        """Yield every leg, oldest first."""
        return iter(self._legs.items())

    def held(self) -> Iterator[tuple[Leg, Position]]:
        """Yield the legs that are not flat."""
        return iter(self._held.items())

    def profit(self, marks: Mapping[tuple[str, str], Decimal]) -> ProfitSplit:
        """Return the total profit in USD; `marks` (venue, asset) -> USD per base coin.

        Raises `KeyError` when something is held that has no mark: no price is invented.
        """
        price = fees = funding = ZERO
        for key, position in self._legs.items():
            price += position.cash
            if position.quantity:
                price += position.quantity * marks[(key[0], key[2])]
            fees -= position.fees
            funding += position.funding
        return ProfitSplit(price=price, fees=fees, funding=funding)

    # --- folding ---

    def folds(self) -> Mapping[type[Event], Any]:
        """What it lives on."""
        return {
            OrderFilled: self._filled,
            PositionAdjusted: self._adjusted,
            FundingPaid: self._funding,
        }

    def _trade(self, key: Leg, signed: Decimal, price: Decimal) -> Position:
        position = self._leg(key)
        _move(position, signed, price)
        if position.quantity:
            self._held[key] = position
        else:
            self._held.pop(key, None)
        return position

    def _leg(self, key: Leg) -> Position:
        position = self._legs.get(key)
        if position is None:
            position = self._legs[key] = Position()
        return position

    def _filled(self, event: OrderFilled) -> None:
        key = leg(event.venue, event.account, event.asset, event.position_side)
        position = self._trade(key, event.quantity * event.side.sign, event.price)
        usd = event.price * event.quantity * event.usd_rate
        position.cash -= usd * event.side.sign
        position.usd_rate = event.usd_rate
        position.fees += event.fee_usd
        position.traded += usd

    def _adjusted(self, event: PositionAdjusted) -> None:
        key = leg(event.venue, event.account, event.asset, event.position_side)
        position = self._trade(key, event.delta, event.price)
        position.cash -= event.delta * event.price * position.usd_rate
        if event.takes_back_ns:
            _take_back(position, event)
        else:
            position.adjustments.append(Adjustment(event.ts_ns, event.delta, event.price))
            del position.adjustments[:-ADJUSTMENTS_KEPT]

    def _funding(self, event: FundingPaid) -> None:
        sides = [key for key in self._legs if key[:3] == (event.venue, event.account, event.asset)]
        key = sides[0] if sides else leg(event.venue, event.account, event.asset)
        self._leg(key).funding += event.amount_usd

    # --- surviving ---

    def snapshot(self) -> object:
        """The book as plain values."""
        return [[*key, position] for key, position in self._legs.items()]

    def restore(self, state: Any) -> None:
        """Take over a snapshot."""
        self._legs = {
            (row[0], row[1], row[2], row[3]): msgspec.convert(row[4], Position, strict=False)
            for row in state
        }
        self._held = {key: value for key, value in self._legs.items() if value.quantity}


def _move(position: Position, signed: Decimal, price: Decimal) -> None:
    """Change a leg by `signed` coins at `price`, keeping the average entry."""
    before = position.quantity
    after = before + signed
    if after == 0:
        position.entry_price = ZERO
    elif before == 0 or (before > 0) != (after > 0):
        position.entry_price = price
    elif (before > 0) == (signed > 0):
        position.entry_price = (before * position.entry_price + signed * price) / after
    position.quantity = after


def _take_back(position: Position, event: PositionAdjusted) -> None:
    """Let go of an adjustment, or of a part, that an execution has explained."""
    for standing in position.adjustments:
        if standing.ts_ns == event.takes_back_ns:
            standing.delta += event.delta
    position.adjustments = [one for one in position.adjustments if one.delta]
