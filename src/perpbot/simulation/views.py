"""How accounts look from outside: legs, balances and updates as clients are told them."""

from __future__ import annotations

from collections.abc import Iterable

from perpbot.domain.money import ZERO
from perpbot.simulation.ledger import Account, LegKey
from perpbot.simulation.margin import (
    Market,
    equity,
    initial_margin,
    leverage_of,
    liquidation_price,
)
from perpbot.simulation.model import (
    AccountUpdate,
    BalanceView,
    FundingPayment,
    MoneyTransfer,
    PositionView,
)


def position_view(account: Account, key: LegKey, market: Market) -> PositionView:
    """One leg at the mark, also when it is flat."""
    symbol, position_side = key
    leg = account.leg(symbol, position_side)
    mark = market.marks[symbol]
    return PositionView(
        account=account.name,
        symbol=symbol,
        position_side=position_side,
        quantity=leg.quantity,
        entry_price=leg.entry_price,
        mark_price=mark,
        unrealized_pnl=leg.unrealized(mark),
        liquidation_price=liquidation_price(account, symbol, position_side, market),
        leverage=leverage_of(account, market.contracts[symbol]),
    )


def balance_view(account: Account, currency: str, market: Market) -> BalanceView:
    """One currency; `free` is what new orders may use and never negative."""
    total = equity(account, currency, market)
    used = initial_margin(account, currency, market)
    return BalanceView(
        account=account.name,
        currency=currency,
        wallet=account.wallets.get(currency, ZERO),
        equity=total,
        free=max(total - used, ZERO),
        used_margin=used,
    )


def account_update(
    account: Account,
    cause: str,
    market: Market,
    *,
    currency: str,
    legs: Iterable[LegKey] = (),
    funding: FundingPayment | None = None,
    transfer: MoneyTransfer | None = None,
) -> AccountUpdate:
    """What changed: the balance of one currency and the legs that moved."""
    return AccountUpdate(
        account=account.name,
        cause=cause,
        balances=(balance_view(account, currency, market),),
        positions=tuple(position_view(account, key, market) for key in legs),
        funding=funding,
        transfer=transfer,
    )
