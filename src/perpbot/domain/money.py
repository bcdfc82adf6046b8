"""Exact arithmetic for prices, quantities and amounts.

Everything here is `Decimal`. Numbers enter once, through `decimal_of`, which refuses what is not a
finite number, or so large or small that no market has it; from there on no float touches money.
Rounding raises `InvalidValue` for what is on no grid, and nothing else.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from perpbot.domain.errors import InvalidValue

ZERO = Decimal(0)
ONE = Decimal(1)
BPS = Decimal(10_000)
ONE_BP = Decimal("0.0001")
MAGNITUDE = 24
"""Numbers lie between 1e-24 and 1e24, or are zero: no product or quotient of some of them leaves
the range of decimals."""
_LEAST, _MOST = 10.0**-MAGNITUDE, 10.0**MAGNITUDE


def decimal_of(value: str | int | Decimal, field: str = "value") -> Decimal:
    """Return `value` as a Decimal; raise `InvalidValue` naming `field` where it is no number.

    Not finite, or beyond `MAGNITUDE`, is no number either.

    A float is refused: it has lost digits already (`decimal_of_float` is for quotes).
    """
    if isinstance(value, float | bool):
        raise InvalidValue(f"{field} was {value!r}, a text or Decimal was expected")
    try:
        number = Decimal(value)
    except (InvalidOperation, TypeError, ValueError):
        raise InvalidValue(f"{field} was {value!r}, a number such as 0.001 was expected") from None
    if not number.is_finite():
        raise InvalidValue(f"{field} was {value!r}, a finite number was expected")
    if number and not -MAGNITUDE <= number.adjusted() < MAGNITUDE:
        raise _beyond(value, field)
    return number


def decimal_of_float(value: float, field: str = "value") -> Decimal:
    """Return the shortest decimal that reads back as `value` (a quote entering an order).

    Raises `InvalidValue` for what is not finite, or beyond `MAGNITUDE`.
    """
    # NaN fails every comparison.
    if not _LEAST <= value < _MOST and value and not _LEAST <= -value < _MOST:
        raise _beyond(value, field)
    return Decimal(repr(value))


def _beyond(value: object, field: str) -> InvalidValue:
    text = repr(value)
    shown = text if len(text) <= 40 else f"{text[:40]}..."
    return InvalidValue(f"{field} was {shown}, a number of 1e-24 to 1e24 was expected")


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """Round towards minus infinity onto the grid of `step`; a value on it comes back as it is.

    Raises `InvalidValue` where there is no such grid, or the value is on none of its 28 digits.
    """
    try:
        beyond = value % step  # with the sign of `value`
        if not beyond:
            return value
        return value - beyond if beyond > 0 else value - beyond - step
    except InvalidOperation:
        raise _off_grid(value, step) from None


def ceil_to(value: Decimal, step: Decimal) -> Decimal:
    """Round towards plus infinity onto the grid of `step`; a value on it comes back as it is.

    Raises as `floor_to`.
    """
    try:
        beyond = value % step
        if not beyond:
            return value
        return value - beyond + step if beyond > 0 else value - beyond
    except InvalidOperation:
        raise _off_grid(value, step) from None


def on_grid(value: Decimal, step: Decimal) -> bool:
    """Tell whether `value` is a whole number of steps. Raises as `floor_to`."""
    try:
        return not value % step
    except InvalidOperation:
        raise _off_grid(value, step) from None


def _off_grid(value: Decimal, step: Decimal) -> InvalidValue:
    return InvalidValue(f"number was {value}, a multiple of {step} was expected")


def common_step(first: Decimal, second: Decimal) -> Decimal:
    """Return the smallest step that is a whole multiple of both (least common multiple).

    Raises `InvalidValue` unless both are positive.
    """
    if not (first.is_finite() and second.is_finite() and first > 0 and second > 0):
        raise InvalidValue(f"steps were {first} and {second}, positive numbers were expected")
    exponent = min(first.as_tuple().exponent, second.as_tuple().exponent)
    scale = Decimal(1).scaleb(-int(exponent))
    a, b = int(first * scale), int(second * scale)
    x, y = a, b
    while y:
        x, y = y, x % y
    return Decimal(a * b // x) / scale


def plain(value: Decimal) -> str:
    """Write without exponent and without trailing zeros: the form of wires and summaries."""
    if not value:
        return "0"
    text = str(value)
    if "E" in text:
        text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
