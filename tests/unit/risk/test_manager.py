"""Hedge and reduce gates, halts, failures, overrides; the latches survive a restart."""

from __future__ import annotations

import ast
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import ValidationError

import perpbot
from perpbot.domain.errors import InvalidValue, RiskDenied, StateConflict
from perpbot.domain.events import (
    ConnectionState,
    CooldownStarted,
    DayStarted,
    HaltCleared,
    HaltLatched,
    KillSwitchCleared,
    KillSwitchEngaged,
    OrderFailed,
    OverrideGranted,
    PairPlanned,
    TradeCompleted,
)
from perpbot.domain.orders import OrderRequest
from perpbot.domain.pairs import ProfitSplit
from perpbot.domain.sides import PositionSide, Purpose, Side
from perpbot.kernel.clock import SECOND
from perpbot.kernel.fold import DurableState
from perpbot.risk.latches import RiskLatches, VenueKill
from perpbot.risk.settings import RiskSettings
from tests.unit.portfolio.office import d, planned, request, reserved
from tests.unit.risk.world import ASSET, Desk, capabilities, hedge, orders, plan, reduction

MINUTE = 60 * SECOND


def everything_off(desk: Desk) -> None:
    """Every reason not to open, all at once."""
    desk.sample("1000")
    for venue in ("", "okx", "binance"):
        desk.bus.publish(KillSwitchEngaged(level=2, actor="me", reason="r", venue=venue))
    for scope in ("all", ASSET, f"fast:{ASSET}"):
        until_ns = desk.time.now_ns() + 1_000 * SECOND
        desk.bus.publish(CooldownStarted(scope=scope, until_ns=until_ns, reason="r"))
    for venue in ("okx", "binance"):
        desk.connection(venue, "private", ConnectionState.DOWN)
    desk.market.stale |= {"okx", "binance"}
    desk.market.marks = {(venue, ASSET): None for venue in ("okx", "binance")}
    desk.overloaded = desk.low_space = True
    desk.rate = None
    desk.office.advance(500)


# --- hedge ---------------------------------------------------------------------------------------


def ready() -> Desk:
    """A desk with the reservation of the plan."""
    desk = Desk()
    desk.bus.publish(reserved("r1", okx="500", binance="500"))
    desk.office.submit(request("sent", reservation_id="r1"))
    return desk


def test_a_hedge_passes_though_everything_else_says_no() -> None:
    """Stale, paused, halted, killed, overloaded, disk full: it still shrinks the net."""
    desk = ready()
    everything_off(desk)
    with pytest.raises(RiskDenied):
        desk.check_open(plan(), orders(plan()))

    decision = desk.risk.check_hedge(hedge(), d(1), plan())

    assert decision.gate == "hedge"
    assert decision.checks["shrinks_net"].value == "1 -> 0"


@pytest.mark.parametrize(
    ("order", "imbalance", "rule"),
    [
        (hedge("0.4"), d(1), ""),
        (hedge("1"), d(1), ""),
        (hedge("1", Side.BUY), d(-1), ""),
        (hedge("1.1"), d(1), "shrinks_net"),
        (hedge("1", Side.BUY), d(1), "shrinks_net"),
        (hedge("1"), d(0), "shrinks_net"),
        (hedge("2"), d(1), "shrinks_net"),
        (hedge("1.1"), d(3), "fits_leg"),
        (hedge(venue="aster"), d(1), "reservation"),
        (hedge(purpose=Purpose.OPEN), d(1), "purpose"),
        (hedge(asset="ETH-PERP"), d(1), "purpose"),
        (hedge(price=d(200)), d(1), "price_sanity"),
        (hedge(price=d(50)), d(1), "price_sanity"),
        (hedge(price=d(199)), d(1), ""),
        (hedge(price=None), d(1), ""),
        (hedge(price=None, reference_price=d(0)), d(1), "price_sanity"),
        (hedge("NaN"), d(1), "numbers"),
        (hedge("0"), d(1), "numbers"),
        (hedge("-1"), d(1), "numbers"),
        (hedge(), d("NaN"), "numbers"),
        (hedge(price=d("NaN")), d(1), "numbers"),
        (hedge(reference_price=d("Infinity")), d(1), "numbers"),
    ],
)
def test_a_hedge_shrinks_the_net_and_fits_its_leg(
    order: OrderRequest, imbalance: Decimal, rule: str
) -> None:
    """Nothing else is asked."""
    desk = ready()
    if not rule:
        desk.risk.check_hedge(order, imbalance, plan())
        return
    with pytest.raises(RiskDenied) as refused:
        desk.risk.check_hedge(order, imbalance, plan())

    assert (refused.value.layer, refused.value.rule) == ("hedge", rule)


