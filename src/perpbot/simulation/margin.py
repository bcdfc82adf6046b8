"""Cross margin of one account and one settle currency: pure functions of its legs and orders.

Initial margin is notional over leverage, for the worse of both directions in which the resting
orders of a symbol could fill; maintenance is a ratio of the notional at mark. Orders that can only
reduce, and stops that have not triggered, need none.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Context, Decimal

from perpbot.domain.money import ZERO
from perpbot.domain.sides import PositionSide, Side
from perpbot.simulation.ledger import Account, LegKey
from perpbot.simulation.model import Contract, OrderStatus

DEFAULT_LEVERAGE = 10
_PRICE = Context(prec=16)


class Market:
    """What margin needs to know of the exchange: contracts and mark prices by symbol."""

    def __init__(self, contracts: Mapping[str, Contract], marks: Mapping[str, Decimal]) -> None:
        self.contracts = contracts
        self.marks = marks


def leverage_of(account: Account, contract: Contract) -> int:
    """The leverage that is set, or the exchange's default."""
    default = min(DEFAULT_LEVERAGE, contract.max_leverage)
    return account.leverages.get(contract.symbol, default)


def equity(account: Account, currency: str, market: Market) -> Decimal:
    """Wallet plus unrealised profit at mark."""
    total = account.wallets.get(currency, ZERO)
    for (symbol, _), leg in account.legs.items():
        if leg.quantity and market.contracts[symbol].settle == currency:
            total += leg.unrealized(market.marks[symbol])
    return total


def maintenance(account: Account, currency: str, market: Market) -> Decimal:
    """Equity below which the account is liquidated."""
    total = ZERO
    for (symbol, _), leg in account.legs.items():
        contract = market.contracts[symbol]
        if leg.quantity and contract.settle == currency:
            total += abs(leg.quantity) * market.marks[symbol] * contract.maintenance_ratio
    return total


class _Exposure:
    __slots__ = ("buys", "position", "sells")

    def __init__(self) -> None:
        self.position = ZERO
        self.buys = ZERO
        self.sells = ZERO

    def add(self, side: Side, notional: Decimal) -> None:
        if side is Side.BUY:
            self.buys += notional
        else:
            self.sells += notional

    @property
    def worst(self) -> Decimal:
        return max(abs(self.position + self.buys), abs(self.position - self.sells))


def initial_margin(
    account: Account,
    currency: str,
    market: Market,
    *,
    adding: tuple[LegKey, Side, Decimal] | None = None,
) -> Decimal:
    """Margin of legs and resting orders; `adding` (leg, side, notional) as if it rested too."""
    exposures: dict[LegKey, _Exposure] = {}
    for key, leg in account.legs.items():
        if leg.quantity:
            exposures.setdefault(key, _Exposure()).position = leg.quantity * market.marks[key[0]]
    for order in account.open.values():
        if order.status is OrderStatus.UNTRIGGERED or order.reduces:
            continue
        key = (order.ticket.symbol, order.ticket.position_side)
        price = order.ticket.price or ZERO
        exposures.setdefault(key, _Exposure()).add(order.ticket.side, order.remaining * price)
    if adding is not None:
        key, side, notional = adding
        exposures.setdefault(key, _Exposure()).add(side, notional)
    total = ZERO
    for (symbol, _), exposure in exposures.items():
        contract = market.contracts[symbol]
        if contract.settle == currency:
            total += exposure.worst / leverage_of(account, contract)
    return total


def liquidation_price(
    account: Account, symbol: str, position_side: PositionSide, market: Market
) -> Decimal | None:
    """The mark at which the account is liquidated if no other mark moves; None where none is."""
    leg = account.legs[(symbol, position_side)]
    contract = market.contracts[symbol]
    if not leg.quantity:
        return None
    mark = market.marks[symbol]
    own = abs(leg.quantity) * contract.maintenance_ratio
    cushion = equity(account, contract.settle, market) - maintenance(
        account, contract.settle, market
    )
    # Equity moves by quantity and maintenance by `own` for each unit that the mark moves.
    slope = leg.quantity - own
    price = mark - _PRICE.divide(cushion, slope) if slope else ZERO
    return _PRICE.plus(price) if price > 0 else None
