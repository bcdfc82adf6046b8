"""Pools, grants, expiry, top-up, breaches: the sums hold at every grant."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from pydantic import ValidationError

from perpbot.domain.errors import CapitalShort, StateConflict
from perpbot.domain.events import (
    AlertFired,
    CapitalReleased,
    CapitalReserved,
    CapitalUpdated,
    EquitySampled,
    ReserveToppedUp,
    SubmitOrders,
)
from perpbot.domain.orders import OrderRequest
from perpbot.domain.sides import Purpose, Side
from perpbot.kernel.fold import DurableState
from perpbot.portfolio.allocator import CapitalAllocator, Pool
from perpbot.portfolio.reservations import Reservations
from perpbot.portfolio.settings import CapitalSettings
from tests.unit.portfolio.office import DECISION, Office, d, request, reserved


def office(**more: object) -> Office:
    """Two venues with 1000 USD each: arbitrage 400, reserve 200, volume (off) 1400."""
    desk = Office(**more)  # type: ignore[arg-type]
    desk.tell("okx", "1000")
    desk.tell("binance", "1000")
    return desk


def test_the_allocator_divides_by_the_shares() -> None:
    """A pool that is off is unallocated; a venue in debt gives nothing."""
    allocation = CapitalAllocator(CapitalSettings()).allocate({"a": d(1000), "b": d(-50)})

    assert allocation.total("volume") == 0
    assert allocation.unallocated == d(700)
    assert (allocation.total("arbitrage"), allocation.total("reserve")) == (d(200), d(100))
    assert allocation.pools["arbitrage"] == {"a": d(200), "b": d(0)}


def test_the_view_adds_up() -> None:
    """Total, reserved, in use, available."""
    desk = office()
    desk.reserve("r1", okx="50", binance="50")
    desk.submit(request(reservation_id="r1"))
    desk.bus.publish(desk.filled(client_id="a", quantity=d("0.2")))

    figures = desk.capital.pools()["arbitrage"]
    assert figures == {
        "total": d(400),
        "reserved": d(80),
        "in_use": d(20),
        "available": d(300),
    }
    assert desk.capital.pools()["unallocated"] == {"total": d(1400)}
    assert desk.capital.reserved_total() == d(100)


def test_a_pool_is_reserved_to_the_last_dollar_and_not_beyond() -> None:
    """At the limit it fits; a cent above it does not, with both numbers."""
    desk = office(settings=CapitalSettings(reserve_top_up_ratio=Decimal(1)))
    assert (
        "asked 400.01 USD, available 400 USD"
        in desk.capital.claim("arbitrage", {"okx": d("200.01"), "binance": d(200)}).shortage
    )
    assert desk.capital.claim("arbitrage", {"okx": d(200), "binance": d(200)}).shortage == ""
    desk.reserve("r1", okx="200", binance="200")

    with pytest.raises(CapitalShort, match=r"pool arbitrage: asked 0.01 USD, available 0 USD"):
        desk.reserve("r2", okx="0.01")


def test_a_pool_that_is_off_lends_nothing() -> None:
    """The volume share is not arbitrage's to take."""
    with pytest.raises(CapitalShort, match="pool volume"):
        office().reserve("r1", pool="volume", okx="1")


def test_the_free_margin_of_a_venue_bounds_what_is_set_aside_there() -> None:
    """All legs or none: the other venue gets nothing either."""
    desk = office()
    desk.tell("okx", "1000", free="60")
    desk.reserve("r1", okx="40", binance="40")

    with pytest.raises(CapitalShort, match=r"okx: margin 30 USD, free 20 USD"):
        desk.reserve("r2", okx="30", binance="30")

    assert [event.reservation_id for event in desk.seen(CapitalReserved)] == ["r1"]
    assert desk.reservations.unsent("binance") == d(40)


def test_grants_of_one_moment_know_of_each_other() -> None:
    """Two grants inside one handler: the second counts the first before it is folded."""
    desk = office(settings=CapitalSettings(reserve_top_up_ratio=Decimal(1)))
    refused: list[str] = []

    def grab(name: str) -> None:
        try:
            desk.reserve(name, okx="150", binance="150")
        except CapitalShort as short:
            refused.append(str(short))

    desk.inside(lambda: grab("r1"), lambda: grab("r2"))

    assert len(desk.seen(CapitalReserved)) == 1
    assert "available 100 USD" in refused[0]
    assert desk.capital.reserved_total() == d(300)


