"""Hyperliquid's units: decimal strings, milliseconds, `A` and `B`."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from perpbot.domain.money import plain
from perpbot.domain.sides import Side

Row = dict[str, Any]


def ms(time_ns: int) -> int:
    """Return a time in ms."""
    return time_ns // 1_000_000


def number(value: Decimal) -> str:
    """Return a number as the venue writes it: `65000.0`."""
    text = plain(value)
    return text if "." in text else text + ".0"


def side_of(side: Side) -> str:
    """Return `B` or `A`."""
    return "B" if side is Side.BUY else "A"
