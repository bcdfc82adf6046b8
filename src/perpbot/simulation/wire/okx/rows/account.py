"""Rows of an account: bills, positions, balances, fees."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from perpbot.domain.money import ZERO
from perpbot.domain.sides import PositionSide, Side
from perpbot.simulation.model import (
    BalanceView,
    Contract,
    Execution,
    FundingPayment,
    MoneyTransfer,
    PositionView,
    Profile,
)
from perpbot.simulation.wire.okx.rows.units import Row, bill_id, contracts_of, ms, role_of
from perpbot.simulation.wire.server import text_of


def position_row(contract: Contract, position: PositionView, now_ns: int) -> Row:
    """Return a leg: signed contracts in net mode, positive ones for long and short legs."""
    is_net = position.position_side is PositionSide.NET
    quantity = position.quantity if is_net else abs(position.quantity)
    notional = abs(position.quantity) * position.mark_price
    initial = notional / position.leverage
    maintenance = notional * contract.maintenance_ratio
    ratio = position.unrealized_pnl / initial if initial else ZERO
    return {
        "instType": "SWAP",
        "instId": contract.symbol,
        "posId": f"{contract.wire_code}{list(PositionSide).index(position.position_side)}",
        "posSide": position.position_side.value,
        "pos": contracts_of(contract, quantity),
        "availPos": "" if is_net else contracts_of(contract, quantity),
        "avgPx": text_of(position.entry_price) if quantity else "",
        "markPx": text_of(position.mark_price),
        "liqPx": "" if position.liquidation_price is None else text_of(position.liquidation_price),
        "bePx": text_of(position.entry_price) if quantity else "",
        "upl": text_of(position.unrealized_pnl),
        "uplRatio": text_of(round(ratio, 8)),
        "realizedPnl": "0",
        "fee": "0",
        "fundingFee": "0",
        "lever": str(position.leverage),
        "mgnMode": "cross",
        "margin": "",
        "mgnRatio": text_of(round(initial / maintenance, 4)) if maintenance else "",
        "imr": text_of(initial),
        "mmr": text_of(maintenance),
        "notionalUsd": text_of(notional),
        "ccy": contract.settle,
        "posCcy": "",
        "adl": "1",
        "last": text_of(position.mark_price),
        "interest": "",
        "tradeId": "",
        "cTime": ms(now_ns),
        "uTime": ms(now_ns),
    }


def balance_row(
    balances: Iterable[BalanceView],
    positions: Iterable[tuple[Contract, PositionView]],
    now_ns: int,
) -> Row:
    """Return the account; stablecoins count as one dollar."""
    legs = list(positions)
    details = [_detail_row(balance, now_ns) for balance in balances]
    equity = sum((Decimal(detail["eq"]) for detail in details), ZERO)
    notional = sum((abs(leg.quantity) * leg.mark_price for _, leg in legs), ZERO)
    initial = sum((abs(leg.quantity) * leg.mark_price / leg.leverage for _, leg in legs), ZERO)
    maintenance = sum(
        (
            abs(leg.quantity) * leg.mark_price * contract.maintenance_ratio
            for contract, leg in legs
        ),
        ZERO,
    )
    return {
        "adjEq": text_of(equity),
        "availEq": text_of(sum((Decimal(detail["availEq"]) for detail in details), ZERO)),
        "totalEq": text_of(equity),
        "isoEq": "0",
        "imr": text_of(initial),
        "mmr": text_of(maintenance),
        "mgnRatio": text_of(round(equity / maintenance, 4)) if maintenance else "",
        "notionalUsd": text_of(notional),
        "ordFroz": "0",
        "upl": text_of(sum((leg.unrealized_pnl for _, leg in legs), ZERO)),
        "details": details,
        "uTime": ms(now_ns),
    }


def _detail_row(balance: BalanceView, now_ns: int) -> Row:
    return {
        "ccy": balance.currency,
        "eq": text_of(balance.equity),
        "eqUsd": text_of(balance.equity),
        "disEq": text_of(balance.equity),
        "cashBal": text_of(balance.wallet),
        "availEq": text_of(balance.free),
        "availBal": text_of(balance.free),
        "frozenBal": text_of(balance.used_margin),
        "ordFrozen": "0",
        "upl": text_of(balance.equity - balance.wallet),
        "isoEq": "0",
        "imr": text_of(balance.used_margin),
        "mmr": "0",
        "liab": "",
        "interest": "",
        "uTime": ms(now_ns),
    }


def fee_row(profile: Profile, now_ns: int) -> Row:
    """Return `account/trade-fee`: negative numbers are charged."""
    maker, taker = text_of(-profile.maker_fee), text_of(-profile.taker_fee)
    return {
        "instType": "SWAP",
        "category": "1",
        "level": "Lv1",
        "maker": maker,
        "taker": taker,
        "makerU": maker,
        "takerU": taker,
        "makerUSDC": maker,
        "takerUSDC": taker,
        "delivery": "",
        "exercise": "",
        "feeGroup": [{"groupId": "1", "maker": maker, "taker": taker}],
        "ruleType": "normal",
        "ts": ms(now_ns),
    }


def trade_bill_row(contract: Contract, fill: Execution) -> Row:
    """Return the `account/bills` row of a fill (type 2)."""
    return _bill(
        bill_id(fill),
        ("2", "1" if fill.side is Side.BUY else "2"),
        fill.realized_pnl - fill.fee,
        fill.ts_ns,
        instId=contract.symbol,
        ccy=contract.settle,
        pnl=text_of(fill.realized_pnl),
        fee=text_of(-fill.fee),
        sz=contracts_of(contract, fill.quantity),
        px=text_of(fill.price),
        ordId=str(fill.order_id),
        clOrdId=fill.client_id,
        tradeId=str(fill.trade_id),
        execType=role_of(fill.liquidity),
    )


def funding_bill_row(contract: Contract, payment: FundingPayment) -> Row:
    """Return the `account/bills` row of a funding payment (type 8: 173 paid, 174 received)."""
    return _bill(
        f"8{payment.payment_id:017d}",
        ("8", "174" if payment.amount >= 0 else "173"),
        payment.amount,
        payment.ts_ns,
        instId=contract.symbol,
        ccy=contract.settle,
        pnl=text_of(payment.amount),
        sz=contracts_of(contract, payment.quantity),
        px=text_of(payment.rate),
    )


def transfer_bill_row(moved: MoneyTransfer) -> Row:
    """Return the `account/bills` row of a transfer (type 1: 11 in, 12 out), of no instrument."""
    trading, funding = "18", "6"
    came = moved.amount > ZERO
    row = _bill(
        f"1{moved.transfer_id:017d}",
        ("1", "11" if came else "12"),
        moved.amount,
        moved.ts_ns,
        instType="",
        mgnMode="",
        ccy=moved.currency,
        sz=text_of(abs(moved.amount)),
    )
    source, target = (funding, trading) if came else (trading, funding)
    return row | {"from": source, "to": target, "notes": ""}


def _bill(bill_id: str, kind: tuple[str, str], change: Decimal, ts_ns: int, **told: str) -> Row:
    """Return a row of `account/bills`: `kind` is its type and subtype."""
    return {
        "billId": bill_id,
        "type": kind[0],
        "subType": kind[1],
        "instType": "SWAP",
        "instId": "",
        "ccy": "",
        "balChg": text_of(change),
        "bal": "",
        "pnl": "0",
        "fee": "0",
        "sz": "",
        "px": "",
        "ordId": "",
        "clOrdId": "",
        "tradeId": "",
        "execType": "",
        "mgnMode": "cross",
        "ts": ms(ts_ns),
        **told,
    }
