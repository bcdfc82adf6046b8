"""Exact arithmetic for prices, quantities and amounts.

Everything here is `Decimal`. Numbers enter once, through `decimal_of`, which refuses what is not a
finite number; from there on no float touches money.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from math import isfinite

from perpbot.domain.errors import InvalidValue

ZERO = Decimal(0)
ONE = Decimal(1)
BPS = Decimal(10_000)
ONE_BP = Decimal("0.0001")


def decimal_of(value: str | int | Decimal, field: str = "value") -> Decimal:
    """Return `value` as a finite Decimal; raise `InvalidValue` naming `field` otherwise.

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
    return number


def decimal_of_float(value: float, field: str = "value") -> Decimal:
    """Return the shortest decimal that reads back as `value` (a quote entering an order).

    Raises `InvalidValue` for what is not a finite number.
    """
    if not isfinite(value):
        raise InvalidValue(f"{field} was {value!r}, a finite number was expected")
    return Decimal(repr(value))


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """Round towards minus infinity onto the grid of `step`; a value on it comes back as it is."""
    beyond = value % step  # with the sign of `value`
    if not beyond:
        return value
    return value - beyond if beyond > 0 else value - beyond - step


def ceil_to(value: Decimal, step: Decimal) -> Decimal:
    """Round towards plus infinity onto the grid of `step`; a value on it comes back as it is."""
    beyond = value % step
    if not beyond:
        return value
    return value - beyond + step if beyond > 0 else value - beyond


def on_grid(value: Decimal, step: Decimal) -> bool:
    """Tell whether `value` is a whole number of steps."""
    return not value % step


def common_step(first: Decimal, second: Decimal) -> Decimal:
    """Return the smallest step that is a whole multiple of both (least common multiple).

    Raises `InvalidValue` unless both are positive.
    """
    if first <= 0 or second <= 0:
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