def test_a_hedge_without_a_reservation_is_refused() -> None:
    """It has no capital."""
    with pytest.raises(RiskDenied, match="reservation"):
        Desk().risk.check_hedge(hedge(), d(1), plan())


# --- reduce --------------------------------------------------------------------------------------


def holding(quantity: str) -> Desk:
    """A desk that holds a position on okx, which enforces nothing."""
    desk = Desk()
    desk.capabilities["okx"] = capabilities("okx", reduce_only=False, hedge_mode=False)
    side = Side.BUY if d(quantity) > 0 else Side.SELL
    if d(quantity):
        desk.bus.publish(desk.office.filled(side=side, quantity=abs(d(quantity))))
    return desk


def test_a_reduction_passes_though_everything_else_says_no() -> None:
    """By the venue's word or by proof."""
    desk = holding("2")
    everything_off(desk)

    checks = desk.risk.check_reduce(reduction("2")).checks
    assert str(checks["proven"]) == "-2 (against 2)"
    checks = desk.risk.check_reduce(reduction("9", venue="binance", reduce_only=True)).checks
    assert str(checks["enforced_by"]) == "the venue (no growth)"


@pytest.mark.parametrize(
    ("held", "at_work", "order", "passes"),
    [
        ("2", "0", reduction("2"), True),
        ("2", "0", reduction("2.1"), False),
        ("2", "0", reduction("1", Side.BUY), False),
        ("-2", "0", reduction("2", Side.BUY), True),
        ("-2", "0", reduction("1"), False),
        ("0", "0", reduction("1"), False),
        ("5", "3", reduction("2"), True),
        ("5", "3", reduction("2.1"), False),
        ("5", "7", reduction("1"), False),
        ("5", "7", reduction("1", Side.BUY), False),
        ("5", "5", reduction("1"), False),
        ("2", "0", reduction("2", reduce_only=True), True),
        ("2", "0", reduction("9", reduce_only=True), False),
        ("2", "0", reduction("9", position_side=PositionSide.LONG), False),
    ],
)
def test_what_the_venue_does_not_enforce_is_proven_by_the_position(
    held: str, at_work: str, order: OrderRequest, passes: bool
) -> None:
    """Less what other reductions at work may still take; it never turns a position round."""
    desk = holding(held)
    if d(at_work):
        desk.office.submit(
            request("w", purpose=Purpose.REDUCE, side=Side.SELL, quantity=d(at_work))
        )
    if passes:
        desk.risk.check_reduce(order)
        return
    with pytest.raises(RiskDenied, match="reduce: proven"):
        desk.risk.check_reduce(order)


@pytest.mark.parametrize(
    ("side", "position_side", "enforced"),
    [
        (Side.SELL, PositionSide.LONG, True),
        (Side.BUY, PositionSide.SHORT, True),
        (Side.BUY, PositionSide.LONG, False),
        (Side.SELL, PositionSide.SHORT, False),
        (Side.SELL, PositionSide.NET, False),
    ],
)
def test_hedge_mode_enforces_the_closing_side(
    side: Side, position_side: PositionSide, enforced: bool
) -> None:
    """A sell of LONG cannot open a short."""
    desk = Desk()
    order = reduction("1", side, position_side=position_side)
    if enforced:
        desk.risk.check_reduce(order)
        return
    with pytest.raises(RiskDenied):
        desk.risk.check_reduce(order)


@pytest.mark.parametrize(
    ("order", "rule"),
    [
        (reduction(purpose=Purpose.OPEN, reduce_only=True), "purpose"),
        (reduction(venue="aster", reduce_only=True), "proven"),
        (reduction("NaN", reduce_only=True), "numbers"),
        (reduction("0", reduce_only=True), "numbers"),
        (reduction(price=d("NaN"), reduce_only=True), "numbers"),
    ],
    ids=["open", "unknown_venue", "nan", "zero", "nan_price"],
)
def test_a_reduction_that_is_none_is_refused(order: OrderRequest, rule: str) -> None:
    """The flag alone is no pass."""
    with pytest.raises(RiskDenied, match=f"reduce: {rule}"):
        Desk().risk.check_reduce(order)


# --- halts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("equity", "rules"),
    [
        ("19500.01", []),
        ("19500", ["daily_loss"]),
        ("18000.01", ["daily_loss"]),
        ("18000", ["drawdown", "daily_loss"]),
    ],
    ids=["below", "at_daily", "below_drawdown", "at_drawdown"],
)
def test_losses_latch_a_halt_once(equity: str, rules: list[str]) -> None:
    """With measure and limit; further samples add nothing."""
    desk = Desk()
    desk.sample(equity)
    desk.sample(equity)

    assert [event.rule for event in desk.office.seen(HaltLatched)] == rules
    assert list(desk.latches.halts) == rules


