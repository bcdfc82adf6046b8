"""Anything may happen to pairs, in any order: none is left, and the books agree in the end."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from perpbot.domain.sides import Purpose, Side
from perpbot.kernel.clock import MS, SECOND
from perpbot.simulation.fates import Fate, Message
from tests.unit.execution.stand import LONG, SHORT, THIRD, Stand

VENUES = st.sampled_from((LONG, SHORT, THIRD))
LEGS = st.sampled_from(((LONG, SHORT), (SHORT, THIRD), (LONG, THIRD)))
WAITS = st.sampled_from((0, 10, 25, 45, 120, 800, 2_500))
PURPOSES = st.sampled_from((None, Purpose.OPEN, Purpose.HEDGE, Purpose.REDUCE))
FATES = st.sampled_from(
    (
        Fate(drop=True),
        Fate(delay_ns=300 * MS),
        Fate(delay_ns=4 * SECOND),
        Fate(copies=2),
        Fate(reject="no"),
    )
)
WAYS = st.sampled_from(
    (
        ("request", Message.SUBMIT),
        ("request", Message.CANCEL),
        ("request", Message.QUERY),
        ("request", Message.RECONCILE),
        ("response", Message.SUBMIT),
        ("response", Message.CANCEL),
        ("response", Message.QUERY),
        ("response", Message.RECONCILE),
        ("stream", None),
    )
)
WORST_UNHEDGED_NS = 60 * SECOND
"""What a leg may stand alone while its venue cannot be reached, and the way home after that."""


class PairLife(RuleBasedStateMachine):
    """A node with three venues; hypothesis plays market, network, venues, people and power."""

    @initialize(
        profile=st.sampled_from(("limit_only", "balanced", "aggressive")),
        legs=LEGS,
        ms=st.sampled_from((0, 10, 30, 70, 500)),
    )
    def start(self, profile: str, legs: tuple[str, str], ms: int) -> None:
        self.stand = Stand(
            {"execution.fallback": profile, "execution.wait_fill_limit_s": 5.0},
            venues=(LONG, SHORT, THIRD),
        )
        self.stand.run(2_500)
        self.stand.open(2.0, *legs)
        self.stand.run(ms)

    # --- what the strategy and people do ---

    @rule(legs=LEGS, ms=WAITS)
    def open(self, legs: tuple[str, str], ms: int) -> None:
        self.stand.open(2.0, *legs)
        self.stand.run(ms)

    @rule(ms=WAITS)
    def close(self, ms: int) -> None:
        self.stand.close()
        self.stand.run(ms)

    @rule(level=st.integers(1, 4), ms=st.sampled_from((0, 50, 700)))
    def kill(self, level: int, ms: int) -> None:
        switch = self.stand.core.kill_switch
        switch.engage(level, actor="machine", reason="drill")
        self.stand.run(ms)
        switch.clear(actor="machine", reason="drill over")

    @rule(
        venue=VENUES,
        side=st.sampled_from(Side),
        quantity=st.sampled_from(("0.02", "0.5", "2")),
    )
    def by_hand(self, venue: str, side: Side, quantity: str) -> None:
        if self.stand.held(venue) != 0:
            self.stand.by_hand(venue, side, quantity)
            self.stand.run(30)

    # --- the market ---

    @rule(venue=VENUES, move=st.sampled_from((-0.5, -0.2, 0.2, 0.5)))
    def move(self, venue: str, move: float) -> None:
        price = self.stand.prices[venue] + move
        if 99.0 <= price <= 103.0:
            self.stand.prices[venue] = price

    @rule(venue=VENUES, depth=st.sampled_from((5.0, 1.2, 0.7, 0.004)))
    def thin(self, venue: str, depth: float) -> None:
        self.stand.depth[venue] = (depth, depth)

    @rule(venue=VENUES)
    def stale(self, venue: str) -> None:
        self.stand.quoting.discard(venue)

    # --- the network, the venues and the power ---

    @rule(way=WAYS, fate=FATES, venue=VENUES, purpose=PURPOSES, times=st.integers(1, 3))
    def fault(
        self,
        way: tuple[str, Message | None],
        fate: Fate,
        venue: str,
        purpose: Purpose | None,
        times: int,
    ) -> None:
        self.stand.faults.add(way[0], way[1], fate=fate, venue=venue, purpose=purpose, times=times)

    @rule(venue=VENUES)
    def go_down(self, venue: str) -> None:
        self.stand.faults.down.add(venue)

    @rule()
    def heal(self) -> None:
        self.stand.faults.heal()
        self.stand.quoting = set(self.stand.names)

    @rule(records=st.integers(1, 12), keeps_last=st.booleans())
    def crash(self, records: int, *, keeps_last: bool) -> None:
        stand = self.stand
        stand.journal.dies_at = stand.journal.last_sequence + records
        stand.journal.keeps_last = keeps_last
        stand.run(400)
        if stand.timers.alive:
            stand.crash()
        stand.boot()

    # --- time ---

    @rule(ms=WAITS)
    def wait(self, ms: int) -> None:
        self.stand.run(ms)

    # --- what always holds ---

    @invariant()
    @precondition(lambda self: hasattr(self, "stand"))
    def every_pair_goes_on(self) -> None:
        self.stand.check()

    def teardown(self) -> None:
        if not hasattr(self, "stand"):
            return
        stand = self.stand
        stand.faults.heal()
        stand.quoting = set(stand.names)
        stand.depth = dict.fromkeys(stand.names, (5.0, 5.0))
        stand.settle(120)
        stand.check_settled()
        stand.close("end")
        stand.settle(120)
        stand.check_settled()
        assert not stand.pairs
        if not any(stand.held(name) for name in stand.names):
            profit = stand.core.folds.positions.profit({})
            assert profit.net == stand.accountant.summary()["net"]


PairLife.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestPairLife = PairLife.TestCase
