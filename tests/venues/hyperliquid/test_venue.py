"""The venue as a whole: what it declares, whom it asks for, what it opens."""

from __future__ import annotations

import gzip
import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from perpbot.domain.capabilities import DeadManScope, Lookup
from perpbot.domain.errors import InvalidValue
from perpbot.kernel.clock import RealClock
from perpbot.venues.hyperliquid.codec import Book, PublicTrade
from perpbot.venues.hyperliquid.credentials import HyperliquidCredentials
from perpbot.venues.hyperliquid.limits import info_weight
from perpbot.venues.hyperliquid.statement import ClearinghouseState, Reader, WireFill
from perpbot.venues.hyperliquid.universe import Meta, Universe
from perpbot.venues.hyperliquid.user_codec import UserEventsFrame, decode_user
from perpbot.venues.hyperliquid.venue import CAPABILITIES, Hyperliquid, create
from perpbot.venues.options import VenueConnection
from perpbot.venues.port import Venue
from tests.venues.hyperliquid.loopback import KEY, MASTER, META, SIGNER, adapter, serving


def make(credentials: HyperliquidCredentials | None, **settings: Any) -> Hyperliquid:
    """Return an adapter that is never connected."""
    return create(
        settings=VenueConnection(**settings),
        credentials=credentials,
        clock=RealClock(),
        rng=random.Random(1),
    )


def test_it_is_a_venue_of_the_port() -> None:
    """The type checker holds it to the protocol; the name is the venue's."""
    venue: Venue = make(None, account_name="second")
    assert venue.name == venue.capabilities.venue == "hyperliquid"
    assert venue.account_name == "second"
    assert not venue.can_trade


def test_capabilities() -> None:
    """What risk and execution rely on."""
    assert CAPABILITIES.operator == "hyperliquid"
    assert CAPABILITIES.request_expiry
    assert CAPABILITIES.dead_man is DeadManScope.ACCOUNT
    assert CAPABILITIES.dead_man_removes_stops
    assert CAPABILITIES.lookup is Lookup.FULL
    assert not CAPABILITIES.market_orders
    assert not CAPABILITIES.fok
    assert not CAPABILITIES.hedge_mode
    assert (CAPABILITIES.maker_fee_bps, CAPABILITIES.taker_fee_bps) == (
        Decimal("1.5"),
        Decimal("4.5"),
    )


@pytest.mark.parametrize(
    ("addresses", "user"),
    [
        ({}, SIGNER),
        ({"account_address": MASTER.upper().replace("0X", "0x")}, MASTER),
        ({"account_address": MASTER, "vault_address": "0x" + "CD" * 20}, "0x" + "cd" * 20),
    ],
    ids=["own-key", "agent", "vault"],
)
def test_questions_name_who_owns(addresses: dict[str, str], user: str) -> None:
    """The vault, else the master, else the signer itself; lower case."""
    venue = make(HyperliquidCredentials(private_key=KEY, **addresses))
    assert venue.account._info.user == user
    assert venue.can_trade


def test_bad_address_is_refused() -> None:
    """Before anything is connected."""
    with pytest.raises(InvalidValue, match="account_address"):
        make(HyperliquidCredentials(private_key=KEY, account_address="me"))


@pytest.mark.parametrize(
    ("testnet", "host"),
    [(False, "wss://api.hyperliquid.xyz/ws"), (True, "wss://api.hyperliquid-testnet.xyz/ws")],
)
def test_addresses_by_default(testnet: bool, host: str) -> None:
    """The venue's own, or its testnet's."""
    assert make(None, testnet=testnet).market_data._ws_url == host


async def test_open_without_keys_reads_and_changes_nothing() -> None:
    """The public side only, and the universe once."""
    async with serving() as loopback, adapter(loopback, keys=False) as venue:
        instruments = await venue.market_data.instruments()
        await venue.open(instruments)
        assert len(loopback.questions) == 2
        venue.market_data._universe._by_symbol.clear()
        await venue.open(instruments)
        assert len(loopback.questions) == 3
    assert not loopback.requests


async def test_leverage_may_be_left_alone() -> None:
    """Without a leverage of ours the account keeps its own."""
    async with serving() as loopback, adapter(loopback, leverage=None) as venue:
        await venue.open(await venue.market_data.instruments())
    assert not loopback.requests


def test_weights() -> None:
    """The venue's table of weights."""
    assert [info_weight(kind) for kind in ("l2Book", "orderStatus", "userRole", "meta")] == [
        2,
        2,
        60,
        20,
    ]


@pytest.fixture(scope="module")
def payloads(shared: Path) -> dict[str, Any]:
    """Messages of the venue as others recorded or documented them, by file name."""
    found = {}
    with gzip.open(
        shared / "recordings/payloads/nautilus_adapter_payloads.jsonl.gz", "rt"
    ) as all_:
        for line in all_:
            row = json.loads(line)
            if row["venue"] == "hyperliquid":
                found[row["file"].rsplit("/", 1)[-1].removesuffix(".json")] = json.loads(row["m"])
    return found


@pytest.fixture
def reader() -> Reader:
    """A reader with a small universe."""
    universe = Universe()
    universe.replace(msgspec.convert(META, Meta))
    return Reader(universe, account="main")


def test_recorded_universe_is_read(payloads: dict[str, Any]) -> None:
    """Optional fields may be null; each element of all universes is a universe."""
    tradable = Universe().replace(msgspec.convert(payloads["http_meta_perp_sample"], Meta))
    assert [one.symbol for one in tradable] == ["BTC", "ETH", "ATOM"]
    for meta in payloads["http_all_perp_metas_non_usdc_collateral"]:
        assert Universe().replace(msgspec.convert(meta, Meta))


def test_recorded_books_and_trades_are_read(payloads: dict[str, Any]) -> None:
    """Levels with and without a count of orders."""
    for name in ("http_l2_book_btc", "http_l2_book_snapshot", "ws_book_data"):
        book = msgspec.convert(payloads[name], Book, strict=False)
        assert book.levels[0][0].px < book.levels[1][0].px
    trades = msgspec.convert(
        payloads["http_recent_trades_btc"], tuple[PublicTrade, ...], strict=False
    )
    assert len(trades) == 3


def test_recorded_account_with_negative_cash_is_read(
    payloads: dict[str, Any], reader: Reader
) -> None:
    """The value of the account counts, not its cash."""
    told = payloads["http_clearinghouse_state_negative_total_raw_usd"]
    (balance,) = reader.balances(msgspec.convert(told, ClearinghouseState))
    assert balance.equity == Decimal("1736.030875")
    assert balance.free == Decimal("772.232111")


def test_recorded_fills_are_read(payloads: dict[str, Any], reader: Reader) -> None:
    """Liquidations and conversions of dust are fills like others."""
    told = msgspec.json.encode(payloads["ws_user_fill_liquidation"])
    frame = decode_user(told)
    assert isinstance(frame, UserEventsFrame)
    report = reader.fill(frame.data.fills[0])
    assert report is not None
    assert report.fee == Decimal("0.009997")
    assert report.client_id == ""
    rows = msgspec.convert(payloads["http_user_fills_dust_conversion"], list[WireFill])
    assert [reader.fill(row) for row in rows] == [None] * len(rows)
