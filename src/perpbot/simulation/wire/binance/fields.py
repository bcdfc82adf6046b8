"""Fields of an order that are read the same on every endpoint, with their rules."""

from __future__ import annotations

import re
from decimal import Decimal

from perpbot.domain.money import ZERO, on_grid
from perpbot.domain.sides import PositionSide
from perpbot.simulation.model import Contract
from perpbot.simulation.wire.binance.contracts import (
    MAX_PRICE_TICKS,
    MAX_QUANTITY_STEPS,
    decimals,
)
from perpbot.simulation.wire.binance.errors import Refused
from perpbot.simulation.wire.binance.requests import Params

_CLIENT_ID = re.compile(r"^[.A-Z:/a-z0-9_-]{1,36}$")


def client_id_of(params: Params, name: str) -> str:
    """Read a client id; empty when there is none."""
    text = params.text(name, "")
    if text and _CLIENT_ID.match(text) is None:
        raise Refused(-4015, "Client order id is not valid.")
    return text


def reduce_only_of(params: Params, position_side: PositionSide) -> bool:
    """Read `reduceOnly`, which must not be sent in hedge mode."""
    if "reduceOnly" in params and position_side is not PositionSide.NET:
        raise Refused(-1106, "Parameter 'reduceonly' sent when not required.")
    return params.flag("reduceOnly")


def price_of(params: Params, contract: Contract, name: str = "price") -> Decimal:
    """Read a price on the grid."""
    price = params.number(name)
    if price <= ZERO:
        raise Refused(-4001, "Price less than 0.")
    if price > contract.tick_size * MAX_PRICE_TICKS:
        raise Refused(-4002, "Price greater than max price.")
    if decimals(price) > decimals(contract.tick_size) + 1:
        raise Refused(-1111, "Precision is over the maximum defined for this asset.")
    if not on_grid(price, contract.tick_size):
        raise Refused(-4014, "Price not increased by tick size.")
    return price


def quantity_of(params: Params, contract: Contract) -> Decimal:
    """Read a quantity on the grid and within the limits."""
    quantity = params.number("quantity")
    if quantity <= ZERO:
        raise Refused(-4003, "Quantity less than or equal to zero.")
    if decimals(quantity) > decimals(contract.quantity_step):
        raise Refused(-1111, "Precision is over the maximum defined for this asset.")
    if not on_grid(quantity, contract.quantity_step):
        raise Refused(-4023, "Qty not increased by step size.")
    if quantity < contract.min_quantity:
        raise Refused(-4004, "Quantity less than min quantity.")
    if quantity > contract.quantity_step * MAX_QUANTITY_STEPS:
        raise Refused(-4005, "Quantity greater than max quantity.")
    return quantity
