from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from perpbot.kernel.clock import SECOND
from perpbot.research.chaos.counters import Counters
from perpbot.research.chaos.plan import START_NS, Fault
from perpbot.research.chaos.wires.ground import Tops, canonical
from perpbot.research.chaos.wires.plan import LEAST_HITS, ROWS, draw, missing
from perpbot.research.chaos.wires.weather import PlannedWeather, kind_of, venue_of
from perpbot.simulation.virtual.pipes import Link, Meeting


def link(line: bytes, venue: str = "binance") -> Link:
    """Return a connection that began with a line."""
    made = Link(f"{venue}.test", 1)
    made.first_line = line
    return made


def weather(row: str, variant: int = 0, venue: str = "binance") -> tuple[PlannedWeather, Counters]:
    """Return the weather under one fault that always strikes."""
    fault = Fault(
        row=row, venue=venue, asset="BTC-PERP", start_ns=START_NS, stop_ns=START_NS + SECOND,
        intensity=10.0, variant=variant, numbers=(1,),
    )  # fmt: skip
    counters = Counters()
    plan = msgspec.structs.replace(draw(1), faults=(fault,))
    return PlannedWeather(plan, lambda: START_NS, counters), counters


PUBLIC = link(b"GET /public/stream HTTP/1.1")
PRIVATE = link(b"GET /private/ws?listenKey=x HTTP/1.1")
REST = link(b"POST /fapi/v1/order HTTP/1.1")


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"GET /public/stream HTTP/1.1", "public"),
        (b"GET /market/ws HTTP/1.1", "public"),
        (b"GET /ws/v5/public HTTP/1.1", "public"),
        (b"GET /ws/v5/private HTTP/1.1", "private"),
        (b"GET /private/ws HTTP/1.1", "private"),
        (b"GET /ws-fapi/v1 HTTP/1.1", "private"),
        (b"GET /ws HTTP/1.1", "public"),
        (b"POST /exchange HTTP/1.1", "rest"),
        (b"", "rest"),
    ],
)
def test_what_a_connection_carries(line: bytes, kind: str) -> None:
    """By its first line, until somebody knows better."""
    made = link(line)
    assert kind_of(made) == kind
    made.label = "private"
    assert (kind_of(made), venue_of(made)) == ("private", "binance")


@pytest.mark.parametrize(
    ("row", "hit", "spared"), [("1", PUBLIC, PRIVATE), ("2", PRIVATE, PUBLIC)]
)
def test_rows_1_and_2_reset_in_the_middle(row: str, hit: Link, spared: Link) -> None:
    """Only the sockets of their kind."""
    sky, counters = weather(row)
    assert 0 <= sky.carry(hit, 50, up=False).reset_after < 50
    assert sky.carry(spared, 50, up=False).reset_after == -1
    assert counters.rows[row] == 1


def test_row_6_loses_one_direction_of_a_request() -> None:
    """Up or down by the variant."""
    lost_up, _ = weather("6", 0)
    lost_down, _ = weather("6", 1)
    assert lost_up.carry(REST, 50, up=True).lost
    assert not lost_up.carry(REST, 50, up=False).lost
    assert lost_down.carry(REST, 50, up=False).lost
    assert not lost_down.carry(PRIVATE, 50, up=False).lost


@pytest.mark.parametrize(
    ("variant", "resolves", "meeting"),
    [
        (0, False, Meeting.REFUSE),
        (2, True, Meeting.BAD_CERTIFICATE),
        (3, True, Meeting.REFUSE),
        (5, True, Meeting.HANG),
    ],
)
def test_row_42_keeps_connections_from_being_made(
    *, variant: int, resolves: bool, meeting: Meeting
) -> None:
    """Names, certificates, refusals, silence; other venues are reached."""
    sky, _ = weather("42", variant)
    assert sky.resolves("binance.test") is resolves
    assert sky.meets("binance.test", 443) is meeting
    assert sky.resolves("okx.test")
    assert sky.meets("okx.test", 443) is Meeting.ACCEPT


def test_a_drip_comes_late_and_in_pieces() -> None:
    """And every byte of it."""
    sky, counters = weather("drip")
    carried = [sky.carry(PUBLIC, 50, up=False) for _ in range(50)]
    assert not any(one.lost or one.reset_after >= 0 for one in carried)
    assert max(one.pieces for one in carried) > 1
    assert counters.rows["drip"] == 50


def test_touches_are_known_for_a_while() -> None:
    """Since when one is no longer the touch; None for what never was."""
    now_ns = 0
    tops = Tops(lambda: now_ns)
    assert tops.age_ns("okx", "BTC-PERP", 1.0, 2.0) is None
    tops.note("okx", "BTC-PERP", Decimal(1), Decimal(2))
    now_ns = 5 * SECOND
    assert tops.age_ns("okx", "BTC-PERP", 1.0, 2.0) == 0
    tops.note("okx", "BTC-PERP", Decimal(3), Decimal(4))
    now_ns = 7 * SECOND
    assert tops.age_ns("okx", "BTC-PERP", 1.0, 2.0) == 2 * SECOND
    assert tops.age_ns("okx", "BTC-PERP", 1.0, 4.0) is None
    now_ns = 120 * SECOND
    tops.note("okx", "BTC-PERP", Decimal(5), Decimal(6))
    assert tops.age_ns("okx", "BTC-PERP", 1.0, 2.0) is None


def test_client_ids_are_ours_in_any_form() -> None:
    """Behind a venue's prefix; what is no id of ours stays what it is."""
    ours = "0123456789abcdef" * 2
    assert [canonical(text) for text in (ours, f"pb{ours}", f"0x{ours}", "")] == [ours] * 3 + [""]


def test_plans_are_pure_and_hold_what_was_asked_for() -> None:
    """The same seed, the same plan; rows only where the protocol has them."""
    assert draw(5) == draw(5)
    for seed in range(60):
        plan = draw(seed, "16")
        assert "16" in plan.rows
        assert plan.rows <= ROWS.keys()
        for fault in plan.faults:
            assert START_NS < fault.start_ns < fault.stop_ns <= plan.heal_ns
            assert fault.venue in plan.venues
            assert fault.row != "20" or fault.venue == "hyperliquid"


def test_rows_that_were_hit_too_rarely_are_named() -> None:
    """Chaos that does not happen proves nothing."""
    counters = Counters()
    for row in ROWS:
        counters.rows[row] = LEAST_HITS
    assert missing(counters) == []
    counters.rows["16"] -= 1
    assert missing(counters) == ["row 16: hit 19 times, 20 were expected"]
