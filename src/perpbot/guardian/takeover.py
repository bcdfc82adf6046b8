"""One taking over: orders come back at every venue by itself, then what is left over is closed.

A venue that does not answer holds up no other one's cancels. It does hold up closing what is
unhedged: a leg that is not known may be the hedge of one that is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from perpbot.domain.orders import PositionReport
from perpbot.guardian.hand import Hand, Look
from perpbot.guardian.plan import Reduction, by_venue, everything, unhedged
from perpbot.guardian.record import GuardianRecord
from perpbot.guardian.settings import Flatten

ROUND_S = 0.5
"""Between two looks while there is something to do."""
REST_S = 5.0
"""Between two looks when there is nothing: a late fill may still come."""


class Takeover:
    """See the module. `run` works until it is cancelled."""

    def __init__(
        self,
        hands: Sequence[Hand],
        record: GuardianRecord,
        flatten: Flatten,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._hands = hands
        self._record = record
        self._flatten = flatten
        self._sleep = sleep
        self._due = asyncio.Event()
        self._said = ""
        self._planned: tuple[Reduction, ...] = ()

    def flatten(self) -> None:
        """From now on close what is to be closed."""
        self._due.set()

    async def run(self) -> None:
        """Work at every venue at once."""
        async with asyncio.TaskGroup() as tasks:
            for hand in self._hands:
                tasks.create_task(self._work(hand))
            if self._flatten is Flatten.UNHEDGED:
                tasks.create_task(self._level())

    async def _work(self, hand: Hand) -> None:
        """Take orders back at one venue; close its legs where every leg is to go."""
        while True:
            try:
                busy = await self._turn(hand)
            except Exception as error:  # noqa: BLE001 - told; no other venue may suffer from it
                busy = self._fault(hand.name, error)
            await self._sleep(ROUND_S if busy else REST_S)

    def _fault(self, where: str, error: Exception) -> bool:
        """Tell of a fault of ours; there is more to do."""
        self._record.write("fault", where=where, error=f"{type(error).__name__}: {error}")
        return True

    async def _turn(self, hand: Hand) -> bool:
        await hand.resolve()
        look = await hand.look()
        if look is None:
            return True
        if look.orders:
            await hand.take_back(look.orders)
            return True
        if self._flatten is not Flatten.ALL or not hand.flattens:
            return False
        if not self._due.is_set():
            return True
        wanted = [one for one in everything(look.positions) if one.symbol not in hand.unresolved]
        sent = await hand.shrink(wanted)
        return sent > 0 or bool(hand.unresolved)

    async def _level(self) -> None:
        """Close what the legs of all venues do not hedge of each other."""
        await self._due.wait()
        while True:
            try:
                busy = await self._level_once()
            except Exception as error:  # noqa: BLE001 - told; the cancels go on beside it
                busy = self._fault("flatten", error)
            await self._sleep(ROUND_S if busy else REST_S)

    async def _level_once(self) -> bool:
        """Return whether there is more to do.

        The same plan has to come out of two looks: a position that lags behind our last order
        would else be closed twice.
        """
        hands = self._hands
        await asyncio.gather(*(hand.resolve() for hand in hands))
        if any(hand.unresolved for hand in hands):
            return True
        looks = await asyncio.gather(*(hand.look() for hand in hands))
        known = [look for look in looks if look is not None]
        if len(known) < len(looks):
            silent = [h.name for h, look in zip(hands, looks, strict=True) if look is None]
            self._say("waiting", venues=silent)
            return True
        if any(look.orders for look in known):
            return True
        wanted = tuple(unhedged(_positions(known)))
        if not wanted:
            self._say("level", positions=_told(known))
            return False
        seen = [_key(one) for one in wanted] == [_key(one) for one in self._planned]
        self._planned = () if seen else wanted
        if not seen:
            return True
        shares = by_venue(wanted)
        sent = await asyncio.gather(*(hand.shrink(shares.get(hand.name, ())) for hand in hands))
        if not any(sent):
            self._say("level", positions=_told(known))
            return False
        self._said = ""
        return True

    def _say(self, kind: str, **content: object) -> None:
        """Write what has changed, once."""
        text = f"{kind} {content}"
        if text != self._said:
            self._said = text
            self._record.write(kind, **content)


def _positions(looks: Sequence[Look]) -> list[PositionReport]:
    return [leg for look in looks for leg in look.positions]


def _told(looks: Sequence[Look]) -> list[str]:
    return [f"{leg.venue} {leg.symbol} {leg.quantity}" for leg in _positions(looks)]


def _key(one: Reduction) -> tuple[object, ...]:
    return (one.venue, one.symbol, one.side, one.position_side, one.quantity)
