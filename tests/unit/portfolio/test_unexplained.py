"""Money that nothing explains: when it counts, when it shuts, and that a transfer is no loss."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpbot.domain.events import AccountReported, AlertFired, FundingPaid, Transfer
from perpbot.domain.sides import Side
from perpbot.portfolio.sampler import EquitySampler
from perpbot.portfolio.settings import CapitalSettings
from perpbot.portfolio.unexplained import UnexplainedMoney
from tests.unit.portfolio.office import Office, d

WAIT_S = 20
TICK_S = 5


class Vault:
    """One venue with an account of 1000: what it holds, what it tells, what our books say."""

    def __init__(self, before: Vault | None = None) -> None:
        self.office = office = Office()
        if before is not None:
            office.state.replay(before.office.journal.records())
        self.asked = 0
        chosen = CapitalSettings(unexplained_wait_s=WAIT_S)
        self.money = UnexplainedMoney(
            office.bus,
            office.time,
            chosen,
            office.equity,
            office.snapshots,
            self.profit,
            self._ask,
        )
        self.sampler = EquitySampler(
            office.bus, office.time, chosen, office.equity, office.snapshots, self.money
        )
        self.mark: Decimal | None = d(100)
        self.holds = d(1000)
        self.references = 0

    def _ask(self, venue: str) -> None:
        assert venue == "okx"
        self.asked += 1

    def profit(self, _venue: str) -> Decimal | None:
        """Return what our books have won, or None without a mark."""
        if self.mark is None:
            return None
        return self.office.positions.profit({("okx", "BTC-PERP"): self.mark}).net

    def tell(self) -> None:
        """The venue tells what it holds."""
        self.office.tell("okx", str(self.holds))

    def wait(self, seconds: int = TICK_S) -> Decimal | None:
        """Let time pass, then sample; return the equity."""
        self.office.advance(seconds)
        self.sampler.sample()
        return self.office.equity.total

    def learn(self, usd: Decimal | int) -> None:
        """A transfer becomes known."""
        self.references += 1
        office = self.office
        office.bus.publish(
            Transfer(
                ts_ns=office.time.now_ns(),
                venue="okx",
                account="main",
                amount_usd=Decimal(usd),
                reference=str(self.references),
            )
        )

    def pay(self, usd: Decimal) -> None:
        """A funding payment becomes known."""
        self.references += 1
        self.office.bus.publish(
            FundingPaid(
                venue="okx",
                account="main",
                asset="BTC-PERP",
                payment_id=str(self.references),
                amount_usd=usd,
            )
        )

    def round_trip(self, usd: Decimal) -> None:
        """A coin bought at 100 and sold for so much more becomes known, with a fee of 1."""
        for side, price, fee in ((Side.BUY, d(100), d(1)), (Side.SELL, 101 + usd, d(0))):
            self.office.bus.publish(
                self.office.filled(side=side, price=price, fee_usd=fee, owner="")
            )

    @property
    def drawdown(self) -> Decimal:
        return self.office.equity.drawdown()

    @property
    def alerts(self) -> list[str]:
        return [event.name for event in self.office.seen(AlertFired)]


def opened() -> Vault:
    """Return a vault whose books have begun."""
    vault = Vault()
    vault.tell()
    vault.wait()
    vault.tell()
    return vault


@pytest.mark.parametrize("usd", [-400, 400], ids=["withdrawal", "deposit"])
@pytest.mark.parametrize("balance_first", [True, False])
def test_a_transfer_is_no_loss_and_hides_none(usd: int, *, balance_first: bool) -> None:
    """Whichever of the balance and the history comes first."""
    vault = opened()
    steps: list[Callable[[], None]] = [vault.tell, lambda: vault.learn(usd)]
    vault.holds += usd
    first, second = steps if balance_first else reversed(steps)
    for step in (first, second):
        step()
        for _ in range(2):
            assert vault.wait() in {d(1000), vault.holds}
            assert (vault.drawdown, vault.office.equity.daily_loss()) == (d(0), d(0))
        assert bool(vault.money.doubt()) is (step == first)
    assert vault.money.doubt() == ""
    assert vault.wait() == vault.holds
    vault.pay(d(-20))
    assert vault.wait() == vault.holds - 20
    assert vault.office.equity.daily_loss() == d(20)
    assert vault.alerts == []


def test_nothing_opens_while_money_is_missing_and_the_venue_is_asked() -> None:
    """At once, then from time to time, until it is explained or counts."""
    vault = opened()
    vault.holds -= 400
    vault.tell()
    assert vault.money.doubt() == "400 USD missing on okx, unexplained yet"
    assert vault.asked == 1
    vault.tell()
    assert vault.asked == 1
    vault.wait()
    vault.tell()
    assert vault.asked == 1
    vault.wait(10)
    vault.tell()
    assert vault.asked == 2
    vault.learn(-400)
    assert vault.money.doubt() == ""
    vault.tell()
    assert (vault.money.doubt(), vault.asked) == ("", 2)


def test_what_nobody_explains_is_a_loss_after_the_wait() -> None:
    """Once, with an alarm; then it is no doubt any more."""
    vault = opened()
    vault.holds -= 100
    vault.tell()
    seen = []
    for _ in range(5):
        seen.append(vault.wait())
        vault.tell()
    assert seen == [d(1000)] * 4 + [d(900)]
    assert vault.drawdown == d("0.1")
    assert vault.money.doubt() == ""
    assert vault.alerts == ["unexplained_loss"]
    for _ in range(5):
        vault.tell()
        vault.wait()
    assert vault.alerts == ["unexplained_loss"]
    assert vault.money.counted() == {"okx": d(100)}


def test_the_least_that_was_missing_all_the_time_counts() -> None:
    """A gap that closes in between begins anew; more that is missing has to stand, too."""
    vault = opened()
    for missing, counts in ((100, 0), (40, 0), (0, 0), (100, 0), (60, 0), (90, 0), (80, 0),
                            (80, 60), (80, 60), (80, 60), (80, 60), (80, 80)):  # fmt: skip
        vault.holds = d(1000 - missing)
        vault.tell()
        assert vault.wait() == d(1000 - counts), missing


def test_what_is_explained_late_counts_no_more_at_once() -> None:
    """Neither twice for a moment, nor for another wait."""
    vault = opened()
    vault.holds -= 100
    vault.tell()
    vault.wait(WAIT_S)
    vault.tell()
    vault.wait()
    assert vault.drawdown == d("0.1")
    vault.learn(-100)
    assert vault.wait() == d(900)
    vault.tell()
    assert vault.wait() == d(900)
    vault.pay(d(-9))
    assert vault.wait() == d(891)


def test_a_deposit_does_not_pay_for_what_is_missing() -> None:
    """It covers it until it is known, and nothing opens so long; then the loss is there again."""
    vault = opened()
    vault.holds -= 100
    vault.tell()
    vault.wait(WAIT_S)
    vault.tell()
    vault.wait()
    vault.holds += 500
    vault.tell()
    assert vault.money.doubt() == "500 USD more on okx, unexplained yet"
    vault.wait()
    vault.learn(500)
    assert vault.wait() == d(1400)
    assert abs(vault.drawdown - d("0.1")) < d("1e-20")
    vault.tell()
    assert vault.money.doubt() == ""
    assert vault.wait() == d(1400)


def test_money_that_is_explained_late_is_no_doubt_any_more() -> None:
    """It never counted; once it is known whose it is, it does."""
    vault = opened()
    vault.holds += 500
    vault.tell()
    vault.wait(WAIT_S)
    vault.tell()
    assert (vault.wait(), vault.money.doubt()) == (d(1000), "")
    vault.learn(500)
    vault.tell()
    assert (vault.wait(), vault.money.doubt(), vault.drawdown) == (d(1500), "", d(0))


def test_small_differences_shut_nothing_and_count_all_the_same() -> None:
    """Marks differ and reports come one after the other."""
    vault = opened()
    vault.holds -= 5
    vault.tell()
    assert (vault.money.doubt(), vault.asked) == ("", 0)
    vault.wait(WAIT_S)
    vault.tell()
    assert vault.wait() == d(995)
    assert vault.alerts == []


def test_a_restart_forgets_nothing() -> None:
    """What was missing counts on; what went out meanwhile is looked for first."""
    vault = opened()
    vault.holds -= 100
    vault.tell()
    vault.wait(WAIT_S)
    vault.tell()
    vault.wait()
    again = Vault(vault)
    again.holds = d(900)
    assert again.money.equity("okx") == d(900)
    again.tell()
    assert again.wait() == d(900)
    assert again.money.doubt() == ""
    third = Vault(vault)
    third.holds = d(400)
    third.tell()
    assert third.wait() == d(900)
    assert (bool(third.money.doubt()), third.asked) == (True, 1)
    third.learn(-500)
    assert third.wait() == d(400)
    assert abs(third.drawdown - d("0.1")) < d("1e-20")


def test_without_marks_nothing_is_compared() -> None:
    """What our books say is not known then."""
    vault = opened()
    vault.round_trip(d(0))
    vault.office.bus.publish(vault.office.filled())
    vault.mark = None
    vault.holds -= 400
    vault.tell()
    assert (vault.money.equity("okx"), vault.money.doubt(), vault.asked) == (None, "", 0)


def test_a_report_without_balances_compares_nothing() -> None:
    """Positions and payments say nothing of what a venue holds."""
    vault = opened()
    vault.holds -= 400
    vault.office.bus.publish(AccountReported(venue="okx"))
    assert vault.asked == 0


def test_a_silent_venue_says_nothing() -> None:
    """What was missing once may be explained since; when it tells again, it counts at once."""
    vault = opened()
    vault.holds -= 100
    vault.tell()
    assert vault.wait(3 * WAIT_S) == d(1000)
    vault.tell()
    assert vault.wait() == d(900)


# --- any order of things ------------------------------------------------------------------------

AMOUNTS = st.integers(-300, 300).filter(bool)
HAPPENINGS = st.lists(
    st.tuples(st.sampled_from(["fill", "funding", "transfer", "quiet"]), AMOUNTS, st.booleans()),
    max_size=25,
)


class Measured:
    """Drawdown as it should be: of a unit of account, which no transfer changes."""

    def __init__(self) -> None:
        self.equity, self.unit, self.best = d(1000), d(1), d(1)

    def win(self, usd: Decimal) -> None:
        self.unit *= (self.equity + usd) / self.equity
        self.equity += usd
        self.best = max(self.best, self.unit)

    def move(self, usd: Decimal) -> None:
        self.equity += usd

    @property
    def drawdown(self) -> Decimal:
        return (self.best - self.unit) / self.best


@given(happenings=HAPPENINGS, seed=st.integers(0, 99))
@settings(max_examples=150, deadline=None)
def test_drawdown_is_of_profit_and_loss_alone(
    happenings: list[tuple[str, int, bool]], seed: int
) -> None:
    """Whatever comes first, and whether the balance was told in between or not.

    What is known late (within the wait) changes nothing; losses count as soon as they are known.
    Of what has become known the venue tells before the next thing is late.
    """
    vault, true = opened(), Measured()
    lost = d(0)
    later: list[Callable[[], None]] = []
    rng = Random(seed)

    def happen(kind: str, usd: Decimal) -> Callable[[], None]:
        def known() -> None:
            if kind == "transfer":
                vault.learn(usd)
                true.move(usd)
                return
            (vault.pay if kind == "funding" else vault.round_trip)(usd)
            true.win(usd)

        return known

    for kind, amount, late in happenings:
        usd = Decimal(amount)
        if kind != "quiet" and min(true.equity, vault.holds) + usd >= 300:
            vault.holds += usd
            if kind != "transfer":
                lost -= usd
            (later.append if late else _now)(happen(kind, usd))
        if rng.random() < 0.5:
            vault.tell()
        vault.wait()
        assert abs(vault.drawdown - true.drawdown) < d("1e-15")
        while later:
            later.pop()()
            if rng.random() < 0.5:
                vault.tell()
            vault.wait()
            assert abs(vault.drawdown - true.drawdown) < d("1e-15")
            vault.tell()
    assert vault.office.equity.total == true.equity == vault.holds
    assert vault.office.equity.daily_loss() == max(lost, d(0))
    assert vault.alerts == []
    vault.tell()
    assert vault.money.doubt() == ""


@given(
    missing=st.integers(30, 500),
    moves=st.lists(st.tuples(AMOUNTS, st.booleans()), max_size=6),
)
@settings(max_examples=100, deadline=None)
def test_a_loss_that_nobody_explains_counts_whatever_moves(
    missing: int, moves: list[tuple[int, bool]]
) -> None:
    """After the wait; and until it counts nothing opens."""
    vault = opened()
    vault.holds -= missing
    vault.tell()
    for amount, speaks in moves:
        if vault.holds + amount < 300:
            continue
        vault.holds += amount
        vault.learn(amount)
        if speaks:
            vault.tell()
        vault.wait()
        counted = vault.money.counted().get("okx", d(0))
        assert vault.money.doubt() or counted == missing or not speaks
    vault.tell()
    for _ in range(5):
        vault.wait()
        vault.tell()
    total = vault.wait()
    assert total == vault.holds
    assert vault.drawdown > 0
    assert vault.money.doubt() == ""


def _now(act: Callable[[], None]) -> None:
    act()
