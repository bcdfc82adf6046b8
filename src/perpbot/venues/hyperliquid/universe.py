"""The perpetuals of the venue and the arithmetic between its units and ours.

An asset's number on the wire is its index in `meta.universe`; delisted entries keep their slot.
A coin named `kPEPE` is a thousand PEPE: its wire price speaks of 1000 base coins and one wire unit
of size is 1000 base coins.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from perpbot.domain.errors import InvalidValue
from perpbot.domain.instruments import Instrument, asset_key
from perpbot.domain.money import ONE, plain

VENUE = "hyperliquid"
SETTLE = "USDC"
FUNDING_INTERVAL_S = 3_600
PRICE_DIGITS = 5
_PRICE_DECIMALS = 6
"""Perpetual prices have at most 6 - szDecimals decimals and 5 significant figures."""
_MIN_NOTIONAL = Decimal(10)
_THOUSAND = Decimal(1_000)


class UniverseEntry(msgspec.Struct, frozen=True, rename="camel"):
    """One element of `meta.universe`."""

    name: str
    sz_decimals: int
    max_leverage: int = 1
    only_isolated: bool | None = None
    is_delisted: bool | None = None


class Meta(msgspec.Struct, frozen=True):
    """The answer to `{"type":"meta"}`, as far as we read it."""

    universe: tuple[UniverseEntry, ...]


def instrument_of(entry: UniverseEntry, index: int) -> Instrument:
    """Return the instrument of a universe entry; raise `InvalidValue` for impossible decimals."""
    if not 0 <= entry.sz_decimals <= _PRICE_DECIMALS:
        raise InvalidValue(
            f"{VENUE}:{entry.name}: szDecimals was {entry.sz_decimals}, 0 to 6 was expected"
        )
    thousands = len(entry.name) > 1 and entry.name[0] == "k" and entry.name[1:].isupper()
    scale = _THOUSAND if thousands else ONE
    base = entry.name[1:] if thousands else entry.name
    step = Decimal(1).scaleb(-entry.sz_decimals) * scale
    return Instrument(
        venue=VENUE,
        asset=asset_key(base),
        symbol=entry.name,
        base=base,
        settle=SETTLE,
        tick_size=Decimal(1).scaleb(entry.sz_decimals - _PRICE_DECIMALS) / scale,
        quantity_step=step,
        min_quantity=step,
        min_notional=_MIN_NOTIONAL,
        price_digits=PRICE_DIGITS,
        contract_size=scale,
        price_multiplier=scale,
        wire_code=index,
        funding_interval_s=FUNDING_INTERVAL_S,
        max_leverage=entry.max_leverage,
        tradable=not entry.is_delisted,
    )


class Universe:
    """The venue's perpetuals by coin name; replaced as a whole each time `meta` is read."""

    def __init__(self) -> None:
        self._by_symbol: dict[str, Instrument] = {}
        self._isolated: frozenset[str] = frozenset()

    def replace(self, meta: Meta) -> Sequence[Instrument]:
        """Take a fresh universe; return what can be traded."""
        entries = meta.universe
        self._by_symbol = {
            entry.name: instrument_of(entry, index) for index, entry in enumerate(entries)
        }
        self._isolated = frozenset(entry.name for entry in entries if entry.only_isolated)
        return [one for one in self._by_symbol.values() if one.tradable]

    def find(self, symbol: str) -> Instrument | None:
        """Return a perpetual by coin name, delisted ones too; None for spot and foreign coins."""
        return self._by_symbol.get(symbol)

    def only_isolated(self, symbol: str) -> bool:
        """Tell whether the coin takes no cross margin."""
        return symbol in self._isolated

    def __len__(self) -> int:
        return len(self._by_symbol)


def wire_price(instrument: Instrument, price: Decimal) -> str:
    """Write a price in settle currency per base coin as the venue hashes it."""
    return plain(price * instrument.price_multiplier)


def wire_size(instrument: Instrument, quantity: Decimal) -> str:
    """Write a quantity in base coins as the venue hashes it."""
    return plain(quantity / instrument.contract_size)
