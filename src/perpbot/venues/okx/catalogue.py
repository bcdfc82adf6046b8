"""The instruments of OKX as this adapter knows them: linear swaps settled in USDT or USDC.

Sizes on the OKX wire are contracts; `contract_size` (ctVal × ctMult) is where base coins come
from, and no other module looks at the venue's own definition.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal

import msgspec

from perpbot.domain.errors import InvalidValue, Rejected
from perpbot.domain.instruments import Instrument, asset_key
from perpbot.domain.money import ZERO, decimal_of

VENUE = "okx"
SETTLE_CURRENCIES = ("USDT", "USDC")


class InstrumentRow(msgspec.Struct, rename="camel", kw_only=True):
    """One element of `GET /api/v5/public/instruments?instType=SWAP`."""

    inst_id: str
    inst_family: str = ""
    uly: str = ""
    ct_type: str = ""
    ct_val: str = ""
    ct_mult: str = ""
    ct_val_ccy: str = ""
    lot_sz: str = ""
    min_sz: str = ""
    tick_sz: str = ""
    max_lmt_sz: str = ""
    settle_ccy: str = ""
    lever: str = ""
    state: str = ""
    inst_id_code: int | str | None = None


class InstrumentRefused(InvalidValue):
    """An instrument that this adapter does not trade; the text is the short reason."""


def instrument_of(row: InstrumentRow) -> Instrument:
    """Return the instrument of a linear swap; raise `InstrumentRefused` for any other."""
    if row.ct_type != "linear":
        raise InstrumentRefused(f"instrument {row.ct_type or 'without contract type'}")
    if row.settle_ccy not in SETTLE_CURRENCIES:
        raise InstrumentRefused(f"instrument settled in {row.settle_ccy or 'nothing'}")
    base = (row.uly or row.inst_family or row.inst_id).split("-", 1)[0]
    if row.ct_val_ccy not in {"", base}:
        raise InstrumentRefused("instrument with contracts not in its base coin")
    try:
        contract = _positive(row.ct_val, "ctVal") * _positive(row.ct_mult or "1", "ctMult")
        return Instrument(
            venue=VENUE,
            asset=asset_key(base),
            symbol=row.inst_id,
            base=base,
            settle=row.settle_ccy,
            tick_size=_positive(row.tick_sz, "tickSz"),
            quantity_step=_positive(row.lot_sz, "lotSz") * contract,
            min_quantity=_positive(row.min_sz, "minSz") * contract,
            max_quantity=_positive(row.max_lmt_sz, "maxLmtSz") * contract
            if row.max_lmt_sz
            else None,
            contract_size=contract,
            wire_code=_code(row.inst_id_code),
            max_leverage=int(_positive(row.lever or "1", "lever")),
            tradable=row.state == "live",
        )
    except InvalidValue as error:
        raise InstrumentRefused(f"instrument unreadable: {error}") from None


def _code(value: int | str | None) -> int:
    # Missing before a listing; 0 keeps orders off the websocket, which cannot name it otherwise.
    text = str(value)
    return int(text) if text.isdigit() else 0


def _positive(text: str, field: str) -> Decimal:
    value = decimal_of(text, field)
    if value <= ZERO:
        raise InvalidValue(f"{field} was {text}, a positive number was expected")
    return value


class Catalogue:
    """Every linear swap seen so far by its wire name. Refusals are counted by reason."""

    def __init__(self, venue: str = VENUE) -> None:
        self.refused: Counter[str] = Counter()
        self._venue = venue
        self._by_symbol: dict[str, Instrument] = {}
        self._foreign: set[str] = set()

    def load(self, rows: Iterable[InstrumentRow]) -> Sequence[Instrument]:
        """Take the venue's list; return the tradable ones, USDT before USDC of the same base."""
        self.refused.clear()
        for row in rows:
            try:
                instrument = instrument_of(row)
            except InstrumentRefused as refusal:
                self.refused[str(refusal)] += 1
                self._foreign.add(row.inst_id)
                continue
            self._by_symbol[instrument.symbol] = instrument
        tradable = [found for found in self._by_symbol.values() if found.tradable]
        return sorted(tradable, key=lambda found: (found.base, found.settle != "USDT"))

    def add(self, instruments: Iterable[Instrument]) -> None:
        """Take instruments that somebody else resolved, and keep what is known already."""
        for instrument in instruments:
            self._by_symbol.setdefault(instrument.symbol, instrument)

    def get(self, symbol: str) -> Instrument | None:
        """Return the linear swap of that wire name, or None."""
        return self._by_symbol.get(symbol)

    def is_foreign(self, symbol: str) -> bool:
        """Whether the venue lists it and this adapter does not trade it (inverse, odd settle)."""
        return symbol in self._foreign

    def require(self, symbol: str) -> Instrument:
        """Return the linear swap of that wire name; raise `Rejected` for an unknown one."""
        found = self._by_symbol.get(symbol)
        if found is None:
            raise Rejected(
                self._venue,
                f"symbol was {symbol!r}, a linear swap such as BTC-USDT-SWAP was expected",
                code="unknown_symbol",
            )
        return found
