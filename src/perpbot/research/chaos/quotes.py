"""What exchanges and the node are told of the market: at times less, something else, or nothing.

Exchanges always trade at the true touch. The node is told it too, unless a fault of the seed keeps
it back (rows 1, 3, 14) or spoils it (rows 33, 34); thin books rest less than they tell (row 10).
"""

from __future__ import annotations

import random

from perpbot.research.chaos.counters import Counters
from perpbot.research.chaos.door import Wire
from perpbot.research.chaos.ground import Ground
from perpbot.research.chaos.market import Tick
from perpbot.research.chaos.node import Life
from perpbot.research.chaos.witness import Witness


class Quotes:
    """Moves the market and tells it. `rng` is the stage's."""

    def __init__(
        self, ground: Ground, witness: Witness, counters: Counters, rng: random.Random
    ) -> None:
        self._ground = ground
        self._witness = witness
        self._counters = counters
        self._rng = rng
        self.node: Life | None = None
        """The newest one: exchanges hear of the market through its doors, when it is dead too."""

    def step(self) -> None:
        """Move every market once."""
        for tick in self._ground.market.step(self._ground.time.now_ns()):
            if self.node is not None:
                self._feed(self.node, tick)

    def _feed(self, node: Life, tick: Tick) -> None:
        wire = self._ground.wires[tick.venue]
        size = tick.size if wire.quotes_are_told else self._resting(tick, wire)
        node.doors[tick.venue].feed_quote(tick.asset, tick.bid, size, tick.ask, size)
        if not node.alive:
            return
        if wire.quotes_are_told:
            self._tell_truly(node, tick)
            return
        if wire.active("1", "14"):
            return
        silent = wire.active("3")
        if silent is not None and silent.variant % 2 == 0:
            self._counters.hit("3")
            return
        self._tell(node, tick, wire)

    def _resting(self, tick: Tick, wire: Wire) -> float:
        """Return what rests at the touch: at times less than what is told."""
        thin = wire.active("10")
        if thin is None or thin.asset != tick.asset:
            return tick.size
        self._counters.hit("10")
        return tick.size * (0.03 + 0.2 * (1.0 - thin.intensity))

    def _tell(self, node: Life, tick: Tick, wire: Wire) -> None:
        broken = wire.active("33")
        crossed = wire.active("34")
        if broken is not None and broken.asset == tick.asset and self._rng.random() < 0.7:
            self._counters.hit("33")
            self._witness.told.bad_quote(tick.venue, tick.asset)
            factor = (float("nan"), -1.0, 0.0, 10.0, 0.1, float("inf"))[broken.variant]
            self._update(node, tick, tick.bid * factor, tick.ask * factor)
        elif crossed is not None and crossed.asset == tick.asset:
            self._counters.hit("34")
            self._witness.told.bad_quote(tick.venue, tick.asset)
            self._update(node, tick, tick.ask * 1.002, tick.bid)
        else:
            self._tell_truly(node, tick)

    def _tell_truly(self, node: Life, tick: Tick) -> None:
        self._witness.told.good_quote(tick.venue, tick.asset)
        self._update(node, tick, tick.bid, tick.ask)

    def _update(self, node: Life, tick: Tick, bid: float, ask: float) -> None:
        now_ns = self._ground.time.monotonic_ns()
        venue_ns = now_ns + self._ground.skew_ns[tick.venue]
        slot = node.slots[tick.venue, tick.asset]
        slot.update(bid, tick.size, ask, tick.size, venue_ns, now_ns)
