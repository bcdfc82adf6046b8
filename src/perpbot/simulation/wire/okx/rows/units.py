"""OKX's units: strings, milliseconds, contracts."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from perpbot.domain.sides import Liquidity, Side
from perpbot.simulation.model import Contract, Execution
from perpbot.simulation.wire.server import text_of

Row = dict[str, Any]
Levels = Sequence[tuple[Decimal, Decimal, int]]


def ms(time_ns: int) -> str:
    """Return a time as OKX writes it: ms since the epoch, as a string."""
    return str(time_ns // 1_000_000)


def contracts_of(contract: Contract, quantity: Decimal) -> str:
    """Return base coins as a number of contracts."""
    return text_of(quantity / contract.contract_size)


def index_of(contract: Contract) -> str:
    """Return the underlying: `BTC-USDT` of `BTC-USDT-SWAP`."""
    return f"{contract.base}-{contract.settle}"


def role_of(liquidity: Liquidity) -> str:
    """Return a fill's `execType`."""
    return "M" if liquidity is Liquidity.MAKER else "T"


def bill_id(fill: Execution) -> str:
    """Return the id of a fill's bill."""
    return f"2{fill.trade_id:016d}{1 if fill.side is Side.BUY else 2}"
