"""Rows of an account: positions, funding, transfers, fees."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from perpbot.domain.money import ZERO, plain
from perpbot.simulation.model import (
    BalanceView,
    Contract,
    FundingPayment,
    MoneyTransfer,
    PositionView,
    Profile,
)
from perpbot.simulation.wire.hyperliquid.rows.market import hash_of
from perpbot.simulation.wire.hyperliquid.rows.units import Row, ms, number


def position_row(contract: Contract, leg: PositionView, funding: Decimal) -> Row:
    """Return an element of `assetPositions`; `funding` is what the position has paid."""
    value = abs(leg.quantity) * leg.mark_price
    margin = value / leg.leverage
    entry = abs(leg.quantity) * leg.entry_price / leg.leverage
    earned = leg.unrealized_pnl / entry if entry else ZERO
    price = leg.liquidation_price
    paid = number(funding)
    return {
        "type": "oneWay",
        "position": {
            "coin": leg.symbol,
            "szi": number(leg.quantity),
            "leverage": {"type": "cross", "value": leg.leverage},
            "entryPx": number(leg.entry_price),
            "positionValue": number(value),
            "unrealizedPnl": number(leg.unrealized_pnl),
            "returnOnEquity": number(round(earned, 10)),
            "liquidationPx": None if price is None else number(price),
            "marginUsed": number(round(margin, 6)),
            "maxLeverage": contract.max_leverage,
            "cumFunding": {"allTime": paid, "sinceOpen": paid, "sinceChange": paid},
        },
    }


def clearinghouse_row(
    balance: BalanceView | None,
    legs: Sequence[tuple[Contract, PositionView, Decimal]],
    now_ns: int,
) -> Row:
    """Return the perpetual account; an address without one has zeros."""
    equity = balance.equity if balance else ZERO
    notional = sum((abs(leg.quantity) * leg.mark_price for _, leg, _ in legs), ZERO)
    signed = sum((leg.quantity * leg.mark_price for _, leg, _ in legs), ZERO)
    maintenance = sum(
        (abs(leg.quantity) * leg.mark_price * c.maintenance_ratio for c, leg, _ in legs), ZERO
    )
    summary = {
        "accountValue": number(equity),
        "totalNtlPos": number(notional),
        "totalRawUsd": number(equity - signed),
        "totalMarginUsed": number(round(balance.used_margin, 6) if balance else ZERO),
    }
    return {
        "marginSummary": summary,
        "crossMarginSummary": summary,
        "crossMaintenanceMarginUsed": number(maintenance),
        "withdrawable": number(round(balance.free, 6) if balance else ZERO),
        "assetPositions": [position_row(*leg) for leg in legs],
        "time": ms(now_ns),
    }


def funding_row(payment: FundingPayment) -> Row:
    """Return a funding payment as streams show it; negative `usdc` was paid."""
    return {
        "time": ms(payment.ts_ns),
        "coin": payment.symbol,
        "usdc": number(payment.amount),
        "szi": number(payment.quantity),
        "fundingRate": number(payment.rate),
        "nSamples": None,
    }


WITHDRAWAL_FEE = Decimal(1)
"""USDC that the bridge keeps of a withdrawal."""


def ledger_row(moved: MoneyTransfer) -> Row:
    """Return a deposit or a withdrawal; amounts carry no sign, the fee stands beside."""
    amount = abs(moved.amount)
    delta: Row = {"type": "deposit", "usdc": number(amount)}
    if moved.amount < ZERO:
        fee = min(WITHDRAWAL_FEE, amount)
        delta = {
            "type": "withdraw",
            "usdc": number(amount - fee),
            "nonce": ms(moved.ts_ns),
            "fee": number(fee),
        }
    return {"time": ms(moved.ts_ns), "hash": hash_of(moved.transfer_id), "delta": delta}


def fees_row(profile: Profile) -> Row:
    """Return `userFees`: base tier, no discounts."""
    cross, add = plain(profile.taker_fee), plain(profile.maker_fee)
    return {
        "dailyUserVlm": [],
        "feeSchedule": {
            "cross": cross,
            "add": add,
            "spotCross": "0.0007",
            "spotAdd": "0.0004",
            "tiers": {"vip": [], "mm": []},
            "referralDiscount": "0.0",
            "stakingDiscountTiers": [],
        },
        "userCrossRate": cross,
        "userAddRate": add,
        "userSpotCrossRate": "0.0007",
        "userSpotAddRate": "0.0004",
        "activeReferralDiscount": "0.0",
        "trial": None,
        "feeTrialReward": "0.0",
        "nextTrialAvailableTimestamp": None,
        "stakingLink": None,
        "activeStakingDiscount": {"bpsOfMaxSupply": "0.0", "discount": "0.0"},
    }