def test_a_claim_that_has_grown_old_is_measured_again() -> None:
    """Two claims fit by themselves; the second grant sees what the first has taken."""
    desk = office(settings=CapitalSettings(reserve_top_up_ratio=Decimal(1)))
    claims = [desk.capital.claim("arbitrage", {"okx": d(300)}) for _ in range(2)]
    assert [claim.shortage for claim in claims] == ["", ""]
    refused: list[str] = []

    def take() -> None:
        desk.capital.grant(claims[0], "r1")
        try:
            desk.capital.grant(claims[1], "r2")
        except CapitalShort as short:
            refused.append(str(short))

    desk.inside(take)

    assert refused == ["pool arbitrage: asked 300 USD, available 100 USD"]


def test_what_is_left_is_known_until_a_balance_is_too_old() -> None:
    """Time alone takes it away."""
    desk = office()
    claims = []
    for seconds in (0.0, 15.0, 0.1):
        desk.advance(seconds)
        claims.append(desk.capital.claim("arbitrage", {"okx": d(10)}).shortage)

    assert claims[:2] == ["", ""]
    assert "15.1 s old, at most 15 s allowed" in claims[2]


def test_venue_margin_counts_grants_of_the_same_moment() -> None:
    """Per venue too."""
    desk = office()
    desk.tell("okx", "1000", free="60")
    refused: list[str] = []

    def grab(name: str) -> None:
        try:
            desk.reserve(name, okx="40")
        except CapitalShort as short:
            refused.append(str(short))

    desk.inside(lambda: grab("r1"), lambda: grab("r2"))

    assert refused == ["okx: margin 40 USD, free 20 USD"]


def test_a_grant_that_is_never_published_is_forgotten() -> None:
    """Its caller gave up; nothing stays set aside."""
    desk = office()
    desk.inside(lambda: desk.capital.grant(desk.capital.claim("arbitrage", {"okx": d(400)}), "r1"))

    assert desk.capital.claim("arbitrage", {"okx": d(400)}).shortage == ""


def test_an_id_is_reserved_once() -> None:
    """While it is granted, and while it is open."""
    desk = office()
    desk.reserve("r1", okx="1")
    with pytest.raises(StateConflict, match="r1 was made already"):
        desk.reserve("r1", okx="1")


@pytest.mark.parametrize("notional", ["0", "-1", "NaN", "Infinity"])
def test_a_notional_that_is_no_amount_is_refused(notional: str) -> None:
    """Nothing negative frees capital."""
    with pytest.raises(CapitalShort, match="more than 0 was expected"):
        office().reserve("r1", okx=notional)


def test_a_fill_counts_until_the_venue_has_told_its_new_margin() -> None:
    """Between the fill and the venue's next word its free figure is old."""
    desk = office()
    desk.tell("okx", "1000", free="100")
    desk.reserve("r1", okx="80")
    desk.submit(request(reservation_id="r1"))
    desk.bus.publish(desk.filled(client_id="a", quantity=d("0.8")))
    assert "free 20 USD" in desk.capital.claim("arbitrage", {"okx": d(30)}).shortage
    desk.advance(1)
    desk.tell("okx", "1000", free="20")

    assert "free 20 USD" in desk.capital.claim("arbitrage", {"okx": d(30)}).shortage
    assert desk.capital.claim("arbitrage", {"okx": d(20)}).shortage == ""


@pytest.mark.parametrize(("age_s", "fits"), [(15, True), (15.1, False)], ids=["at", "above"])
def test_old_balances_open_nothing(age_s: float, fits: bool) -> None:
    """The limit is named."""
    desk = office()
    desk.advance(age_s)

    reason = desk.capital.claim("arbitrage", {"okx": d(10)}).shortage
    assert (reason == "") == fits
    if not fits:
        assert reason == "balances of okx are 15.1 s old, at most 15 s allowed"


def test_a_venue_that_never_told_opens_nothing() -> None:
    """No balance is not a balance of zero, and not of anything else."""
    assert "never told" in office().capital.claim("arbitrage", {"aster": d(10)}).shortage


