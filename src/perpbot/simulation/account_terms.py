"""What an account may choose for itself: leverage and position mode; refused where it cannot."""

from __future__ import annotations

from perpbot.simulation.ledger import Account
from perpbot.simulation.margin import Market, equity, initial_margin, leverage_of
from perpbot.simulation.model import Contract, ExchangeRefusal, Profile, Refusal


def set_leverage(account: Account, contract: Contract, leverage: int, market: Market) -> None:
    """Set initial leverage: 1 up to the contract's maximum, and only if margin covers it."""
    if not 1 <= leverage <= contract.max_leverage:
        raise ExchangeRefusal(
            Refusal.BAD_QUANTITY, f"leverage {leverage} is not in 1 to {contract.max_leverage}"
        )
    before = leverage_of(account, contract)
    account.leverages[contract.symbol] = leverage
    needed = initial_margin(account, contract.settle, market)
    if leverage < before and needed > equity(account, contract.settle, market):
        account.leverages[contract.symbol] = before
        raise ExchangeRefusal(
            Refusal.INSUFFICIENT_MARGIN, f"equity does not carry leverage {leverage}"
        )


def set_hedge_mode(account: Account, profile: Profile, *, enabled: bool) -> None:
    """Hold LONG and SHORT legs apart or not; never with open orders or positions."""
    if enabled and not profile.hedge_mode:
        raise ExchangeRefusal(Refusal.POSITION_MODE, f"{profile.name} is one-way only")
    busy = account.open or any(leg.quantity for leg in account.legs.values())
    if enabled != account.hedge_mode and busy:
        raise ExchangeRefusal(
            Refusal.POSITION_MODE, "the mode cannot change with open orders or positions"
        )
    account.hedge_mode = enabled
