"""Money of a venue that nothing explains, and from when on it counts as lost.

Our books know fills, fees, funding payments and transfers; a venue tells what it holds. The gap
between the two, taken whenever a venue tells, should be nothing. It opens for moments when the
venue tells of a fill, a payment or a withdrawal sooner by its balance than by its history, and it
stays open where money is gone. Told apart only by time, so the rule is about time:

- Equity is what our books say, less what has been missing at the venue for the whole of
  `unexplained_wait_s`, as often as the venue told. It counts until our books learn what it was,
  or until it has been there again for as long. A venue that is silent says nothing; its balances
  grow too old to open anything.
- While a gap is open that is not counted yet (or not any more) and larger than
  `unexplained_ratio` of the venue's equity, nothing opens anywhere, and the venue is asked what
  moved: at once, and again from time to time.
- A transfer moves our books, the peaks, the start of the day and the gap in one fold, before or
  after the balance that contains it.

So neither a withdrawal halts the node, nor does a deposit hide a loss: what our books know of
losses counts at once whatever the balance says, money that came counts once it is known whose it
is, and what nobody explains counts as a loss after the wait, during which nothing opens. The same
door that a halt would shut is shut meanwhile, so waiting costs nothing but opportunities.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec

from perpbot.domain.events import AccountReported, AlertFired
from perpbot.domain.money import ZERO, plain
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import SECOND, Clock
from perpbot.portfolio.equity import EquityBook
from perpbot.portfolio.settings import CapitalSettings
from perpbot.portfolio.snapshot import CapitalSnapshotProvider

ASK_AGAIN_NS = 15 * SECOND
"""How often a venue is asked out of turn, while a gap is open: it costs its rate budget."""


class _Gap(msgspec.Struct):
    """What is missing at one venue (negative: what is there beyond our books), USD."""

    told: Decimal
    """Ours less theirs when the venue told last."""
    ours: Decimal
    opening: Decimal
    """What our books said at that moment, and what they began with (transfers included)."""
    counted: Decimal
    """What has stood for the wait; negative where the venue holds more."""
    nearest: Decimal | None = None
    """Of the gaps on one side of `counted`, since `since_ns`, the one nearest to it."""
    since_ns: int = 0
    asked_ns: int = -ASK_AGAIN_NS


class UnexplainedMoney:
    """See the module. Built after the provider of snapshots: it looks at what that has taken."""

    def __init__(
        self,
        bus: EventBus,
        clock: Clock,
        settings: CapitalSettings,
        book: EquityBook,
        snapshots: CapitalSnapshotProvider,
        profit: Callable[[str], Decimal | None],
        ask: Callable[[str], None] = lambda _venue: None,
    ) -> None:
        """`profit(venue)`: ours in USD since the opening of its books, None without marks.

        `ask(venue)` has the venue asked for everything that may have moved, transfers included.
        """
        self._bus = bus
        self._clock = clock
        self._wait_ns = int(settings.unexplained_wait_s * SECOND)
        self._ratio = settings.unexplained_ratio
        self._book = book
        self._snapshots = snapshots
        self._profit = profit
        self._ask = ask
        self._gaps: dict[str, _Gap] = {}
        bus.subscribe(AccountReported, self._told)

    # --- reading ---

    def equity(self, venue: str) -> Decimal | None:
        """Return what our books say of a venue less what is missing; None without marks."""
        ours = self._ours(venue)
        if ours is None:
            return None
        gap = self._gaps.get(venue)
        if gap is None:
            return ours - max(self._book.unexplained(venue), ZERO)
        change = self._moved_since(venue, gap)
        return ours - max(_learned(gap.counted, gap.told + change, change), ZERO)

    def counted(self) -> dict[str, Decimal]:
        """Return by venue what has stood for the wait; nothing where that is nothing."""
        known = {venue: gap.counted for venue, gap in self._gaps.items()}
        return {venue: usd for venue, usd in known.items() if usd}

    def doubt(self) -> str:
        """Return why nothing may open: where money moved that nothing explains yet, or ""."""
        for venue, gap in self._gaps.items():
            moved = gap.told + self._moved_since(venue, gap) - gap.counted
            if self._is_large(venue, moved):
                what = "missing" if moved > 0 else "more"
                return f"{plain(abs(moved))} USD {what} on {venue}, unexplained yet"
        return ""

    def _ours(self, venue: str) -> Decimal | None:
        opening, profit = self._book.opening(venue), self._profit(venue)
        return None if opening is None or profit is None else opening + profit

    def _moved_since(self, venue: str, gap: _Gap) -> Decimal:
        """Return what transfers that became known since the venue told moved in our books."""
        return (self._book.opening(venue) or ZERO) - gap.opening

    def _is_large(self, venue: str, moved: Decimal) -> bool:
        ours = self._ours(venue) or self._book.current.get(venue, ZERO)
        return abs(moved) > max(ours, ZERO) * self._ratio

    # --- following ---

    def _told(self, event: AccountReported) -> None:
        balance, ours = self._snapshots.balance(event.venue), self._ours(event.venue)
        opening = self._book.opening(event.venue)
        if not event.balances or balance is None or ours is None or opening is None:
            return
        missing, now_ns = ours - balance.equity, self._clock.monotonic_ns()
        gap = self._gaps.get(event.venue)
        if gap is None:
            counted = self._book.unexplained(event.venue)
            gap = self._gaps[event.venue] = _Gap(missing, ours, opening, counted)
        elif gap.opening != opening:
            gap.nearest = None  # what was missing before a transfer says nothing of now
        gap.counted = _learned(gap.counted, missing, ours - gap.ours)
        gap.told, gap.ours, gap.opening = missing, ours, opening
        _stand(gap, now_ns)
        self._settle(event.venue, gap, now_ns)
        large = self._is_large(event.venue, missing - gap.counted)
        if large and now_ns - gap.asked_ns >= ASK_AGAIN_NS:
            gap.asked_ns = now_ns
            self._ask(event.venue)

    def _settle(self, venue: str, gap: _Gap, now_ns: int) -> None:
        if gap.nearest is None or now_ns - gap.since_ns < self._wait_ns:
            return
        moved, gap.counted = gap.nearest - gap.counted, gap.nearest
        gap.nearest = None
        _stand(gap, now_ns)
        if gap.counted > 0 and moved > 0 and self._is_large(venue, moved):
            self._bus.publish(
                AlertFired(
                    ts_ns=self._clock.now_ns(),
                    name="unexplained_loss",
                    severity="high",
                    text=f"{plain(moved)} USD are missing on {venue}, and no fill, fee, funding "
                    "payment or transfer explains it: it counts as a loss from now on",
                )
            )


def _learned(counted: Decimal, missing: Decimal, change: Decimal) -> Decimal:
    """Return what is still counted of a gap after our books changed.

    What they learned explains what was missing as far as the gap has closed by it. Money that
    only came back, or came on top, explains nothing.
    """
    if counted > 0 > change:
        return max(min(missing, counted), counted + change, ZERO)
    if counted < 0 < change:
        return min(max(missing, counted), counted + change, ZERO)
    return counted


def _stand(gap: _Gap, now_ns: int) -> None:
    """Note for how long the gap has been on one side of what is counted."""
    if gap.told == gap.counted:
        gap.nearest = None
    elif gap.nearest is None or (gap.nearest > gap.counted) != (gap.told > gap.counted):
        gap.nearest, gap.since_ns = gap.told, now_ns
    elif gap.told > gap.counted:
        gap.nearest = min(gap.nearest, gap.told)
    else:
        gap.nearest = max(gap.nearest, gap.told)
