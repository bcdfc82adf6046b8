"""Faults that begin at a moment, and what each of them does.

Other rows need no act: the `Wire` of a venue and the quotes ask whether a window is open.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

from perpbot.domain.events import FundingRateUpdated
from perpbot.domain.money import ZERO
from perpbot.domain.sides import OrderType, Side, TimeInForce
from perpbot.kernel.clock import MS, SECOND
from perpbot.research.chaos.door import CHANNELS
from perpbot.research.chaos.grids import REGRIDS, regridded
from perpbot.research.chaos.ground import ACCOUNT
from perpbot.research.chaos.market import LARGEST_JUMP
from perpbot.research.chaos.money import move_money
from perpbot.research.chaos.plan import START_NS, Fault
from perpbot.simulation.model import ExchangeRefusal, Ticket

if TYPE_CHECKING:
    from perpbot.research.chaos.stage import Stage

LOOK_AGAIN_NS = 300 * MS
"""Until the next look for a leg to take."""
_CLOCK_STEPS_S = (-5, -2, -1, 1, 3, 5)
_KILLS = ((1, False), (2, False), (3, False), (4, False), (3, True), (4, True))
"""Levels of the kill switch, and whether they are of one venue."""

Act = Callable[[Fault], None]


class Moments:
    """Makes them happen on a stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._ground = stage.ground
        self._time = stage.time
        self._witness = stage.witness
        self._counters = stage.counters

    def schedule(self, fault: Fault) -> None:
        """Let a fault begin at its time, and end where that takes an act."""
        acts: dict[str, tuple[Act, Act | None]] = {
            "1": (self._channels, self._channels),
            "2": (self._channels, self._channels),
            "14": (self._channels, self._channels),
            "19": (self._step_clock, self._restore_clock),
            "21": (self._arm, None),
            "22": (self._arm, None),
            "23": (self._fill_disk, self._free_disk),
            "35": (self._halt, self._resume),
            "36": (self._flip_funding, None),
            "37": (self._take_leg, None),
            "40": (self._take_leg, self._take_leg),
            "hidden": (self._hide_leg, None),
            "41": (self._repeat_fills, self._repeat_fills),
            "jump": (self._jump, None),
            "kill": (self._engage, self._clear),
            "transfer": (self._move_money, None),
        }
        start, stop = acts.get(fault.row, (None, None))
        if start is not None:
            self._time.call_later(fault.start_ns - START_NS, lambda: start(fault))
        if stop is not None:
            self._time.call_later(fault.stop_ns - START_NS, lambda: stop(fault))

    def _channels(self, fault: Fault) -> None:
        self._counters.hit(fault.row)
        if self._stage.life is not None:
            for channel in CHANNELS:
                self._stage.life.doors[fault.venue].tell_channel(channel)

    def _step_clock(self, fault: Fault) -> None:
        self._counters.hit("19")
        self._ground.skew_ns[fault.venue] = _CLOCK_STEPS_S[fault.variant] * SECOND

    def _restore_clock(self, fault: Fault) -> None:
        self._ground.skew_ns[fault.venue] = 0

    def _arm(self, fault: Fault) -> None:
        first, *self._stage.nested = fault.deaths
        self._stage.reaper.arm(first, fault.row)

    def _fill_disk(self, fault: Fault) -> None:
        self._counters.hit("23")
        self._stage.journal.low_space = True
        self._stage.journal.exhausted = fault.variant > 3
        self._witness.full_since_ns = self._time.now_ns()

    def _free_disk(self, fault: Fault) -> None:
        self._stage.journal.low_space = self._stage.journal.exhausted = False
        self._witness.full_since_ns = 0

    def _halt(self, fault: Fault) -> None:
        self._counters.hit("35")
        if fault.variant % 2:
            self._relist(fault)
        else:
            self._ground.exchanges[fault.venue].set_halted(self._ground.symbol(fault), halted=True)

    def _resume(self, fault: Fault) -> None:
        self._ground.exchanges[fault.venue].set_halted(self._ground.symbol(fault), halted=False)
        if fault.variant == 3:
            self._relist(fault, back=True)

    def _relist(self, fault: Fault, *, back: bool = False) -> None:
        """The venue trades the symbol in coarser or finer steps from now on."""
        exchange, symbol = self._ground.exchanges[fault.venue], self._ground.symbol(fault)
        ticks, steps = REGRIDS[fault.variant // 2]
        if back:
            ticks, steps = 1 / ticks, 1 / steps
        now = exchange.contract(symbol)
        self._witness.exposure.regridded(fault.venue, fault.asset, now.quantity_step * steps)
        exchange.relist(regridded(now, ticks, steps))

    def _flip_funding(self, fault: Fault) -> None:
        """Settle at a steep rate, one way and then the other."""
        self._counters.hit("36")
        exchange, symbol = self._ground.exchanges[fault.venue], self._ground.symbol(fault)
        known = exchange.mark(symbol)
        sign = 1 if fault.variant % 2 else -1
        rate = Decimal("0.0005") * sign
        exchange.set_mark(
            symbol, known.mark_price, known.index_price, rate, self._time.now_ns() + SECOND
        )
        exchange.settle_funding(symbol)
        if self._stage.life is not None:
            self._stage.life.core.quotes.publish(
                FundingRateUpdated(
                    ts_ns=self._time.now_ns(),
                    venue=fault.venue,
                    asset=fault.asset,
                    rate=float(-rate),
                    interval_s=28_800,
                    next_ns=0,
                )
            )

    def _take_leg(self, fault: Fault) -> None:
        """Somebody else closes a part of what the account holds: the venue, or its owner."""
        self._taken(fault)

    def _taken(self, fault: Fault) -> bool:
        """Whether there was something to take."""
        held = self._witness.truth.positions.get((fault.venue, fault.asset), ZERO)
        exchange = self._ground.exchanges[fault.venue]
        step = exchange.contract(self._ground.symbol(fault)).quantity_step
        share = Decimal(str(fault.intensity))
        quantity = (abs(held) * share // step) * step
        if quantity <= 0:
            return False
        ticket = Ticket(
            symbol=self._ground.symbol(fault),
            side=Side.SELL if held > 0 else Side.BUY,
            order_type=OrderType.MARKET,
            quantity=quantity,
            time_in_force=TimeInForce.IOC,
        )
        try:
            exchange.submit(ACCOUNT, ticket)
        except ExchangeRefusal:
            return False
        self._counters.hit(fault.row)
        return True

    def _hide_leg(self, fault: Fault) -> None:
        """At the first moment of the window when there is something to take."""
        wire = self._ground.wires[fault.venue]
        wire.hiding = True
        taken = self._taken(fault)
        wire.hiding = False
        if not taken and self._time.now_ns() < fault.stop_ns:
            self._time.call_later(LOOK_AGAIN_NS, lambda: self._hide_leg(fault))

    def _repeat_fills(self, fault: Fault) -> None:
        life = self._stage.life
        if life is not None and life.doors[fault.venue].tell_old_fills(self._stage.rng):
            self._counters.hit("41")

    def _jump(self, fault: Fault) -> None:
        self._counters.hit("jump")
        self._ground.market.jump(fault.asset, LARGEST_JUMP * (1 if fault.variant % 2 else -1))

    def _move_money(self, fault: Fault) -> None:
        amount = move_money(fault, self._ground.purses[fault.venue], self._ground.plan.balance)
        self._stage.unit.moved(amount)
        self._witness.capital.transferred(amount)
        self._counters.hit("transfer")

    def _engage(self, fault: Fault) -> None:
        life = self._stage.life
        if life is None:
            return
        self._counters.hit("kill")
        level, of_venue = _KILLS[fault.variant]
        venue = fault.venue if of_venue else ""
        life.core.kill_switch.engage(level, actor="chaos", reason="test", venue=venue)
        self._witness.killed = venue

    def _clear(self, fault: Fault) -> None:
        life = self._stage.life
        if life is None:
            self._time.call_later(SECOND, lambda: self._clear(fault))
            return
        venue = self._witness.killed
        self._witness.killed = None
        life.core.kill_switch.clear(actor="chaos", reason="test over", venue=venue or "")
