"""Every rule of the open gate: at, below, above its limit, and without a measurement."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpbot.domain.errors import RiskDenied
from perpbot.domain.events import (
    ConnectionState,
    CooldownStarted,
    DayStarted,
    HaltLatched,
    KillSwitchEngaged,
    OverrideGranted,
    SafeModeChanged,
)
from perpbot.domain.sides import Purpose, Side
from perpbot.kernel.clock import SECOND
from perpbot.risk.manager import STANDS_NS
from perpbot.risk.rules import OPEN_RULES, instruments_tradable
from perpbot.risk.settings import RiskSettings
from tests.unit.portfolio.office import d, request, reserved
from tests.unit.risk.world import ASSET, VENUES, Desk, capabilities, changed, orders, plan


def ask(desk: Desk, quantity: str = "1", **of: Any) -> str:
    """Ask the open gate; return the refusing rule, or ""."""
    wanted = plan(quantity, **of)
    try:
        decision = desk.check_open(wanted, orders(wanted))
    except RiskDenied as denied:
        return f"{denied.layer}.{denied.rule}" if denied.value and denied.limit else "no numbers"
    assert len(decision.checks) == len(OPEN_RULES)
    assert decision.gate == "open"
    assert decision.ts_ns == desk.time.now_ns()
    return ""


def test_a_pair_within_every_limit_passes_with_every_number() -> None:
    """The decision carries what was measured."""
    desk = Desk()
    wanted = plan()
    decision = desk.check_open(wanted, orders(wanted))

    assert str(decision.checks["account.trade_risk"]) == "0.005 of equity (< 0.05 of equity)"
    assert str(decision.checks["capital.pool_funds"]) == "fits (free margin of pool and venues)"
    assert list(decision.checks) == [f"{rule.layer}.{rule.name}" for rule in OPEN_RULES]


def test_the_layers_are_asked_in_order() -> None:
    """Capital, account, position, execution."""
    layers = list(dict.fromkeys(rule.layer for rule in OPEN_RULES))

    assert layers == ["capital", "account", "position", "execution"]
    desk = Desk()
    desk.bus.publish(KillSwitchEngaged(level=1, actor="me", reason="r"))
    assert ask(desk) == "account.kill_switch"
    desk.office.advance(100)
    assert ask(desk) == "capital.pool_funds"


def test_the_decision_names_what_is_killed() -> None:
    """Level and venue, each that has one; the node's own comes before."""
    desk = Desk()
    for level, venue in ((2, "binance"), (4, "okx"), (1, "aster")):
        desk.bus.publish(KillSwitchEngaged(level=level, actor="a", reason="r", venue=venue))
    wanted = plan()
    with pytest.raises(RiskDenied) as denied:
        desk.check_open(wanted, orders(wanted))
    assert sorted(denied.value.value.split("; ")) == ["K2 on binance", "K4 on okx"]
    desk.bus.publish(KillSwitchEngaged(level=3, actor="a", reason="r"))
    with pytest.raises(RiskDenied) as denied:
        desk.check_open(wanted, orders(wanted))
    assert denied.value.value == "K3"


def asked(desk: Desk) -> int:
    """Ask the gate about a pair; return how many of the standing rules were asked for it."""
    before = desk.standing_asked
    assert ask(desk) == ""
    return desk.standing_asked - before


def test_what_stands_is_not_asked_again_while_nothing_has_changed() -> None:
    """For a quarter of a second; each direction and each pool by itself."""
    desk = Desk()
    assert [asked(desk), asked(desk)] == [1, 0]
    desk.time.run_until(desk.time.now_ns() + STANDS_NS)
    assert asked(desk) == 0
    desk.time.run_until(desk.time.now_ns() + 1)
    assert asked(desk) == 1
    other = plan(long_venue="binance", short_venue="okx")
    before = desk.standing_asked
    desk.check_open(other, orders(other))
    assert desk.standing_asked == before + 1


@pytest.mark.parametrize(
    "change",
    [
        lambda desk: desk.refresh_equity(),
        lambda desk: desk.office.tell("okx", "10000"),
        lambda desk: desk.connection("okx", "public", ConnectionState.LIVE),
    ],
    ids=["durable", "balance", "connection"],
)
def test_what_stands_is_asked_again_after_any_change(change: Setup) -> None:
    """Whatever it was: it may concern any of them."""
    desk = Desk()
    assert asked(desk) == 1
    change(desk)
    assert asked(desk) == 1


