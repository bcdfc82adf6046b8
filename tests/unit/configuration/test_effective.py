"""Each overridable key, at each width, changes what holds there and nothing else."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from pydantic import BaseModel

from perpbot.configuration import Settings, effective, load_configuration
from perpbot.configuration.tree import SYMBOL_ROOMS, VENUE_ROOMS
from perpbot.domain.errors import InvalidValue
from perpbot.settings import Flag, SettingsError
from perpbot.settings.model import field_extra

# Values that differ from the default and agree with the other defaults of their room.
SPECIAL: dict[str, Any] = {
    "arbitrage.pair_notional_max_usd": Decimal(300),
    "arbitrage.pair_notional_min_usd": Decimal(60),
    "arbitrage.entry_role": "maker",
    "arbitrage.exit_role": "maker",
    "arbitrage.min_score": 0.5,
    "capital.leverage": Decimal(2),
    "capital.max_margin_ratio": Decimal("0.4"),
    "capital.safe_mode_exit_ratio": Decimal("0.03"),
    "execution.fallback": "balanced",
    "market.max_lag_ms": 500.0,
    "market.silence_intervals": 2.0,
}


def overridable(rooms: dict[str, Any]) -> list[tuple[str, str]]:
    """Return every overridable field of some rooms."""
    return [
        (room, name)
        for room, model in rooms.items()
        for name, field in model.model_fields.items()
        if field_extra(field).get("override")
    ]


def other_value(settings: Settings, room: str, name: str) -> Any:
    """Return a value that differs from the default and is allowed."""
    if f"{room}.{name}" in SPECIAL:
        return SPECIAL[f"{room}.{name}"]
    value = getattr(getattr(settings, room), name)
    if isinstance(value, bool):
        return not value
    if isinstance(value, Decimal):
        return value * Decimal("1.1")
    return 7.0 if value is None else type(value)(value + 1)


def load(**values: Any) -> Settings:
    """Load with values given as flags."""
    flags = [Flag(key, "--test", value) for key, value in values.items()]
    return load_configuration(environ={}, flags=flags).settings


def plain(value: Any) -> Any:
    """Take an enum member's value."""
    return value.value if isinstance(value, Enum) else value


def resolved(settings: Settings, room: str, name: str, **where: str) -> Any:
    """Return what holds at a place."""
    model: BaseModel = getattr(effective(settings, **where), room)
    return plain(getattr(model, name))


@pytest.mark.parametrize(("room", "name"), overridable(SYMBOL_ROOMS))
def test_a_symbol_block_holds_for_its_symbol(room: str, name: str) -> None:
    """On every venue, and for no other symbol."""
    value = other_value(Settings(), room, name)
    settings = load(**{f"symbols.BTC-PERP.{room}.{name}": value})
    default = plain(getattr(getattr(settings, room), name))

    assert default != value
    assert resolved(settings, room, name, symbol="BTC/USDT") == value
    assert resolved(settings, room, name, symbol="btc", venue="okx") == value
    assert resolved(settings, room, name, symbol="ETH") == default
    assert resolved(settings, room, name) == default


@pytest.mark.parametrize(("room", "name"), overridable(VENUE_ROOMS))
def test_a_venue_block_holds_for_its_venue(room: str, name: str) -> None:
    """For every symbol there, and on no other venue."""
    value = other_value(Settings(), room, name)
    settings = load(**{f"venues.okx.{room}.{name}": value})
    default = plain(getattr(getattr(settings, room), name))

    assert resolved(settings, room, name, venue="okx") == value
    assert resolved(settings, room, name, venue="okx", symbol="BTC") == value
    assert resolved(settings, room, name, venue="binance", symbol="BTC") == default


@pytest.mark.parametrize(("room", "name"), overridable(VENUE_ROOMS))
def test_a_market_block_holds_for_one_market(room: str, name: str) -> None:
    """One symbol on one venue."""
    value = other_value(Settings(), room, name)
    settings = load(**{f"venues.okx.symbols.BTC-PERP.{room}.{name}": value})
    default = plain(getattr(getattr(settings, room), name))

    assert resolved(settings, room, name, venue="okx", symbol="BTC") == value
    assert resolved(settings, room, name, venue="okx", symbol="ETH") == default
    assert resolved(settings, room, name, symbol="BTC") == default


def test_the_narrower_block_wins() -> None:
    """From room over venue and symbol to market."""
    key = "risk.max_slippage_bps"
    values = {
        key: 1.0,
        f"venues.okx.{key}": 2.0,
        f"symbols.BTC-PERP.{key}": 3.0,
        f"venues.okx.symbols.BTC-PERP.{key}": 4.0,
    }
    found = []
    for count in range(1, 5):
        settings = load(**dict(list(values.items())[:count]))
        found.append(resolved(settings, "risk", "max_slippage_bps", symbol="BTC", venue="okx"))

    assert found == [1, 2, 3, 4]


@pytest.mark.parametrize(("name", "value"), [("maker_fee_bps", "-0.5"), ("taker_fee_bps", "3")])
def test_fees_by_venue_and_market(name: str, value: str) -> None:
    """A market's fee replaces its venue's."""
    settings = load(**{f"venues.okx.{name}": "9", f"venues.okx.symbols.BTC-PERP.{name}": value})
    btc = effective(settings, venue="okx", symbol="BTC").venue
    eth = effective(settings, venue="okx", symbol="ETH").venue

    assert getattr(btc, name) == Decimal(value)
    assert getattr(eth, name) == Decimal(9)
    assert getattr(effective(settings, venue="binance").venue, name) is None
    assert effective(settings).venue is None


def test_a_market_may_be_off_but_not_on_where_its_venue_is_off() -> None:
    """The venue's switch is the stronger one."""
    off = load(**{"venues.okx.symbols.BTC-PERP.enabled": False})
    dead = load(**{"venues.okx.enabled": False, "venues.okx.symbols.BTC-PERP.enabled": True})

    for settings, symbol, expected in (
        (off, "BTC", False),
        (off, "ETH", True),
        (dead, "BTC", False),
    ):
        venue = effective(settings, venue="okx", symbol=symbol).venue
        assert venue is not None
        assert venue.enabled is expected


def test_a_venue_block_has_no_arbitrage() -> None:
    """A pair spans two venues."""
    with pytest.raises(
        SettingsError, match=r"venues\.okx\.arbitrage\.min_edge_bps is not a known"
    ):
        load(**{"venues.okx.arbitrage.min_edge_bps": 5})


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"symbols.BTC-PERP.arbitrage.pair_notional_min_usd": 500}, "symbols.BTC-PERP"),
        ({"venues.okx.capital.safe_mode_exit_ratio": "0.2"}, "venues.okx"),
        (
            {
                "venues.okx.capital.safe_mode_enter_ratio": "0.3",
                "venues.binance.symbols.ETH-PERP.capital.safe_mode_exit_ratio": "0.2",
            },
            "venues.binance.symbols.ETH-PERP",
        ),
    ],
    ids=["symbol", "venue", "market"],
)
def test_a_block_that_contradicts_what_it_overrides_is_refused(
    values: dict[str, Any], place: str
) -> None:
    """At loading, not at the first trade."""
    with pytest.raises(SettingsError) as caught:
        load(**values)

    assert [problem.key for problem in caught.value.problems] == [place]
    assert "together with what it overrides" in str(caught.value)


def test_unknown_places_are_errors() -> None:
    """No venue and no symbol is invented."""
    with pytest.raises(KeyError):
        effective(Settings(), venue="mtgox")
    with pytest.raises(InvalidValue):
        effective(Settings(), symbol="???")