def test_a_currency_without_a_rate_opens_nothing() -> None:
    """No dollar value is invented."""
    desk = office(venue_rate=lambda _venue: None)

    assert "no USD rate" in desk.capital.claim("arbitrage", {"okx": d(10)}).shortage


def test_margin_is_notional_over_the_leverage_of_the_venue() -> None:
    """An override holds for its venue alone."""
    desk = office(leverage=lambda venue: d(4) if venue == "okx" else d(1))
    desk.reserve("r1", okx="100", binance="100")

    [grant] = desk.seen(CapitalReserved)
    assert grant.legs == {"okx": d(25), "binance": d(100)}
    assert grant.leverage == {"okx": d(4), "binance": d(1)}
    desk.submit(request(reservation_id="r1"))
    desk.bus.publish(desk.filled(client_id="a", quantity=d("0.4")))
    assert desk.reservations.in_use("arbitrage") == d(10)


# --- ends ----------------------------------------------------------------------------------------


def test_an_unsent_reservation_expires() -> None:
    """A sent one stays until its pair is flat."""
    desk = office()
    desk.reserve("r1", okx="10")
    desk.reserve("r2", okx="10")
    desk.submit(request(reservation_id="r2"))
    desk.advance(59.9)
    assert len(desk.seen(CapitalReleased)) == 0
    desk.advance(100)

    [ended] = desk.seen(CapitalReleased)
    assert (ended.reservation_id, ended.reason) == ("r1", "expired_unsent")
    desk.capital.release("r2", "flat")
    desk.capital.release("r2", "flat")
    assert len(desk.seen(CapitalReleased)) == 2
    assert desk.capital.reserved_total() == 0


def test_a_released_reservation_does_not_expire_again() -> None:
    """Its timer is gone."""
    desk = office()
    desk.reserve("r1", okx="10")
    desk.capital.release("r1", "flat")
    desk.advance(120)

    assert len(desk.seen(CapitalReleased)) == 1


def test_expiry_goes_on_after_a_restart() -> None:
    """What a crash left unsent falls back at once when its time has passed."""
    desk = office()
    desk.reserve("r1", okx="10")
    crashed = Office()
    crashed.state.replay(desk.journal.records())
    crashed.advance(120)
    crashed.capital.resume()
    crashed.advance(0)

    assert [event.reason for event in crashed.seen(CapitalReleased)] == ["expired_unsent"]


# --- top-up, breach, margin ----------------------------------------------------------------------


def test_the_reserve_tops_arbitrage_up_above_half_and_takes_it_back() -> None:
    """At half it does not; the lent sum can be reserved, and the view says so."""
    desk = office()
    desk.reserve("r1", okx="100", binance="100")
    assert desk.seen(ReserveToppedUp) == []
    desk.reserve("r2", okx="1", binance="1")

    assert [(e.venue, e.amount_usd) for e in desk.seen(ReserveToppedUp)] == [
        ("okx", d(100)),
        ("binance", d(100)),
    ]
    assert desk.capital.pools()["arbitrage"]["total"] == d(600)
    assert desk.capital.pools()["reserve"]["total"] == 0
    desk.reserve("r3", okx="199", binance="199")
    desk.capital.release("r3", "flat")
    desk.capital.release("r2", "flat")

    assert [e.amount_usd for e in desk.seen(ReserveToppedUp)][2:] == [d(-100), d(-100)]
    assert desk.capital.pools()["reserve"]["total"] == d(200)
    assert desk.reservations.topped_up == {"okx": d(0), "binance": d(0)}


def test_events_of_one_moment_top_up_once() -> None:
    """Nothing is lent twice."""
    desk = office()
    desk.inside(
        lambda: desk.reserve("r1", okx="201"),
        lambda: desk.tell("okx", "1001"),
        lambda: desk.tell("binance", "1001"),
    )

    assert len(desk.seen(ReserveToppedUp)) == 2


def test_a_reserve_that_shrank_lends_what_is_left() -> None:
    """The pools never hold more than there is."""
    desk = office()
    desk.reserve("r1", okx="120", binance="120")
    desk.advance(2)
    desk.tell("okx", "500", free="100")

    figures = desk.capital.pools()
    assert figures["reserve"]["total"] == 0
    assert figures["arbitrage"]["total"] == d(100) + d(50) + d(200) + d(100)


