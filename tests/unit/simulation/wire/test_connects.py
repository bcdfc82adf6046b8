from __future__ import annotations

from perpbot.simulation.wire.connects import SECOND_NS, ConnectLimit, Connects


def test_a_full_period_refuses_until_its_oldest_is_past() -> None:
    """There is room again a period after each that was let in, not before."""
    connects = Connects(ConnectLimit(3, 1.0))

    assert [connects.take("a", at) for at in (0, 10, 20, 30, SECOND_NS - 1)] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert [connects.take("a", SECOND_NS), connects.take("a", SECOND_NS)] == [True, False]
    assert connects.refused == 3


def test_addresses_are_counted_apart() -> None:
    """One that storms costs another nothing."""
    connects = Connects(ConnectLimit(1, 1.0))

    assert connects.take("a", 0)
    assert not connects.take("a", 0)
    assert connects.take("b", 0)