def test_the_texts_of_a_halt_have_units() -> None:
    """USD, and shares of the peak."""
    desk = Desk()
    desk.sample("17000")
    drawdown, daily = desk.office.seen(HaltLatched)

    assert (drawdown.value, drawdown.limit) == ("0.150000 of the peak", "0.1 of the peak")
    assert (daily.value, daily.limit) == ("3000 USD", "500 USD")


def test_the_daily_loss_ends_with_the_day_and_drawdown_does_not() -> None:
    """The calendar clears the one, a person the other."""
    desk = Desk()
    desk.sample("18000")
    desk.bus.publish(DayStarted(day="2023-11-15", equity_usd=d(18_000)))
    desk.sample("18000")
    assert list(desk.latches.halts) == ["drawdown"]
    [cleared] = desk.office.seen(HaltCleared)
    assert (cleared.rule, cleared.actor) == ("daily_loss", "calendar")

    desk.risk.clear_halt("drawdown", actor="ann", reason="looked at it")
    desk.sample("18000")

    assert desk.latches.halts == {}
    assert desk.office.equity.drawdown() == 0


def test_a_person_may_clear_the_daily_loss_within_the_day() -> None:
    """It is measured from there on, and latches again after as much again."""
    desk = Desk()
    desk.sample("19500")
    desk.risk.clear_halt("daily_loss", actor="ann", reason="r")
    desk.sample("19001")
    assert desk.latches.halts == {}
    desk.sample("19000")

    assert "daily_loss" in desk.latches.halts


def test_a_day_without_a_start_latches_nothing() -> None:
    """No limit to compare with; the open gate refuses all the same."""
    desk = Desk()
    desk.office.equity.day_start = d(0)
    desk.sample("19900")

    assert desk.latches.halts == {}


@pytest.mark.parametrize("actor", ["", "  "])
def test_only_a_person_with_a_name_clears_or_overrides(actor: str) -> None:
    """Both are audited."""
    desk = Desk()
    desk.sample("18000")
    with pytest.raises(InvalidValue, match="actor was empty"):
        desk.risk.clear_halt("drawdown", actor=actor, reason="r")
    with pytest.raises(InvalidValue, match="actor was empty"):
        desk.risk.grant_override(actor=actor, minutes=1, trades=1, reason="r")


def test_what_is_not_latched_cannot_be_cleared() -> None:
    """The message says what is."""
    desk = Desk()
    with pytest.raises(InvalidValue, match="'drawdown', one of these was expected: none"):
        desk.risk.clear_halt("drawdown", actor="ann", reason="r")


# --- failures ------------------------------------------------------------------------------------


def fail(desk: Desk, number: int, *, purpose: Purpose = Purpose.OPEN, owner: str = "") -> None:
    """One order is refused by its venue."""
    name = f"f{number}"
    desk.office.submit(request(name, purpose=purpose, owner=owner or f"pair{number}"))
    desk.bus.publish(OrderFailed(ts_ns=desk.time.now_ns(), client_id=name, reason="no"))


def complete(desk: Desk, exit_reason: str, *, opened: bool = True, pair_id: str = "p") -> None:
    """A pair ends."""
    desk.bus.publish(
        TradeCompleted(
            pair_id=pair_id,
            strategy="arbitrage",
            asset=ASSET,
            long_venue="okx",
            short_venue="binance",
            quantity=d(1),
            pnl=ProfitSplit(),
            opened=opened,
            hold_ns=0,
            worst_unhedged_ns=0,
            exit_reason=exit_reason,
        )
    )


def pauses(desk: Desk) -> list[int]:
    """Return the lengths of the global pauses, seconds."""
    return [
        (event.until_ns - event.ts_ns) // SECOND
        for event in desk.office.seen(CooldownStarted)
        if event.scope == "all"
    ]


def test_a_failure_cools_its_symbol_down_for_a_minute() -> None:
    """And no other."""
    desk = Desk()
    fail(desk, 1)

    assert desk.latches.cooling_until_ns(ASSET) == desk.time.now_ns() + MINUTE
    assert desk.latches.cooling_until_ns("ETH-PERP") == 0
    assert (desk.latches.failures, pauses(desk)) == (1, [])


