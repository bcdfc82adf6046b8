"""What an exchange refuses at the door. Pure checks of a ticket; each raises `ExchangeRefusal`.

The numbers come first (grid, minima), then what depends on the market (band, post-only, margin).
"""

from __future__ import annotations

from decimal import Decimal

from perpbot.domain.money import ONE, ZERO, on_grid, plain
from perpbot.domain.sides import OrderType, PositionSide, Side
from perpbot.simulation.book import Book, reduces
from perpbot.simulation.ledger import Account
from perpbot.simulation.margin import Market, equity, initial_margin
from perpbot.simulation.model import (
    ClientIdRule,
    Contract,
    ExchangeRefusal,
    Profile,
    Refusal,
    Ticket,
)

LARGEST = Decimal(10) ** 12
"""Prices and quantities from here on are no market's; grids are not even looked at."""


def check_client_id(account: Account, ticket: Ticket, rule: ClientIdRule) -> None:
    """Refuse a client id that the venue's rule takes for a repetition."""
    client_id = ticket.client_id
    if not client_id or rule is ClientIdRule.NEVER:
        return
    used = client_id in account.newest
    if rule is ClientIdRule.OPEN_ORDERS:
        used = account.open_with_client_id(client_id)
    if used:
        raise ExchangeRefusal(
            Refusal.DUPLICATE_CLIENT_ID, f"client id {client_id} was used before"
        )


def check_position_side(account: Account, ticket: Ticket) -> None:
    """Refuse NET in hedge mode, LONG and SHORT in one-way mode."""
    if account.hedge_mode is (ticket.position_side is PositionSide.NET):
        mode = "hedge" if account.hedge_mode else "one-way"
        raise ExchangeRefusal(
            Refusal.POSITION_SIDE,
            f"position side {ticket.position_side} does not fit {mode} mode",
        )


def check_numbers(contract: Contract, ticket: Ticket, mark: Decimal) -> None:
    """Refuse prices and quantities off the grid or below the minima."""
    if ticket.order_type is OrderType.LIMIT:
        check_price(contract, ticket.price, "price")
    if ticket.trigger_price is not None:
        check_price(contract, ticket.trigger_price, "trigger price")
    if ticket.close_position:
        if ticket.trigger_price is None:
            raise ExchangeRefusal(
                Refusal.BAD_QUANTITY, "closing the position needs a trigger price"
            )
        return
    check_quantity(contract, ticket.quantity)
    price = ticket.price if ticket.price is not None else mark
    notional = ticket.quantity * price
    # A market order before any mark is known cannot be judged.
    if price and not reduces(ticket) and notional < contract.min_notional:
        raise ExchangeRefusal(
            Refusal.MIN_NOTIONAL,
            f"notional {plain(notional)} is below {plain(contract.min_notional)}",
        )


def check_price(contract: Contract, price: Decimal | None, name: str) -> None:
    """Refuse a price that is missing, not positive, off the tick or with too many digits."""
    if price is None or not price.is_finite() or not ZERO < price < LARGEST:
        raise ExchangeRefusal(Refusal.BAD_PRICE, f"{name} {price} is not a positive price")
    if not on_grid(price, contract.tick_size):
        raise ExchangeRefusal(
            Refusal.BAD_PRICE, f"{name} {price} is not a multiple of {contract.tick_size}"
        )
    digits = contract.price_digits
    if digits is not None and price != price.to_integral_value():
        significant = len(price.normalize().as_tuple().digits)
        if significant > digits:
            raise ExchangeRefusal(
                Refusal.BAD_PRICE, f"{name} {price} has more than {digits} significant digits"
            )


def check_quantity(contract: Contract, quantity: Decimal) -> None:
    """Refuse a quantity that is not positive, off the step or below the minimum."""
    if not quantity.is_finite() or not ZERO < quantity < LARGEST:
        raise ExchangeRefusal(
            Refusal.BAD_QUANTITY, f"quantity {quantity} is not a positive quantity"
        )
    if not on_grid(quantity, contract.quantity_step):
        raise ExchangeRefusal(
            Refusal.BAD_QUANTITY,
            f"quantity {quantity} is not a multiple of {contract.quantity_step}",
        )
    if quantity < contract.min_quantity:
        raise ExchangeRefusal(
            Refusal.BAD_QUANTITY, f"quantity {quantity} is below {contract.min_quantity}"
        )


def check_trigger(ticket: Ticket, mark: Decimal) -> None:
    """Refuse a stop that the present mark would trigger at once."""
    if mark and is_triggered(ticket, mark):
        raise ExchangeRefusal(
            Refusal.WOULD_TRIGGER, f"mark {mark} is beyond trigger {ticket.trigger_price} already"
        )


def is_triggered(ticket: Ticket, mark: Decimal) -> bool:
    """Whether `mark` reaches the trigger of a stop."""
    trigger = ticket.trigger_price
    assert trigger is not None, "only stops have a trigger"
    return mark >= trigger if ticket.trigger_above else mark <= trigger


def check_band(ticket: Ticket, mark: Decimal, band_ratio: Decimal) -> None:
    """Refuse a limit price that gives away more than the band: buys above, sells below."""
    if ticket.price is None or not mark:
        return
    edge = mark * (ONE + ticket.side.sign * band_ratio)
    beyond = ticket.price > edge if ticket.side is Side.BUY else ticket.price < edge
    if beyond:
        raise ExchangeRefusal(
            Refusal.PRICE_BAND, f"price {plain(ticket.price)} is beyond the band at {plain(edge)}"
        )


def reducible_quantity(account: Account, ticket: Ticket, quantity: Decimal) -> Decimal:
    """Clip a reduction to its leg; refuse where there is nothing to reduce."""
    covered = account.reducible(ticket.symbol, ticket.position_side, ticket.side)
    if covered <= ZERO:
        raise ExchangeRefusal(Refusal.REDUCE_ONLY, "the order would not reduce a position")
    return min(quantity, covered)


def check_margin(
    account: Account,
    contract: Contract,
    ticket: Ticket,
    *,
    quantity: Decimal,
    market: Market,
    book: Book,
) -> None:
    """Refuse an order whose initial margin equity does not cover.

    An order that needs no more margin than is used already always passes: it makes nothing worse.
    """
    price = ticket.price
    if price is None:
        price = book.side(ticket.side.opposite).best or market.marks[contract.symbol]
    key = (contract.symbol, ticket.position_side)
    before = initial_margin(account, contract.settle, market)
    after = initial_margin(
        account, contract.settle, market, adding=(key, ticket.side, quantity * price)
    )
    available = equity(account, contract.settle, market)
    if after > before and after > available:
        raise ExchangeRefusal(
            Refusal.INSUFFICIENT_MARGIN,
            f"margin {plain(round(after, 8))} is needed, equity is {plain(available)}",
        )


def check_supported(profile: Profile, ticket: Ticket) -> None:
    """Refuse what the venue does not have."""
    if ticket.reduce_only and not profile.reduce_only:
        raise ExchangeRefusal(Refusal.REDUCE_ONLY, f"{profile.name} has no reduce-only orders")