def test_a_standing_pass_hides_no_refusal_of_the_moment() -> None:
    """What looks at the order and the quotes is asked each time, in its turn."""
    desk = Desk()
    assert ask(desk) == ""
    desk.market.stale.add("okx")
    assert ask(desk) == "execution.quotes_usable"
    assert ask(desk, "11") == "account.trade_risk"


@pytest.mark.parametrize(
    ("limits", "refused"),
    [
        ({"max_trade_ratio": d("0.001")}, "account.trade_risk"),
        ({"max_position_notional_usd": d(50)}, "position.position_size"),
        ({"price_band_bps": 0.01}, ""),
    ],
    ids=["trade", "position", "met"],
)
def test_the_stricter_venue_decides(limits: dict[str, Any], refused: str) -> None:
    """What one venue of a pair limits holds for the pair; other assets are not concerned."""
    for asset, expected in (("ETH-PERP", ""), (ASSET, refused)):
        desk = Desk()
        desk.overrides[(VENUES[1], asset)] = RiskSettings(**limits)

        assert ask(desk) == expected


# rule -> (limits, size at the limit, passes at the limit)
SIZES: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "trade_risk": (
        {},
        [("9.999", ""), ("10", "account.trade_risk"), ("11", "account.trade_risk")],
    ),
    "position_size": (
        {"max_position_notional_usd": d(500)},
        [("4.999", ""), ("5", ""), ("5.001", "position.position_size")],
    ),
}


@pytest.mark.parametrize("rule", list(SIZES))
def test_sizes_at_below_and_above(rule: str) -> None:
    """Notional over equity must stay below 5 %; a position may reach its limit."""
    limits, cases = SIZES[rule]
    for quantity, refused in cases:
        assert ask(Desk(**limits), quantity) == refused


Setup = Callable[[Desk], object]


def hurt(total: str) -> Setup:
    """Equity falls to `total`."""
    return lambda desk: desk.sample(total)


def cool(scope: str, seconds: float) -> Setup:
    """A cooldown of `scope`."""

    def begin(desk: Desk) -> None:
        until_ns = desk.time.now_ns() + int(seconds * SECOND)
        desk.bus.publish(CooldownStarted(scope=scope, until_ns=until_ns, reason="r"))

    return begin


def mark(value: str | None, venue: str = "okx") -> Setup:
    """The mark of a venue."""

    def tell(desk: Desk) -> None:
        desk.market.marks[venue, ASSET] = None if value is None else Decimal(value)

    return tell


def attribute(name: str, value: object) -> Setup:
    """Set something of the desk."""
    return lambda desk: setattr(desk, name, value)


def hold(quantity: str, **changes: Any) -> Setup:
    """Hold a position."""
    return lambda desk: desk.bus.publish(desk.office.filled(quantity=d(quantity), **changes))


def unowned(quantity: str) -> Setup:
    """Hold as much on each leg, so that nothing is concentrated."""

    def take(desk: Desk) -> None:
        for venue in VENUES:
            hold(quantity, venue=venue)(desk)

    return take


def dust_by_notional(desk: Desk) -> None:
    """Hold a little that its venue does not trade by itself."""
    okx = desk.instruments["okx", ASSET]
    desk.instruments["okx", ASSET] = changed(okx, min_notional=d(5))
    hold("0.04", venue="okx")(desk)


def unlist(desk: Desk) -> None:
    """Take the instrument away."""
    del desk.instruments["okx", ASSET]


def suspend(desk: Desk) -> None:
    """Close it for trading."""
    desk.instruments["okx", ASSET] = changed(desk.instruments["okx", ASSET], tradable=False)


def rest(**changes: Any) -> Setup:
    """An order of ours is at work."""
    return lambda desk: desk.office.submit(request("w", **changes))


def same_operator(desk: Desk) -> None:
    """Both venues belong to one company."""
    desk.capabilities["okx"] = capabilities("okx", operator="binance ltd")


def forget_operator(desk: Desk) -> None:
    """A venue of which nothing is known."""
    del desk.capabilities["okx"]


