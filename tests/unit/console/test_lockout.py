"""Who guesses is not listened to for a while."""

from __future__ import annotations

import pytest

from perpbot.console.lockout import ADDRESSES_MAX, Lockout
from tests.unit.console.asking import StandingClock


@pytest.fixture
def clock() -> StandingClock:
    """A clock moved by hand."""
    return StandingClock()


def fail(lockout: Lockout, client: str, times: int = 5) -> None:
    """Send wrong tokens."""
    for _ in range(times):
        lockout.failed(client)


def test_the_fifth_failure_in_a_minute_locks(clock: StandingClock) -> None:
    """Older ones do not count."""
    lockout = Lockout(clock)
    fail(lockout, "10.0.0.1", 4)
    clock.advance(61)
    fail(lockout, "10.0.0.1", 4)
    assert lockout.remaining_s("10.0.0.1") == 0

    lockout.failed("10.0.0.1")

    assert lockout.remaining_s("10.0.0.1") == 60
    clock.advance(60)
    assert lockout.remaining_s("10.0.0.1") == 0


def test_each_lock_in_a_row_is_longer(clock: StandingClock) -> None:
    """Up to a quarter of an hour; a right token starts anew."""
    lockout = Lockout(clock)
    waits = []
    for _ in range(7):
        fail(lockout, "10.0.0.1")
        waits.append(lockout.remaining_s("10.0.0.1"))
        clock.advance(waits[-1])

    assert waits == [60, 120, 240, 480, 900, 900, 900]
    lockout.succeeded("10.0.0.1")
    fail(lockout, "10.0.0.1")
    assert lockout.remaining_s("10.0.0.1") == 60


@pytest.mark.parametrize(
    ("guesser", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.2", False),
        ("2001:db8::1", "2001:db8::2:3", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("", "no address", True),
    ],
    ids=["two addresses", "one network", "two networks", "one address in two forms", "unknown"],
)
def test_who_counts_as_one(clock: StandingClock, guesser: str, other: str, same: bool) -> None:
    """An IPv6 customer has a whole network to guess from."""
    lockout = Lockout(clock)
    fail(lockout, guesser)

    assert (lockout.remaining_s(other) > 0) is same


def test_the_table_is_bounded(clock: StandingClock) -> None:
    """The address longest silent is forgotten first."""
    lockout = Lockout(clock)
    fail(lockout, "10.0.0.1")
    for number in range(ADDRESSES_MAX):
        lockout.failed(f"172.{16 + number // 65536}.{number // 256 % 256}.{number % 256}")

    assert len(lockout._records) == ADDRESSES_MAX
    assert lockout.remaining_s("10.0.0.1") == 0
