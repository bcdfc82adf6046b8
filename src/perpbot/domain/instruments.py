"""What is traded: assets, instruments and the rules of their numbers.

Asset keys (`BTC-PERP`) are what strategies speak of. An instrument is one venue's perpetual on an
asset. All quantities and prices outside a venue package are in base coins and in settle currency
per base coin; `contract_size` and `price_multiplier` say how a codec gets there.
"""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation

import msgspec

from perpbot.domain.errors import InvalidValue
from perpbot.domain.money import ONE, ZERO, ceil_to, floor_to, plain
from perpbot.domain.sides import Side

_SELL = Side.SELL  # an enum's attribute costs more than a name


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """One venue's linear perpetual on one asset.

    `quantity_step`, `min_quantity`, `max_quantity` are in base coins, `tick_size` in settle
    currency per base coin, `min_notional` in settle currency.
    """

    venue: str
    asset: str
    symbol: str
    """The venue's own spelling, as its wire writes it (`BTCUSDT`, `BTC-USDT-SWAP`, `BTC`)."""
    base: str
    settle: str
    tick_size: Decimal
    quantity_step: Decimal
    min_quantity: Decimal
    min_notional: Decimal = ZERO
    max_quantity: Decimal | None = None
    price_digits: int | None = None
    """Most significant digits a price may have, where the venue limits them (Hyperliquid: 5)."""
    contract_size: Decimal = ONE
    """Base coins in one wire unit of quantity."""
    price_multiplier: Decimal = ONE
    """Base coins that one wire price speaks of (1000 for 1000PEPE and kPEPE)."""
    wire_code: int = 0
    """The venue's number for the instrument (OKX instIdCode, Hyperliquid asset index)."""
    funding_interval_s: int = 28_800
    max_leverage: int = 1
    tradable: bool = True

    @property
    def id(self) -> str:
        """The instrument id, such as `okx:BTC-USDT-PERP`."""
        return f"{self.venue}:{self.base}-{self.settle}-PERP"

    def round_price(self, price: Decimal, side: Side) -> Decimal:
        """Round a limit price onto the venue's grid without making it more aggressive.

        Raises `InvalidValue` for what is no number, or has no place on the grid.
        """
        up = side is _SELL
        try:
            if self.price_digits is not None and price > 0:
                price = _round_digits(price, self.price_digits, up=up)
        except InvalidOperation:
            raise self._bad("price", price, "a multiple of", self.tick_size) from None
        return ceil_to(price, self.tick_size) if up else floor_to(price, self.tick_size)

    def round_quantity(self, quantity: Decimal) -> Decimal:
        """Round a positive quantity down onto the venue's grid; raises as `round_price`."""
        return floor_to(quantity, self.quantity_step)

    def is_dust(self, quantity: Decimal, mark: Decimal | None) -> bool:
        """Whether a position (signed) is less than the venue trades by itself.

        Without a mark the least notional is not known to be missed.
        """
        size = abs(quantity)
        if size < max(self.min_quantity, self.quantity_step):
            return True
        return mark is not None and size * mark < self.min_notional

    def check_order(self, price: Decimal | None, quantity: Decimal, *, reduce_only: bool) -> None:
        """Raise `InvalidValue` unless the venue would take these numbers.

        A reduction is exempt from the minimum notional, as every venue here allows it.
        """
        try:
            if quantity <= 0 or quantity % self.quantity_step:
                raise self._bad("quantity", quantity, "a positive multiple of", self.quantity_step)
            if quantity < self.min_quantity:
                raise self._bad("quantity", quantity, "at least", self.min_quantity)
            if self.max_quantity is not None and quantity > self.max_quantity:
                raise self._bad("quantity", quantity, "at most", self.max_quantity)
            if price is None:
                return
            if price <= 0 or price % self.tick_size or self._has_more_digits(price):
                raise self._bad("price", price, "a positive multiple of", self.tick_size)
            if not reduce_only and price * quantity < self.min_notional:
                raise self._bad("notional", price * quantity, "at least", self.min_notional)
        except ArithmeticError:
            raise InvalidValue(
                f"{self.id}: an order of {quantity} at {price}, finite numbers were expected"
            ) from None

    def _has_more_digits(self, price: Decimal) -> bool:
        digits = self.price_digits
        return digits is not None and _round_digits(price, digits, up=False) != price

    def _bad(self, what: str, value: Decimal, words: str, limit: Decimal) -> InvalidValue:
        return InvalidValue(
            f"{self.id}: {what} was {plain(value)}, {words} {plain(limit)} was expected"
        )


def _round_digits(price: Decimal, digits: int, *, up: bool) -> Decimal:
    # Integers are always allowed (Hyperliquid, "tick and lot size"), so never round above 1.
    exponent = min(price.adjusted() - digits + 1, 0)
    rounding = ROUND_CEILING if up else ROUND_FLOOR
    return price.quantize(Decimal(1).scaleb(exponent), rounding=rounding)


def asset_key(base: str) -> str:
    """Return the asset key of a base coin: `BTC` gives `BTC-PERP`."""
    return f"{base.upper()}-PERP"


_QUOTES = ("USDT", "USDC", "USD")
_BUNDLE = re.compile(r"(?:1000|10000|1000000|k)(?=[A-Z]{3})")
"""What venues put before a coin whose price they quote for many of it (1000PEPE, kPEPE)."""


def parse_asset(text: str) -> str:
    """Read any spelling of a perpetual that traders use and return its asset key.

    Accepts `BTC-PERP`, `BTC-USD`, `BTC-USDT`, `BTC/USDT`, `BTC/USDT:USDT`, `BTC-USDT-SWAP`,
    `BTC-USDT-PERP`, `btcusdt`, `BTC`; `1000PEPE` and `kPEPE` are PEPE. Raises `InvalidValue` for
    anything else.
    """
    text = _BUNDLE.sub("", text.strip(), count=1) if _BUNDLE.match(text.strip()) else text
    name = text.strip().upper().split(":", 1)[0] if "/" in text else text.strip().upper()
    parts = [part for part in name.replace("/", "-").split("-") if part]
    if parts and parts[-1] in {"PERP", "SWAP"}:
        parts = parts[:-1]
    if len(parts) == 2 and parts[1] in _QUOTES:
        parts = parts[:1]
    if len(parts) == 1:
        base = parts[0]
        for quote in _QUOTES:
            if base.endswith(quote) and len(base) > len(quote):
                base = base[: -len(quote)]
                break
        if text.isascii() and base.isalnum():
            return asset_key(base)
    raise InvalidValue(f"symbol was {text!r}, a perpetual such as BTC-PERP was expected")
