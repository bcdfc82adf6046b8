"""Faults that begin at a moment: clocks step, sockets fall silent, the node dies or freezes."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

from perpbot.kernel.clock import SECOND
from perpbot.research.chaos.grids import REGRIDS, regridded
from perpbot.research.chaos.plan import Fault
from perpbot.research.chaos.wires.life import Life
from perpbot.research.chaos.wires.weather import DOMAIN, PRIVATE, PUBLIC, kind_of
from perpbot.simulation.virtual.pipes import Link

if TYPE_CHECKING:
    from perpbot.research.chaos.wires.stage import Stage

DETECT_NS = 18 * SECOND
"""How long a half-open private socket may stand: two pings and the connection's own patience."""
_POINTS = ("moment", "before", "after", "write", "after", "sent")
_AT_TRADING = (1, 4)
"""Variants that count records of orders and pairs only."""
_DIGITS = (Decimal("0.1"), Decimal(10))
_CLOCK_STEPS_S = (-7, -3, 2, 6, 40, -40)


class Moments:
    """Makes them happen on a stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def schedule(self, fault: Fault) -> None:
        """Let a fault begin at its time, and end where that takes an act."""
        starts: dict[str, Callable[[Fault], None]] = {
            "3": self._silence,
            "19": self._step_clock,
            "21": self._doom,
            "29": self._freeze,
            "35": self._relist,
            "38": self._revoke,
            "42": self._cut_off,
            "transfer": self._move_money,
        }
        start = starts.get(fault.row)
        now_ns = self._stage.clock.now_ns()
        if start is not None:
            self._stage.network.later(fault.start_ns - now_ns, lambda: start(fault))
        if fault.row == "19":
            self._stage.network.later(fault.stop_ns - now_ns, lambda: self._restore_clock(fault))

    def _links(self, fault: Fault, *kinds: str) -> list[Link]:
        return [
            link
            for link in list(self._stage.network.links.values())
            if link.name == fault.venue + DOMAIN and (not kinds or kind_of(link) in kinds)
        ]

    def _silence(self, fault: Fault) -> None:
        """From here on no byte of these connections arrives."""
        kinds = ((PUBLIC,), (PRIVATE,), (PUBLIC, PRIVATE), ())[fault.variant % 4]
        for link in self._links(fault, *kinds):
            self._stage.counters.hit("3")
            link.silent_up = link.silent_down = True
            if kind_of(link) == PRIVATE:
                self._stage.network.later(
                    DETECT_NS, partial(self._found_dead, link, self._stage.life)
                )

    def _found_dead(self, link: Link, life: Life | None) -> None:
        """Orders go into a private socket: nobody may believe for long in a dead one."""
        awake_for_ns = self._stage.clock.now_ns() - (0 if life is None else life.awake_ns)
        if not link.client.lost and life is self._stage.life and awake_for_ns > DETECT_NS:
            self._stage.witness.violate(
                f"B3 the half-open private socket of {link.name} stood for {DETECT_NS // SECOND} s"
            )

    def _step_clock(self, fault: Fault) -> None:
        self._stage.counters.hit("19")
        self._stage.ground.skew_ns[fault.venue] = _CLOCK_STEPS_S[fault.variant] * SECOND

    def _restore_clock(self, fault: Fault) -> None:
        self._stage.ground.skew_ns[fault.venue] = 0

    def _doom(self, fault: Fault) -> None:
        point = _POINTS[fault.variant]
        self._stage.nested = list(fault.numbers[1:])
        if point != "moment":
            at_trading = fault.variant in _AT_TRADING
            count = 1 + fault.numbers[0] % 8 if at_trading else fault.numbers[0]
            self._stage.doom.arm(point, count, at_trading=at_trading)
        elif self._stage.life is not None:
            self._stage.counters.hit("21")
            self._stage.counters.kill_points["moment"] += 1
            self._stage.life.die()

    def _freeze(self, fault: Fault) -> None:
        life = self._stage.life
        if life is None:
            return
        self._stage.counters.hit("29")
        duration_ns = fault.stop_ns - fault.start_ns
        self._stage.absences.append(
            (self._stage.clock.now_ns(), self._stage.clock.now_ns() + duration_ns)
        )
        self._stage.loop.freeze(life.host, duration_ns)
        life.awake_ns = self._stage.clock.now_ns() + duration_ns

    def _relist(self, fault: Fault) -> None:
        """The venue trades an asset in other steps from now on."""
        self._stage.counters.hit("35")
        exchange = self._stage.ground.exchanges[fault.venue]
        now = next(one for one in exchange.contracts() if one.asset == fault.asset)
        ticks, steps = REGRIDS[fault.variant % 3]
        if now.price_digits is not None:
            ticks, steps = _DIGITS  # Hyperliquid: the digits that a size loses a price gains
        step = now.quantity_step * steps
        self._stage.witness.exposure.regridded(fault.venue, fault.asset, step)
        exchange.relist(regridded(now, ticks, steps))

    def _revoke(self, fault: Fault) -> None:
        for link in self._links(fault, PRIVATE):
            self._stage.counters.hit("38")
            link.reset()

    def _move_money(self, fault: Fault) -> None:
        stage = self._stage
        if any(f.row == "19" and f.venue == fault.venue for f in stage.plan.faults):
            return  # by its clock it may have been before our books began
        amount = stage.ground.move_money(fault)
        stage.unit.moved(amount)
        stage.witness.capital.transferred(amount)
        stage.counters.hit("transfer")

    def _cut_off(self, fault: Fault) -> None:
        for link in self._links(fault):
            self._stage.counters.hit("42")
            link.reset()
