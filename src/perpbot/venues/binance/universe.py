"""Symbols of Binance: which instruments they are, and how their units become base coins.

`1000PEPEUSDT` trades thousands of PEPE: wire prices are for 1000 coins, wire quantities count
thousands. Quantities carry no other multiplier (sheet section 3).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

import msgspec

from perpbot.domain.errors import InvalidValue
from perpbot.domain.instruments import Instrument, asset_key
from perpbot.domain.money import ONE, ZERO, decimal_of

VENUE = "binance"
_BUNDLE = re.compile(r"(1000000|1000|1M)([A-Z][A-Z0-9]*)")
_BUNDLE_SIZE = {"1000000": Decimal(1_000_000), "1000": Decimal(1000), "1M": Decimal(1_000_000)}
_QUOTES = ("USDT", "USDC")


class Filter(msgspec.Struct, rename="camel"):
    """One filter of a symbol; only the fields of its kind are set."""

    filter_type: str
    tick_size: str = "0"
    step_size: str = "0"
    min_qty: str = "0"
    max_qty: str = "0"
    notional: str = "0"


class SymbolInfo(msgspec.Struct, rename="camel"):
    """One symbol of exchangeInfo."""

    symbol: str
    contract_type: str
    status: str
    base_asset: str
    quote_asset: str
    margin_asset: str
    filters: list[Filter]


class RateLimit(msgspec.Struct, rename="camel"):
    """One rate limit of exchangeInfo."""

    rate_limit_type: str
    interval: str
    interval_num: int
    limit: int


class ExchangeInfo(msgspec.Struct, rename="camel"):
    """GET /fapi/v1/exchangeInfo."""

    symbols: list[SymbolInfo]
    rate_limits: list[RateLimit] = []


class FundingInfo(msgspec.Struct, rename="camel"):
    """One row of GET /fapi/v1/fundingInfo: symbols whose interval is not 8 h."""

    symbol: str
    funding_interval_hours: int


class SymbolUnits(msgspec.Struct, frozen=True):
    """What is needed to read a symbol's numbers: asset and base coins in one wire unit."""

    asset: str
    bundle: Decimal


def split_base(base: str) -> tuple[str, Decimal]:
    """Return the coin and how many of it one wire unit holds: `1000PEPE` gives PEPE and 1000."""
    match = _BUNDLE.fullmatch(base)
    if match is None:
        return base, ONE
    return match[2], _BUNDLE_SIZE[match[1]]


def _positive(text: str, field: str) -> Decimal:
    value = decimal_of(text, field)
    if value <= 0:
        raise InvalidValue(f"{field} was {text}, a positive number was expected")
    return value


def instrument_of(info: SymbolInfo, funding_interval_s: int = 28_800) -> Instrument:
    """Return a symbol as an instrument in base coins; raise `InvalidValue` for missing filters."""
    filters = {one.filter_type: one for one in info.filters}
    try:
        price, lot = filters["PRICE_FILTER"], filters["LOT_SIZE"]
    except KeyError as missing:
        raise InvalidValue(f"{info.symbol} has no filter {missing}") from None
    market = filters.get("MARKET_LOT_SIZE", lot)
    notional = filters.get("MIN_NOTIONAL")
    base, bundle = split_base(info.base_asset)
    largest = min(decimal_of(one.max_qty, f"{info.symbol} maxQty") for one in (lot, market))
    return Instrument(
        venue=VENUE,
        asset=asset_key(base),
        symbol=info.symbol,
        base=base,
        settle=info.margin_asset,
        tick_size=_positive(price.tick_size, f"{info.symbol} tickSize") / bundle,
        quantity_step=_positive(lot.step_size, f"{info.symbol} stepSize") * bundle,
        min_quantity=decimal_of(lot.min_qty, f"{info.symbol} minQty") * bundle,
        min_notional=decimal_of(notional.notional, "notional") if notional is not None else ZERO,
        max_quantity=largest * bundle if largest > 0 else None,
        contract_size=bundle,
        price_multiplier=bundle,
        funding_interval_s=funding_interval_s,
        tradable=info.status == "TRADING",
    )


class Universe:
    """Every symbol that was seen, so that account data of any symbol can be read."""

    def __init__(self) -> None:
        self._units: dict[str, SymbolUnits] = {}

    def add(self, instruments: Iterable[Instrument]) -> None:
        """Remember instruments."""
        for one in instruments:
            self._units[one.symbol] = SymbolUnits(one.asset, one.contract_size)

    def units(self, symbol: str) -> SymbolUnits:
        """Return a symbol's units; a symbol that was never listed to us is read by its name."""
        known = self._units.get(symbol)
        if known is None:
            known = self._units[symbol] = _units_by_name(symbol)
        return known


def _units_by_name(symbol: str) -> SymbolUnits:
    name = symbol.split("_", 1)[0]  # dated futures: BTCUSDT_260327
    for quote in _QUOTES:
        if name.endswith(quote) and len(name) > len(quote):
            name = name[: -len(quote)]
            break
    coin, bundle = split_base(name)
    return SymbolUnits(asset_key(coin), bundle)
