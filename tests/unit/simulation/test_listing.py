"""A contract that is listed anew is traded by its new steps by everybody who serves it."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from perpbot.domain.sides import OrderType, Side
from perpbot.simulation.accountant import Accountant
from perpbot.simulation.driver import MarketDriver
from perpbot.simulation.exchange import Exchange
from perpbot.simulation.listing import Listing
from perpbot.simulation.market import MarketQuote
from perpbot.simulation.model import ExchangeRefusal, Profile, Refusal, Ticket
from perpbot.simulation.wire.hyperliquid import rows
from tests.unit.execution.stand import ASSET, CONTRACT, SYMBOL, d

COARSE = msgspec.structs.replace(CONTRACT, quantity_step=d("0.1"), tick_size=d("0.5"))


def an_exchange() -> Exchange:
    """Return an exchange with one contract and one account."""
    exchange = Exchange(
        Profile(name="okx", maker_fee=d(0), taker_fee=d(0)), [CONTRACT], lambda: 1, Accountant()
    )
    exchange.open_account("main", {"USDT": d(10_000)})
    return exchange


def test_orders_off_the_new_grid_are_refused() -> None:
    """What was right before is wrong now."""
    exchange = an_exchange()
    ticket = Ticket(
        symbol=SYMBOL, side=Side.BUY, order_type=OrderType.LIMIT, quantity=d("1.01"), price=d(100)
    )
    exchange.submit("main", ticket)
    exchange.relist(COARSE)
    with pytest.raises(ExchangeRefusal) as refused:
        exchange.submit("main", ticket)
    assert refused.value.refusal is Refusal.BAD_QUANTITY
    assert exchange.contracts() == (COARSE,)


def test_a_listing_follows_its_exchange() -> None:
    """Servers look contracts up there."""
    exchange = an_exchange()
    listing = Listing(exchange)
    assert dict(listing) == {SYMBOL: CONTRACT}
    exchange.relist(COARSE)
    assert (listing[SYMBOL], len(listing)) == (COARSE, 1)


def test_a_market_goes_on_in_the_new_steps() -> None:
    """Its depth lies on the grid that holds."""
    exchange = an_exchange()
    quote = MarketQuote(
        ts_ns=1, venue="okx", asset=ASSET, bids=((99.73, 1.234),), asks=((100.27, 1.234),)
    )

    class Market:
        def step(self, now_ns: int) -> list[MarketQuote]:
            return [quote]

    driver = MarketDriver(Market(), {"okx": exchange})
    driver.step(1)
    assert exchange.book(SYMBOL, 1).bids[0][:2] == (d("99.7"), d("1.234"))
    exchange.relist(COARSE)
    driver.step(2)
    assert exchange.book(SYMBOL, 1).bids[0][:2] == (d("99.5"), d("1.2"))


def test_hyperliquid_tells_the_digits_that_hold() -> None:
    """The universe of the venue is made of what is listed."""
    coarse = msgspec.structs.replace(CONTRACT, symbol="BTC", quantity_step=Decimal("0.0100"))
    told = {row["name"]: row["szDecimals"] for row in rows.meta({"BTC": coarse})["universe"]}
    assert (told["BTC"], told["ETH"]) == (2, 4)