def test_a_breach_by_loss_is_an_alarm_once_and_ends_with_it() -> None:
    """It stops opens; nothing is taken back."""
    desk = office()
    desk.reserve("r1", okx="190", binance="190")
    for equity in ("300", "200"):
        desk.advance(2)
        desk.tell("okx", equity)
        desk.tell("binance", equity)
    assert desk.capital.breach() == "arbitrage"
    [alert] = [e for e in desk.seen(AlertFired) if e.name == "pool_breached"]
    assert "holds 380 USD of 180 USD" in alert.text
    desk.advance(2)
    desk.tell("okx", "2000")

    assert desk.capital.breach() == ""


def test_a_venue_that_has_not_told_yet_is_no_breach() -> None:
    """After a restart balances come one by one."""
    desk = Office()
    desk.bus.publish(reserved("r1", okx="10", binance="10"))
    desk.tell("okx", "1")
    assert desk.capital.breach() == ""
    desk.tell("binance", "1")

    assert desk.capital.breach() == "arbitrage"


def test_strained_margin_is_an_alarm_once() -> None:
    """Margin in use and set aside, over equity; a venue without equity is strained."""
    desk = Office()
    desk.tell("okx", "1000", free="600")
    assert desk.capital.margin_ratio("okx") == d("0.4")
    desk.reserve("r1", okx="100")
    assert desk.capital.margin_ratio("okx") == d("0.5")
    desk.advance(2)
    desk.tell("okx", "999", free="500")
    assert [e.name for e in desk.seen(AlertFired)] == ["margin_strained"]
    desk.advance(2)
    desk.tell("okx", "1000", free="1000")
    desk.advance(2)
    desk.tell("okx", "0")

    assert desk.capital.margin_ratio("okx") is None
    assert desk.capital.margin_ratio("aster") is None
    texts = [e.text for e in desk.seen(AlertFired) if e.name == "margin_strained"]
    assert len(texts) == 2
    assert "not known: no equity" in texts[1]


def test_the_view_is_published_after_changes() -> None:
    """Pools and drawdown, on the latest lane."""
    desk = Office()
    views: list[CapitalUpdated] = []
    desk.bus.subscribe(CapitalUpdated, views.append)
    desk.tell("okx", "1000")

    assert views[-1].pools["arbitrage"]["total"] == d(200)
    assert views[-1].drawdown == 0


def test_the_age_of_equity_has_a_limit() -> None:
    """The oldest balance plus one interval; None before the first sample."""
    desk = Office()
    assert desk.capital.equity_age_s() == (None, 20.0)
    desk.bus.publish(
        EquitySampled(ts_ns=desk.time.now_ns(), per_venue={"okx": d(1)}, total_usd=d(1))
    )
    desk.advance(3)

    assert desk.capital.equity_age_s() == (3.0, 20.0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"volume_share_ratio": Decimal("0.6")}, "must sum to 1"),
        ({"safe_mode_exit_ratio": Decimal("0.05")}, "below safe_mode_enter_ratio"),
        ({"snapshot_max_age_s": 4.0}, "at least snapshot_interval_s"),
    ],
    ids=["shares", "hysteresis", "age"],
)
def test_settings_that_contradict_each_other_are_refused(
    values: dict[str, Any], words: str
) -> None:
    """With the key, its value and what would be right."""
    with pytest.raises(ValidationError, match=words):
        CapitalSettings(**values)


# --- reservations --------------------------------------------------------------------------------


def test_only_opening_fills_use_a_reservation_and_never_beyond_it() -> None:
    """Reductions give nothing back; other venues and orders count nothing."""
    table = Reservations()
    state = DurableState([table])
    desk = Office()
    state.apply(reserved("r1", okx="100"))
    for request_ in (
        request("a", reservation_id="r1"),
        request("h", reservation_id="r1", purpose=Purpose.HEDGE),
        request("r", reservation_id="r1", purpose=Purpose.REDUCE, side=Side.SELL),
        request("x", reservation_id="other"),
    ):
        state.apply(_submitted(request_))
    for client_id, venue in (("r", "okx"), ("x", "okx"), ("a", "binance"), ("zz", "okx")):
        state.apply(desk.filled(client_id=client_id, venue=venue))
    assert table.in_use("arbitrage") == 0
    state.apply(desk.filled(client_id="a", quantity=d("0.3")))
    state.apply(desk.filled(client_id="h", quantity=d("0.3")))
    assert table.in_use("arbitrage") == d(60)
    assert table.unsent("okx") == d(40)
    state.apply(desk.filled(client_id="a", quantity=d(9)))

    assert table.in_use("arbitrage") == table.held("arbitrage") == d(100)
    assert table.held("arbitrage", "binance") == 0
    assert [found.sent for found in table] == [True]