def test_three_in_a_row_pause_everything_and_pauses_double_until_a_person_is_needed() -> None:
    """60, 120, 240, 480 s; then a halt, which a person clears."""
    desk = Desk()
    for number in range(15):
        fail(desk, number)

    assert pauses(desk) == [60, 120, 240, 480]
    assert [event.rule for event in desk.office.seen(HaltLatched)] == ["failures"]
    desk.risk.clear_halt("failures", actor="ann", reason="fixed the key")
    assert (desk.latches.failures, desk.latches.pauses) == (0, 0)
    for number in range(20, 23):
        fail(desk, number)
    assert pauses(desk)[4:] == [60]


def test_a_success_starts_the_count_anew() -> None:
    """Failures and pauses; a pair that was taken back is none."""
    desk = Desk()
    for number in range(5):
        fail(desk, number)
    assert (desk.latches.failures, desk.latches.pauses) == (2, 1)
    complete(desk, "convergence", opened=False)
    assert desk.latches.failures == 2
    complete(desk, "convergence")

    assert (desk.latches.failures, desk.latches.pauses) == (0, 0)


@pytest.mark.parametrize("exit_reason", ["unwound", "not_completed"])
def test_a_pair_that_had_to_be_taken_back_is_a_failure(exit_reason: str) -> None:
    """Though both legs had a fill."""
    desk = Desk()
    complete(desk, exit_reason)

    assert desk.latches.failures == 1
    assert desk.latches.cooling_until_ns(ASSET) > desk.time.now_ns()


def test_one_pair_counts_once_however_much_of_it_failed() -> None:
    """Both legs refused, then unwound: one failure."""
    desk = Desk()
    fail(desk, 1, owner="p1")
    fail(desk, 2, owner="p1", purpose=Purpose.HEDGE)
    complete(desk, "unwound", pair_id="p1")

    assert desk.latches.failures == 1


def test_a_refused_reduction_is_no_failure_of_trading() -> None:
    """Nor is an order that is not ours."""
    desk = Desk()
    fail(desk, 1, purpose=Purpose.REDUCE)
    desk.bus.publish(OrderFailed(client_id="not-ours", reason="r"))

    assert desk.latches.failures == 0
    assert desk.office.seen(CooldownStarted) == []


def test_failures_of_one_moment_pause_once() -> None:
    """Four at once are not two pauses."""
    desk = Desk()
    desk.office.inside(*(lambda n=number: fail(desk, n) for number in range(4)))

    assert pauses(desk) == [60]


@pytest.mark.parametrize(("moved_bps", "freezes"), [(49.9, 0), (50.0, 1), (80.0, 1)])
def test_a_fast_move_freezes_its_asset_for_five_seconds(moved_bps: float, freezes: int) -> None:
    """Once, however often it is told while it lasts."""
    desk = Desk()
    desk.risk.freeze_fast_market(ASSET, moved_bps)
    desk.risk.freeze_fast_market(ASSET, moved_bps)

    told = desk.office.seen(CooldownStarted)
    assert [event.scope for event in told] == [f"fast:{ASSET}"] * freezes
    if freezes:
        assert told[0].until_ns - told[0].ts_ns == 5 * SECOND
        assert desk.latches.failures == 0


# --- overrides -----------------------------------------------------------------------------------


def test_an_override_is_cut_to_what_the_settings_allow() -> None:
    """An hour and ten trades."""
    desk = Desk()
    desk.risk.grant_override(actor="ann", minutes=600, trades=600, reason="r")

    [granted] = desk.office.seen(OverrideGranted)
    assert granted.until_ns - granted.ts_ns == 60 * MINUTE
    assert granted.trades == 10


@pytest.mark.parametrize(("minutes", "trades"), [(0, 1), (1, 0), (-1, 1)])
def test_an_override_of_nothing_is_refused(minutes: int, trades: int) -> None:
    """A slip of the keyboard."""
    with pytest.raises(InvalidValue, match="1 or more expected"):
        Desk().risk.grant_override(actor="ann", minutes=minutes, trades=trades, reason="r")


def test_an_override_ends_by_time_and_by_trades() -> None:
    """Each planned pair takes one."""
    desk = Desk()
    desk.risk.grant_override(actor="ann", minutes=1, trades=2, reason="r")
    now_ns = desk.time.now_ns()
    assert desk.latches.overridden(now_ns)
    assert not desk.latches.overridden(now_ns + MINUTE)
    for _ in range(3):
        desk.latches.folds()[PairPlanned](planned(plan(), ts_ns=now_ns))

    assert not desk.latches.overridden(now_ns)
    assert not Desk().latches.overridden(0)


# --- the kill switch and restarts ----------------------------------------------------------------


