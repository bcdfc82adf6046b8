"""Rows of public data."""

from __future__ import annotations

from perpbot.simulation.model import Contract, Mark, PublicTrade
from perpbot.simulation.wire.okx.rows.units import Levels, Row, contracts_of, index_of, ms
from perpbot.simulation.wire.server import text_of

STABLECOIN_INDICES = ("USDT-USD", "USDC-USD")
"""Indices that stand at par here."""


def instrument_row(contract: Contract) -> Row:
    """Return the row of `public/instruments`."""
    return {
        "alias": "",
        "baseCcy": "",
        "category": "1",
        "ctMult": "1",
        "ctType": "linear",
        "ctVal": text_of(contract.contract_size),
        "ctValCcy": contract.base,
        "expTime": "",
        "groupId": "1",
        "instFamily": index_of(contract),
        "instId": contract.symbol,
        "instIdCode": contract.wire_code,
        "instType": "SWAP",
        "lever": str(contract.max_leverage),
        "listTime": "1611916828000",
        "lotSz": contracts_of(contract, contract.quantity_step),
        "maxIcebergSz": "100000000",
        "maxLmtAmt": "20000000",
        "maxLmtSz": "100000000",
        "maxMktAmt": "",
        "maxMktSz": "100000",
        "maxStopSz": "100000",
        "maxTriggerSz": "100000000",
        "maxTwapSz": "100000000",
        "minSz": contracts_of(contract, contract.min_quantity),
        "optType": "",
        "quoteCcy": "",
        "ruleType": "normal",
        "settleCcy": contract.settle,
        "state": "live",
        "stk": "",
        "tickSz": text_of(contract.tick_size),
        "uly": index_of(contract),
    }


def level_rows(contract: Contract, levels: Levels) -> list[list[str]]:
    """Return book levels: price, contracts, a retired "0", number of orders."""
    return [
        [text_of(price), contracts_of(contract, quantity), "0", str(orders)]
        for price, quantity, orders in levels
    ]


def trade_row(contract: Contract, trade: PublicTrade) -> Row:
    """Return a public trade; side is the taker's."""
    return {
        "instId": contract.symbol,
        "tradeId": str(trade.trade_id),
        "px": text_of(trade.price),
        "sz": contracts_of(contract, trade.quantity),
        "side": trade.side.value,
        "ts": ms(trade.ts_ns),
        "count": "1",
    }


def mark_row(mark: Mark) -> Row:
    """Return the mark price."""
    return {
        "instType": "SWAP",
        "instId": mark.symbol,
        "markPx": text_of(mark.mark_price),
        "ts": ms(mark.ts_ns),
    }


def stablecoin_row(index: str, ts_ns: int) -> Row:
    """Return the index of a stablecoin against the dollar."""
    return {"instId": index, "idxPx": "1", "ts": ms(ts_ns)}


def index_row(contract: Contract, mark: Mark) -> Row:
    """Return the index price of the underlying."""
    price = text_of(mark.index_price)
    return {
        "instId": index_of(contract),
        "idxPx": price,
        "open24h": price,
        "high24h": price,
        "low24h": price,
        "sodUtc0": price,
        "sodUtc8": price,
        "ts": ms(mark.ts_ns),
    }


def funding_row(contract: Contract, mark: Mark) -> Row:
    """Return the coming funding; `fundingTime` is the next settlement."""
    interval_ns = contract.funding_interval_s * 1_000_000_000
    return {
        "instType": "SWAP",
        "instId": contract.symbol,
        "method": "current_period",
        "formulaType": "withRate",
        "fundingRate": text_of(mark.funding_rate),
        "nextFundingRate": "",
        "fundingTime": ms(mark.next_funding_ns),
        "nextFundingTime": ms(mark.next_funding_ns + interval_ns),
        "minFundingRate": "-0.015",
        "maxFundingRate": "0.015",
        "settState": "settled",
        "settFundingRate": text_of(mark.funding_rate),
        "premium": text_of(mark.mark_price / mark.index_price - 1) if mark.index_price else "0",
        "ts": ms(mark.ts_ns),
    }
