"""Rows of public data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from perpbot.domain.money import ZERO
from perpbot.simulation.model import BookView, Contract, Mark, PublicTrade
from perpbot.simulation.wire.hyperliquid.contracts import UNIVERSE
from perpbot.simulation.wire.hyperliquid.rows.units import Row, ms, number, side_of


def meta(listed: Mapping[str, Contract]) -> Row:
    """Return the universe; delisted entries keep their slot."""
    universe = []
    for slot in UNIVERSE:
        contract = listed.get(slot.name)
        row: Row = {
            "szDecimals": slot.size_decimals
            if contract is None
            else -contract.quantity_step.adjusted(),
            "name": slot.name,
            "maxLeverage": slot.max_leverage,
            "marginTableId": slot.max_leverage,
        }
        universe.append(row | {"isDelisted": True} if slot.is_delisted else row)
    tables = [
        [
            leverage,
            {
                "description": "",
                "marginTiers": [{"lowerBound": "0.0", "maxLeverage": leverage}],
            },
        ]
        for leverage in sorted({slot.max_leverage for slot in UNIVERSE})
    ]
    return {"universe": universe, "marginTables": tables, "collateralToken": 0}


def spot_meta() -> Row:
    """Return the least that clients need to start: the collateral, and no spot market."""
    usdc = {
        "name": "USDC",
        "szDecimals": 8,
        "weiDecimals": 8,
        "index": 0,
        "tokenId": "0x6d1e7cde53ba9467b783cb7c530ce054",
        "isCanonical": True,
        "evmContract": None,
        "fullName": None,
    }
    return {"universe": [], "tokens": [usdc]}


def level_rows(levels: Sequence[tuple[Decimal, Decimal, int]]) -> list[Row]:
    """Return one side of a book."""
    return [
        {"px": number(price), "sz": number(quantity), "n": orders}
        for price, quantity, orders in levels
    ]


def book_row(book: BookView) -> Row:
    """Return a whole book."""
    levels = [level_rows(book.bids), level_rows(book.asks)]
    return {"coin": book.symbol, "time": ms(book.ts_ns), "levels": levels}


def bbo_row(book: BookView) -> Row:
    """Return the best of both sides; a missing one is null."""
    bids, asks = level_rows(book.bids[:1]), level_rows(book.asks[:1])
    best = [bids[0] if bids else None, asks[0] if asks else None]
    return {"coin": book.symbol, "time": ms(book.ts_ns), "bbo": best}


def mid_of(book: BookView) -> Decimal | None:
    """Return the middle of the best prices."""
    if not book.bids or not book.asks:
        return None
    return (book.bids[0][0] + book.asks[0][0]) / 2


def trade_row(trade: PublicTrade, nobody: str, names: dict[str, str]) -> Row:
    """Return a public trade; `names` gives addresses of accounts, `nobody` that of the others."""
    return {
        "coin": trade.symbol,
        "side": side_of(trade.side),
        "px": number(trade.price),
        "sz": number(trade.quantity),
        "time": ms(trade.ts_ns),
        "hash": hash_of(trade.trade_id),
        "tid": trade.trade_id,
        "users": [names.get(trade.buyer, nobody), names.get(trade.seller, nobody)],
    }


def hash_of(trade_id: int) -> str:
    """Return a transaction hash; ours says the trade's number."""
    return f"0x{trade_id:064x}"


def context_row(mark: Mark, book: BookView, trades: Sequence[PublicTrade]) -> Row:
    """Return mark, oracle, middle and funding of one asset."""
    mid = mid_of(book)
    premium = mark.mark_price / mark.index_price - 1 if mark.index_price else ZERO
    volume = sum((trade.quantity for trade in trades), ZERO)
    value = sum((trade.quantity * trade.price for trade in trades), ZERO)
    impact = [number(book.bids[0][0]), number(book.asks[0][0])] if mid is not None else None
    return {
        "funding": number(mark.funding_rate),
        "openInterest": "0.0",
        "prevDayPx": number(trades[0].price if trades else mark.mark_price),
        "dayNtlVlm": number(value),
        "premium": number(round(premium, 10)),
        "oraclePx": number(mark.index_price),
        "markPx": number(mark.mark_price),
        "midPx": None if mid is None else number(mid),
        "impactPxs": impact,
        "dayBaseVlm": number(volume),
    }


def delisted_context() -> Row:
    """Return the context of a slot that does not trade any more."""
    zeros = dict.fromkeys(("funding", "openInterest", "dayNtlVlm", "dayBaseVlm"), "0.0")
    prices: Row = {"prevDayPx": "1.0", "oraclePx": "1.0", "markPx": "1.0"}
    return zeros | prices | {"premium": None, "midPx": None, "impactPxs": None}