def _submitted(order: OrderRequest) -> SubmitOrders:
    return SubmitOrders(orders=(order,), decision=DECISION)


def test_a_reservation_made_twice_is_a_conflict() -> None:
    """The fold refuses what the orchestrator should never have granted."""
    state = DurableState([Reservations()])
    state.apply(reserved("r1", okx="1"))

    with pytest.raises(StateConflict, match="made twice"):
        state.apply(reserved("r1", okx="1"))


class CapitalMachine(RuleBasedStateMachine):
    """Reserve, send, fill, release, lose and win in any order; replay gives the same."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = office()
        self.count = 0
        self.open: list[str] = []

    @rule(okx=st.integers(1, 250), binance=st.integers(1, 250), sent=st.booleans())
    def reserve(self, okx: int, binance: int, sent: bool) -> None:
        self.count += 1
        name = f"r{self.count}"
        before = self.desk.capital.reserved_total()
        try:
            self.desk.reserve(name, okx=str(okx), binance=str(binance))
        except CapitalShort:
            assert self.desk.capital.reserved_total() == before
            return
        self.open.append(name)
        self._sums_hold()
        if sent:
            self.desk.submit(request(f"o-{name}", reservation_id=name))

    def _sums_hold(self) -> None:
        for pool in Pool:
            figures = self.desk.capital.pools()[pool]
            assert figures["reserved"] + figures["in_use"] <= figures["total"]
        for venue in ("okx", "binance"):
            balance = self.desk.snapshots.balance(venue)
            assert balance is not None
            assert self.desk.reservations.unsent(venue) <= balance.free

    @rule(pick=st.integers(0, 9), quantity=st.integers(1, 30))
    def fill(self, pick: int, quantity: int) -> None:
        if self.open:
            name = self.open[pick % len(self.open)]
            fill = self.desk.filled(client_id=f"o-{name}", quantity=Decimal(quantity) / 10)
            self.desk.bus.publish(fill)

    @rule(pick=st.integers(0, 9))
    def release(self, pick: int) -> None:
        if self.open:
            self.desk.capital.release(self.open.pop(pick % len(self.open)), "flat")

    @rule(venue=st.sampled_from(["okx", "binance"]), equity=st.integers(100, 2000))
    def tell(self, venue: str, equity: int) -> None:
        self.desk.advance(1)
        self.desk.tell(venue, str(equity), free=str(equity // 2))

    @rule(seconds=st.integers(1, 40))
    def wait(self, seconds: int) -> None:
        self.desk.advance(seconds)
        self.open = [name for name in self.open if self.desk.reservations.get(name)]

    @invariant()
    def nothing_is_negative_and_used_fits(self) -> None:
        for found in self.desk.reservations:
            for venue, amount in found.legs.items():
                assert 0 <= found.used[venue] <= amount

    @invariant()
    def nothing_is_held_without_an_open_reservation(self) -> None:
        held = self.desk.capital.reserved_total()
        assert (held == 0) == (not list(self.desk.reservations))

    @invariant()
    def replay_gives_the_same(self) -> None:
        again = Office()
        again.state.replay(self.desk.journal.records())
        assert again.state.dump() == self.desk.state.dump()
        loaded = Office()
        loaded.state.load(self.desk.state.dump())
        assert loaded.state.dump() == self.desk.state.dump()

    def teardown(self) -> None:
        for found in list(self.desk.reservations):
            self.desk.capital.release(found.reservation_id, "flat")
        assert self.desk.capital.reserved_total() == 0


TestCapitalMachine = CapitalMachine.TestCase
TestCapitalMachine.settings = hypothesis_settings(
    max_examples=30, stateful_step_count=20, deadline=None
)