def test_the_kill_switch_only_climbs_until_a_person_clears_it() -> None:
    """A lower level does not replace a higher one."""
    desk = Desk()
    for level in (1, 4, 2):
        desk.bus.publish(KillSwitchEngaged(level=level, actor="me", reason=f"k{level}"))
    assert (desk.latches.kill_level, desk.latches.kill_reason) == (4, "k4")
    desk.bus.publish(KillSwitchCleared(actor="me", reason="r"))

    assert (desk.latches.kill_level, desk.latches.kill_reason) == (0, "")


def test_the_switch_of_a_venue_climbs_by_itself() -> None:
    """Each has its own level; clearing one leaves the others, clearing all leaves none."""
    desk = Desk()
    for level, venue in ((1, ""), (3, "okx"), (2, "okx"), (4, "binance"), (3, "okx")):
        reason = f"k{level}"
        event = KillSwitchEngaged(level=level, actor="me", reason=reason, venue=venue)
        desk.bus.publish(event)
    kills = {"okx": VenueKill(3, "k3"), "binance": VenueKill(4, "k4")}
    assert (desk.latches.kill_level, desk.latches.venue_kills) == (1, kills)
    for _ in range(2):
        desk.bus.publish(KillSwitchCleared(actor="me", reason="r", venue="okx"))
        assert list(desk.latches.venue_kills) == ["binance"]
        assert desk.latches.kill_level == 1
    desk.bus.publish(KillSwitchCleared(actor="me", reason="r"))
    assert (desk.latches.kill_level, desk.latches.venue_kills) == (0, {})


def test_a_snapshot_of_before_there_were_venues_is_refused() -> None:
    """Then everything is folded from the journal, as for any other version."""
    latches = RiskLatches()
    state = latches.snapshot()
    assert isinstance(state, dict)
    del state["venue_kills"]
    dumped = msgspec.msgpack.encode({latches.name: state})
    with pytest.raises(StateConflict, match="risk are of another version"):
        DurableState([latches]).load(dumped)


def test_a_restart_forgets_nothing_that_is_off() -> None:
    """Replayed from the journal, and from a snapshot: the same bytes."""
    desk = Desk()
    desk.sample("18000")
    fail(desk, 1)
    desk.risk.grant_override(actor="ann", minutes=5, trades=2, reason="r")
    desk.bus.publish(KillSwitchEngaged(level=2, actor="me", reason="r"))
    desk.bus.publish(KillSwitchEngaged(level=4, actor="me", reason="r", venue="okx"))
    replayed, loaded = RiskLatches(), RiskLatches()
    DurableState([replayed]).replay(desk.office.journal.records())
    dumped = DurableState([desk.latches]).dump()
    DurableState([loaded]).load(dumped)

    assert DurableState([replayed]).dump() == DurableState([loaded]).dump() == dumped
    assert set(replayed.halts) == {"drawdown", "daily_loss"}
    assert (replayed.kill_level, replayed.failures) == (2, 1)
    assert replayed.override == desk.latches.override
    assert replayed.venue_kills == loaded.venue_kills == {"okx": VenueKill(4, "r")}


# --- settings and structure ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        {"max_trade_ratio": d("0.4")},
        {"max_daily_loss_ratio": d("0.2")},
    ],
    ids=["trade", "day"],
)
def test_limits_that_contradict_each_other_are_refused(values: dict[str, Any]) -> None:
    """The wider one would never be reached."""
    with pytest.raises(ValidationError, match="at most"):
        RiskSettings(**values)


def _calls(name: str) -> set[str]:
    """Return the modules of the package that call `name`."""
    root = Path(perpbot.__file__).parent
    found = set()
    for path in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = node.func
                if getattr(called, "id", getattr(called, "attr", "")) == name:
                    found.add(path.relative_to(root).as_posix())
    return found


def test_nothing_is_submitted_without_the_decision_of_a_gate() -> None:
    """Only the risk manager decides, only the two makers of orders submit what it decided."""
    assert _calls("GateDecision") == {"risk/manager.py"}
    assert _calls("PairPlanned") == {"execution/engine.py"}
    assert _calls("SubmitOrders") == {"execution/leg_orders.py"}


def test_what_is_cooling_down_is_told_with_its_end() -> None:
    """Only what has not ended."""
    desk = Desk()
    now_ns = desk.time.now_ns()
    for scope, seconds in (("all", 5), ("BTC-PERP", 0)):
        until_ns = now_ns + seconds * SECOND
        desk.bus.publish(CooldownStarted(scope=scope, until_ns=until_ns, reason="r"))

    assert desk.latches.cooling(now_ns) == {"all": now_ns + 5 * SECOND}