def safe(desk: Desk) -> None:
    """A venue enters safe mode."""
    desk.bus.publish(SafeModeChanged(venue="okx", active=True, drawdown=d("0.05")))


def tight_margin(free: str) -> Setup:
    """The venue's margin in use."""

    def tell(desk: Desk) -> None:
        desk.office.advance(1)
        desk.office.tell("okx", "10000", free=free)
        desk.refresh_equity()

    return tell


def kill_venue(venue: str) -> Setup:
    """The kill switch of one venue."""
    event = KillSwitchEngaged(level=1, actor="a", reason="r", venue=venue)
    return lambda desk: desk.bus.publish(event)


CASES: list[tuple[str, Setup, str]] = [
    ("drawdown at", hurt("18000"), "account.halt"),
    ("daily loss below", hurt("19500.01"), ""),
    ("daily loss at", hurt("19500"), "account.halt"),
    ("no equity", hurt("0"), "account.halt"),
    ("halt", lambda k: k.bus.publish(HaltLatched(rule="x", value="1", limit="0")), "account.halt"),
    (
        "kill switch",
        lambda k: k.bus.publish(KillSwitchEngaged(level=1, actor="a", reason="r")),
        "account.kill_switch",
    ),
    ("kill switch of the long venue", kill_venue("okx"), "account.kill_switch"),
    ("kill switch of the short venue", kill_venue("binance"), "account.kill_switch"),
    ("kill switch of another venue", kill_venue("aster"), ""),
    ("pause", cool("all", 1), "account.failure_pause"),
    ("pause over", cool("all", 0), ""),
    ("fast market", cool(f"fast:{ASSET}", 1), "account.fast_market"),
    ("fast market over", cool(f"fast:{ASSET}", 0), ""),
    ("fast market elsewhere", cool("fast:ETH-PERP", 1), ""),
    ("cooldown", cool(ASSET, 1), "position.symbol_cooldown"),
    ("cooldown over", cool(ASSET, 0), ""),
    ("safe mode", safe, "capital.safe_mode"),
    ("symbol exposure below", hold("59"), "position.position_size"),
    ("symbol exposure at", hold("60"), "account.symbol_exposure"),
    ("position with orders at work", rest(quantity=d(10)), "position.position_size"),
    ("reductions at work do not count", rest(quantity=d(10), purpose=Purpose.REDUCE), ""),
    ("concentration", hold("3", venue="okx"), "position.venue_concentration"),
    ("concentration elsewhere", hold("2", venue="aster", asset="ETH-PERP"), ""),
    ("an unowned position on a leg", unowned("1"), "position.legs_clear"),
    ("dust on a leg", hold("0.0009", venue="okx"), ""),
    ("dust by its notional", dust_by_notional, ""),
    ("margin below", tight_margin("5001"), ""),
    ("margin at", tight_margin("5000"), "position.margin_ratio"),
    (
        "not connected",
        lambda k: k.connection("okx", "public", ConnectionState.STALE),
        "execution.venues_ready",
    ),
    ("stale quote", lambda k: k.market.stale.add("binance"), "execution.quotes_usable"),
    ("suspended", suspend, "execution.instruments_tradable"),
    ("unlisted", unlist, "position.position_size"),
    ("no rate", attribute("rate", None), "position.position_size"),
    ("one operator", same_operator, "execution.different_operators"),
    ("unknown operator", forget_operator, "execution.different_operators"),
    ("own opposite order", rest(side=Side.SELL, quantity=d(1)), "execution.no_own_opposite"),
    ("own order of the same side", rest(side=Side.BUY, quantity=d(1)), ""),
    ("price ten times off", mark("10"), "execution.price_sanity"),
    ("price a tenth", mark("1000"), "execution.price_sanity"),
    ("price beyond the band", mark("94"), "execution.price_band"),
    ("price at the band", mark("80", "aster"), ""),
    ("no mark", mark(None), "execution.price_sanity"),
    ("mark is not a number", mark("NaN"), "execution.price_sanity"),
    ("mark is zero", mark("0"), "execution.price_sanity"),
    ("overloaded", attribute("overloaded", True), "execution.back_pressure"),
    ("disk full", attribute("low_space", True), "execution.journal_space"),
]


