"""Keys that may do too much are refused where real money is; what is unknown is said."""

from __future__ import annotations

import asyncio
import pickle
import random
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from perpbot.app import keycheck, run
from perpbot.app.keycheck import check_keys
from perpbot.app.venues import _CREDENTIALS, make_venue
from perpbot.domain.errors import AuthFailed, ConfigError, Unavailable
from perpbot.domain.permissions import KeyPermissions
from perpbot.kernel.clock import RealClock
from perpbot.settings import VENUE_CREDENTIALS, Mode
from perpbot.venues.options import VenueConnection

GOOD = KeyPermissions(trade=True, withdraw=False, transfer=False, address_bound=True)
RICH = KeyPermissions(trade=True, withdraw=True, transfer=True, address_bound=False)


class FakeVenue:
    """A venue that answers one thing."""

    def __init__(self, name: str, answer: Any, *, can_trade: bool = True) -> None:
        self.name = name
        self.can_trade = can_trade
        self._answer = answer
        self.asked = 0
        self.closed = False

    async def close(self) -> None:
        self.closed = True

    async def key_permissions(self) -> KeyPermissions:
        self.asked += 1
        if isinstance(self._answer, Exception):
            raise self._answer
        if self._answer is None:
            await asyncio.Event().wait()
        assert isinstance(self._answer, KeyPermissions)
        return self._answer


class MuteVenue:
    """A venue whose adapter cannot ask."""

    name = "mute"
    can_trade = True


async def check(mode: Mode, *venues: Any) -> list[str]:
    """Return what was said."""
    said: list[str] = []
    await check_keys(venues, mode, said.append)
    return said


async def test_a_good_key_is_passed_in_silence() -> None:
    """In live too."""
    assert await check(Mode.LIVE, FakeVenue("okx", GOOD)) == []


async def test_live_refuses_every_right_too_many_at_once() -> None:
    """All venues are named, not only the first."""
    with pytest.raises(ConfigError) as refused:
        await check(Mode.LIVE, FakeVenue("okx", RICH), FakeVenue("binance", RICH))

    lines = str(refused.value).splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("the key of okx: it can withdraw")
    assert lines[3].startswith("the key of binance: it can transfer")


async def test_a_testnet_only_warns() -> None:
    """Its money is not money."""
    said = await check(Mode.TESTNET, FakeVenue("okx", RICH))

    assert said[0] == "the key of okx: it works from any address: bind it to yours"
    assert "can withdraw" in said[1]
    assert "live would refuse it" in said[1]


@pytest.mark.parametrize(
    ("venue", "said"),
    [
        (FakeVenue("okx", Unavailable("okx", "maintenance")), "unknown: maintenance"),
        (FakeVenue("okx", AuthFailed("okx", "wrong key")), "unknown: wrong key"),
        (MuteVenue(), "unknown: this adapter cannot ask"),
        (FakeVenue("okx", KeyPermissions()), "the venue does not tell"),
    ],
    ids=["down", "refused", "an adapter that cannot", "a venue that cannot"],
)
async def test_what_is_unknown_is_said_and_stops_nobody(venue: Any, said: str) -> None:
    """A node that has positions must be able to come back."""
    (line,) = await check(Mode.LIVE, venue)

    assert said in line


async def test_a_venue_that_does_not_answer_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Within the limit."""
    monkeypatch.setattr(keycheck, "LIMIT_S", 0.01)

    (line,) = await check(Mode.LIVE, FakeVenue("okx", None))

    assert "no answer in 0.01 s" in line


async def test_nothing_is_asked_without_a_key_or_a_world() -> None:
    """Read-only venues, paper."""
    keyless, other = FakeVenue("okx", RICH, can_trade=False), FakeVenue("binance", RICH)

    assert await check(Mode.LIVE, keyless) == []
    assert await check(Mode.PAPER, other) == []
    assert keyless.asked == other.asked == 0


def configured(mode: Mode) -> Any:
    """Return as much of a configuration as the check asks for."""
    return SimpleNamespace(settings=SimpleNamespace(mode=mode))


@pytest.mark.parametrize(
    ("mode", "answer", "stopped", "goes_on"),
    [
        (Mode.LIVE, GOOD, False, True),
        (Mode.TESTNET, RICH, False, True),
        (Mode.PAPER, RICH, False, True),
        (Mode.LIVE, None, True, False),
    ],
    ids=["good", "testnet", "paper", "stopped while asking"],
)
async def test_a_run_asks_before_it_begins(
    monkeypatch: pytest.MonkeyPatch, mode: Mode, answer: Any, stopped: bool, goes_on: bool
) -> None:
    """On venues of their own, which are closed again."""
    venue, stop = FakeVenue("okx", answer), asyncio.Event()
    monkeypatch.setattr(run, "venues_of", lambda *_: [venue])
    if stopped:
        stop.set()

    assert await run._keys_checked(configured(mode), RealClock(), stop, lambda _: None) is goes_on
    assert venue.closed is (mode is not Mode.PAPER)


async def test_a_live_run_does_not_begin_with_a_rich_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The refusal ends it; the venue is closed."""
    venue = FakeVenue("okx", RICH)
    monkeypatch.setattr(run, "venues_of", lambda *_: [venue])

    with pytest.raises(ConfigError, match="can withdraw"):
        await run._keys_checked(
            configured(Mode.LIVE), RealClock(), asyncio.Event(), lambda _: None
        )
    assert venue.closed


@pytest.mark.parametrize("venue", sorted(VENUE_CREDENTIALS))
def test_what_a_venue_signs_with_does_not_show_itself(venue: str) -> None:
    """In no text and in no pickle, nor do the objects that hold it."""
    keys = {
        field.name: f"canary{field.name}" for field in VENUE_CREDENTIALS[venue] if field.required
    }
    if venue == "hyperliquid":
        keys = {"private_key": "c0ffee" + "11" * 29, "account_address": "0x" + "ab" * 20}
    module, name = _CREDENTIALS[venue]
    credentials = msgspec.convert(keys, getattr(import_module(module), name))
    made: Any = make_venue(venue, VenueConnection(), keys, RealClock(), random.Random(1))

    shown = f"{credentials} {credentials!r} {made!r} {made.trading!r}"
    assert "canary" not in shown
    assert "c0ffee" not in shown
    with pytest.raises(TypeError):
        pickle.dumps(credentials)