@pytest.mark.parametrize(
    ("setup", "refused"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_each_rule_refuses_in_its_turn(setup: Setup, refused: str) -> None:
    """And nothing else does."""
    assert ask(Desk()) == ""
    desk = Desk()

    setup(desk)

    assert ask(desk) == refused


def test_safe_mode_closes_the_arbitrage_pool_only() -> None:
    """Other pools go on."""
    desk = Desk(
        {"volume_enabled": True},
    )
    desk.pool = "volume"
    safe(desk)

    assert ask(desk) == ""


def test_a_settle_currency_without_a_rate_is_not_tradable() -> None:
    """Paper, testnet and live refuse the pair."""
    desk = Desk()
    desk.rate = None
    measure = instruments_tradable(desk.world, desk.request(plan()))

    assert (measure.passed, measure.value) == (False, "no USD rate for USDT; no USD rate for USDT")


def test_equity_that_was_never_or_long_ago_sampled_opens_nothing() -> None:
    """Limit: the oldest balance and one interval more."""
    desk = Desk()
    for seconds, refused in ((10.0, ""), (10.0, ""), (0.1, "account.equity_fresh")):
        desk.office.advance(seconds)
        for venue in ("okx", "binance"):
            desk.office.tell(venue, "10000")
        assert ask(desk) == refused

    never = Desk()
    never.office.equity.sampled_ns = 0
    never.office.equity.total = None
    assert ask(never) == "account.equity_fresh"


@pytest.mark.parametrize("field", ["total", "day_start"])
def test_unknown_equity_is_no_equity(field: str) -> None:
    """None fails closed in every rule that needs it."""
    desk = Desk()
    setattr(desk.office.equity, field, None)

    assert ask(desk) in {"account.trade_risk", "account.daily_loss"}


def test_drawdown_and_daily_loss_refuse_without_a_latch_too() -> None:
    """Also before the manager has latched anything."""
    desk = Desk()
    desk.sample("19500")
    desk.latches.halts.clear()
    assert ask(desk) == "account.daily_loss"
    desk.bus.publish(DayStarted(day="2023-11-15", equity_usd=d(18_000)))
    desk.sample("18000")
    desk.latches.halts.clear()
    assert ask(desk) == "account.drawdown"


def test_a_breached_pool_opens_nothing() -> None:
    """After a loss, until positions shrink."""
    desk = Desk({"volume_enabled": True, "reserve_enabled": False})
    desk.bus.publish(reserved("r9", okx="2500", binance="2500"))

    assert ask(desk) == "capital.pool_funds"
    assert desk.office.capital.breach() == "arbitrage"
    desk.pool = "volume"
    assert ask(desk) == "capital.pool_breach"


@pytest.mark.parametrize(
    ("price", "reference", "refused"),
    [
        ("100.1", "100", ""),
        ("100.11", "100", "execution.slippage"),
        (None, "100", "execution.slippage"),
        ("100", "0", "execution.slippage"),
        ("NaN", "100", "execution.slippage"),
        ("100", "NaN", "execution.slippage"),
    ],
    ids=["at", "above", "market", "no_reference", "nan_price", "nan_reference"],
)
def test_slippage_is_bounded_and_measured(price: str | None, reference: str, refused: str) -> None:
    """10 bps from the touch; a buy that pays more, a sell that takes less."""
    desk, wanted = Desk(), plan()
    made = orders(wanted, price, reference)
    sell = changed(made[1], price=d(100), reference_price=d(100))
    try:
        desk.check_open(wanted, (made[0], sell))
        got = ""
    except RiskDenied as denied:
        got = f"{denied.layer}.{denied.rule}"

    assert got == refused


def test_an_order_without_a_positive_price_is_an_error() -> None:
    """A limit of zero."""
    desk, wanted = Desk(max_slippage_bps=1000), plan()
    made = orders(wanted)
    zero = changed(made[1], price=d(-1), reference_price=d(100))

    with pytest.raises(RiskDenied, match="price of BTC-PERP on binance was -1"):
        desk.check_open(wanted, (made[0], changed(zero, side=Side.BUY)))


@pytest.mark.parametrize(
    "of",
    [
        {"quantity": d("NaN")},
        {"long_price": d("NaN")},
        {"notional_usd": d("NaN")},
        {"quantity": d("Infinity")},
        {"quantity": d(0)},
        {"notional_usd": d(0), "quantity": d(0)},
    ],
    ids=["quantity", "price", "notional", "infinite", "zero", "nothing"],
)
def test_numbers_that_are_none_are_refused(of: dict[str, Any]) -> None:
    """Never an exception out of the gate, never a pass."""
    desk, good = Desk(), plan()
    with pytest.raises(RiskDenied):
        desk.check_open(plan(**of), orders(good))


def test_a_rule_that_raises_refuses_with_the_reason() -> None:
    """An exception is a refusal."""
    desk = Desk()

    def fail(venue: str, asset: str) -> bool:
        raise RuntimeError("no quotes")

    desk.market.usable = fail  # type: ignore[method-assign]
    with pytest.raises(RiskDenied, match=r"not measurable \(RuntimeError: no quotes\)"):
        desk.check_open(plan(), orders(plan()))


def test_an_override_lifts_pauses_and_cooldowns_and_nothing_else() -> None:
    """Never drawdown, daily loss, halts, the freeze or the kill switch."""

    def override(desk: Desk) -> None:
        until_ns = desk.time.now_ns() + 60 * SECOND
        desk.bus.publish(OverrideGranted(actor="me", until_ns=until_ns, trades=1, reason="r"))

    for scope in ("all", ASSET):
        desk = Desk()
        cool(scope, 30)(desk)
        override(desk)
        assert ask(desk) == ""
    others: list[Setup] = [
        hurt("18000"),
        hurt("19500"),
        cool(f"fast:{ASSET}", 30),
        lambda k: k.bus.publish(KillSwitchEngaged(level=1, actor="a", reason="r")),
    ]
    for setup in others:
        desk = Desk()
        setup(desk)
        refused = ask(desk)
        override(desk)
        assert ask(desk) == refused != ""


LIMITS = {
    "max_trade_ratio": st.decimals("0.001", "0.05", places=3),
    "max_drawdown_ratio": st.decimals("0.05", "0.5", places=2),
    "max_daily_loss_usd": st.decimals("1", "2000", places=0),
    "max_daily_loss_ratio": st.decimals("0.005", "0.05", places=3),
    "max_symbol_exposure_ratio": st.decimals("0.05", "0.5", places=2),
    "max_position_notional_usd": st.decimals("10", "2000", places=0),
    "max_venue_share_ratio": st.decimals("0.51", "1", places=2),
    "max_slippage_bps": st.floats(0, 20),
    "price_sanity_factor": st.floats(1.01, 20),
    "price_band_bps": st.floats(1, 1000),
}


@settings(max_examples=60, deadline=None)
@given(
    base=st.fixed_dictionaries(LIMITS),
    name=st.sampled_from(sorted(LIMITS)),
    share=st.floats(0.1, 1.0),
    quantity=st.integers(1, 12),
    held=st.integers(-5, 5),
    equity=st.integers(18_500, 20_500),
    price=st.decimals("98", "102", places=2),
)
def test_lowering_a_limit_never_permits_what_was_denied(
    base: dict[str, Any],
    name: str,
    share: float,
    quantity: int,
    held: int,
    equity: int,
    price: Decimal,
) -> None:
    """Monotonic safety, for every limit and any state of the account."""
    lower = dict(base)
    value = type(base[name])(float(base[name]) * share)
    floor = {"max_venue_share_ratio": Decimal("0.505"), "price_sanity_factor": 1.001}
    lower[name] = max(value, floor[name]) if name in floor else value
    if name in floor and lower[name] > base[name]:
        return

    def permitted(limits: dict[str, Any]) -> bool:
        desk = Desk()
        world = desk.world
        desk.risk._world = changed(
            world, settings=RiskSettings.model_construct(**(_defaults() | limits))
        )
        if held:
            side = Side.BUY if held > 0 else Side.SELL
            desk.bus.publish(desk.office.filled(quantity=d(abs(held)), side=side))
        desk.sample(str(equity))
        wanted = plan(str(quantity))
        try:
            desk.check_open(wanted, orders(wanted, str(price)))
        except RiskDenied:
            return False
        return True

    if not permitted(base):
        assert not permitted(lower)


def _defaults() -> dict[str, Any]:
    return dict(RiskSettings())
