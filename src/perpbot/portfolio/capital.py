"""The capital of every pool and venue: who may take how much of it, and when nobody may.

At every grant, for each pool: reserved plus in use is at most the pool's equity; for each venue:
what is set aside and unsent is at most the free margin that the venue told. A reservation covers
all legs or none, turns into margin in use with each opening fill and ends only when its pair is
flat (or was never sent and has expired).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

import msgspec

from perpbot.domain.errors import CapitalShort, StateConflict
from perpbot.domain.events import (
    AlertFired,
    CapitalReleased,
    CapitalReserved,
    CapitalSnapshotUpdated,
    CapitalUpdated,
    FollowCapital,
    OrderFilled,
    PairPlanned,
    ReserveToppedUp,
)
from perpbot.domain.money import ZERO, plain
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import SECOND, Clock, TimerHandle, Timers
from perpbot.portfolio.allocator import Allocation, CapitalAllocator, Pool
from perpbot.portfolio.equity import EquityBook
from perpbot.portfolio.reservations import Reservations
from perpbot.portfolio.settings import CapitalSettings
from perpbot.portfolio.snapshot import CapitalSnapshotProvider


class Claim(msgspec.Struct, frozen=True):
    """What a reservation would take, worked out once for the gate and the grant."""

    pool: str
    legs: dict[str, Decimal]
    """Margin by venue, USD."""
    shortage: str
    """Why it does not fit, with its numbers, or ""."""
    state: int
    """Of the capital that it was measured against; a grant measures anew after a change."""


class _Room(msgspec.Struct, frozen=True):
    """What a pool and the venues of a pair have left."""

    state: tuple[int, int]
    """Of the capital and of the balances that it was measured at."""
    until_ns: int
    """Monotonic: then a balance is too old to open anything."""
    available: Decimal
    free: dict[str, Decimal]


class CapitalOrchestrator:
    """See the module."""

    def __init__(
        self,
        bus: EventBus,
        clock: Clock,
        timers: Timers,
        settings: CapitalSettings,
        reservations: Reservations,
        snapshots: CapitalSnapshotProvider,
        equity: EquityBook,
        usd_rate: Callable[[str], Decimal | None],
        leverage: Callable[[str], Decimal] | None = None,
        margin_limit: Callable[[str], Decimal] | None = None,
    ) -> None:
        """`usd_rate(venue)` is the USD rate of its settle currency; the last two as set there."""
        self._bus = bus
        self._clock = clock
        self._timers = timers
        self._settings = settings
        self._reservations = reservations
        self._snapshots = snapshots
        self._equity = equity
        self._usd_rate = usd_rate
        self._leverage = leverage or (lambda _venue: settings.leverage)
        self.margin_limit = margin_limit or (lambda _venue: settings.max_margin_ratio)
        """Margin in use over equity of a venue at which nothing opens there."""
        self._leverages: dict[str, Decimal] = {}
        self._rooms: dict[tuple[str, tuple[str, ...]], _Room] = {}
        self._oldest_ns = int(settings.snapshot_max_age_s * SECOND)
        self._allocator = CapitalAllocator(settings)
        self._expiry: dict[str, TimerHandle] = {}
        self._breached: set[str] = set()
        self._strained: set[str] = set()
        self._granting: dict[str, tuple[str, Mapping[str, Decimal]]] = {}
        self._filled_ns: dict[str, int] = {}
        self._following = False
        self._state = 0
        self._allocated: tuple[tuple[int, int], Allocation] | None = None
        bus.subscribe(FollowCapital, self._follow)
        bus.subscribe(CapitalSnapshotUpdated, self._changed)
        bus.subscribe(OrderFilled, self._filled)
        bus.subscribe(ReserveToppedUp, self._changed)
        bus.subscribe(CapitalReserved, self._granted)
        bus.subscribe(PairPlanned, self._planned, late=True)
        bus.subscribe(CapitalReleased, self._ended)

    # --- reading ---

    def allocation(self) -> Allocation:
        """Return the pools by venue at the newest equity, what the reserve lends included."""
        known = (self._snapshots.changes, self._reservations.loans)
        if self._allocated is None or self._allocated[0] != known:
            self._allocated = (known, self._allocate())
        return self._allocated[1]

    def _allocate(self) -> Allocation:
        allocation = self._allocator.allocate(self._told())
        reserve, arbitrage = allocation.pools[Pool.RESERVE], allocation.pools[Pool.ARBITRAGE]
        for venue, lent in self._reservations.topped_up.items():
            moved = min(lent, reserve.get(venue, ZERO))  # a reserve that shrank lends what is left
            if moved > 0 and venue in arbitrage:
                arbitrage[venue] += moved
                reserve[venue] -= moved
        return allocation

    def _told(self) -> dict[str, Decimal]:
        """Return equity by venue, of the venues that have told it."""
        return {
            venue: balance.equity
            for venue in self._snapshots.venues()
            if (balance := self._snapshots.balance(venue)) is not None
        }

    def pools(self) -> dict[str, dict[str, Decimal]]:
        """Return pool -> {total, reserved, in_use, available} in USD."""
        allocation = self.allocation()
        view = {}
        for pool in Pool:
            total = allocation.total(pool)
            in_use = self._reservations.in_use(pool)
            held = self._reservations.held(pool)
            view[str(pool)] = {
                "total": total,
                "reserved": held - in_use,
                "in_use": in_use,
                "available": max(total - held, ZERO),
            }
        view["unallocated"] = {"total": allocation.unallocated}
        return view

    def reserved_total(self) -> Decimal:
        """Return everything that is set aside or in use, USD: 0 when all is flat."""
        return sum((self._reservations.held(pool) for pool in Pool), ZERO)

    def equity_age_s(self) -> tuple[float | None, float]:
        """Return the age of the newest equity sample (None before the first) and its limit."""
        limit_s = self._settings.snapshot_max_age_s + self._settings.snapshot_interval_s
        if not self._equity.sampled_ns:
            return None, limit_s
        return (self._clock.now_ns() - self._equity.sampled_ns) / SECOND, limit_s

    def margin_ratio(self, venue: str) -> Decimal | None:
        """Return margin in use plus what is set aside there, over equity; None when not known."""
        balance = self._snapshots.balance(venue)
        if balance is None or balance.equity <= 0:
            return None
        used = max(balance.equity - balance.free, ZERO) + self._reservations.unsent(venue)
        return used / balance.equity

    def breach(self) -> str:
        """Return which pools hold more than what their equity has shrunk to, or ""."""
        return ", ".join(sorted(self._breached)) if self._breached else ""

    def claim(self, pool: str, notional: Mapping[str, Decimal]) -> Claim:
        """Return what `notional` (venue -> settle notional) would take of a pool, if it fits."""
        legs: dict[str, Decimal] = {}
        try:
            for venue, amount in notional.items():
                legs[venue] = self._margin(venue, amount)
            self._check(pool, legs)
        except CapitalShort as short:
            return Claim(pool, legs, str(short), self._state)
        return Claim(pool, legs, "", self._state)

    # --- granting: what is granted counts at once, before its event is folded ---

    def reserve(
        self, *, reservation_id: str, pool: str, owner: str, notional: Mapping[str, Decimal]
    ) -> None:
        """Set margin aside on every venue of `notional` (venue -> settle notional), or on none.

        Raises `CapitalShort` with the numbers; the caller journals its refusal.
        """
        claim = self.claim(pool, notional)
        self.grant(claim, reservation_id)
        self._bus.publish(self.reservation(claim, reservation_id=reservation_id, owner=owner))

    def grant(self, claim: Claim, reservation_id: str) -> None:
        """Count a claim from now on; the caller publishes its reservation in the same moment.

        Raises `CapitalShort` like `reserve`, `StateConflict` for an id that is taken.
        """
        if reservation_id in self._granting or self._reservations.get(reservation_id):
            raise StateConflict(f"reservation {reservation_id} was made already")
        if claim.shortage:
            raise CapitalShort(claim.shortage)
        if claim.state != self._state:
            self._check(claim.pool, claim.legs)
        self._granting[reservation_id] = (claim.pool, claim.legs)
        self._changed(None)

    def reservation(self, claim: Claim, *, reservation_id: str, owner: str) -> CapitalReserved:
        """Return the reservation of a claim, alone or for a record that contains it."""
        now_ns = self._clock.now_ns()
        return CapitalReserved(
            ts_ns=now_ns,
            correlation_id=owner,
            reservation_id=reservation_id,
            pool=claim.pool,
            owner=owner,
            legs=claim.legs,
            leverage={venue: self._leverage_of(venue) for venue in claim.legs},
            expires_ns=now_ns + int(self._settings.reservation_ttl_s * SECOND),
        )

    def _margin(self, venue: str, amount: Decimal) -> Decimal:
        rate = self._usd_rate(venue)
        if rate is None:
            raise CapitalShort(f"the settle currency of {venue} has no USD rate")
        if not amount.is_finite() or amount <= 0:
            raise CapitalShort(f"{venue}: notional was {amount}, more than 0 was expected")
        return amount * rate / self._leverage_of(venue)

    def _leverage_of(self, venue: str) -> Decimal:
        found = self._leverages.get(venue)
        if found is None:
            found = self._leverages[venue] = self._leverage(venue)
        return found

    def _check(self, pool: str, legs: Mapping[str, Decimal]) -> None:
        """Raise `CapitalShort` unless `legs` (venue -> USD) fit into what is left."""
        room = self._room(pool, tuple(legs))
        asked = ZERO
        for venue, amount in legs.items():
            free = room.free[venue]
            if amount > free:
                raise CapitalShort(
                    f"{venue}: margin {plain(amount)} USD, free {plain(max(free, ZERO))} USD"
                )
            asked += amount
        if asked > room.available:
            raise CapitalShort(
                f"pool {pool}: asked {plain(asked)} USD, "
                f"available {plain(max(room.available, ZERO))} USD"
            )

    def _room(self, pool: str, venues: tuple[str, ...]) -> _Room:
        """Return what is left, measured anew after any change of capital or of a balance."""
        state = (self._state, self._snapshots.changes)
        room = self._rooms.get((pool, venues))
        if room is None or room.state != state or self._clock.monotonic_ns() > room.until_ns:
            free, until_ns = self._free(venues)
            room = _Room(state, until_ns, self._available(pool), free)
            self._rooms[pool, venues] = room
        return room

    def _free(self, venues: tuple[str, ...]) -> tuple[dict[str, Decimal], int]:
        """Return the free margin of venues, and when (monotonic) the first is too old."""
        free: dict[str, Decimal] = {}
        now_ns = self._clock.monotonic_ns()
        told_ns = now_ns
        for venue in venues:
            balance = self._snapshots.balance(venue)
            if balance is None or now_ns - balance.told_ns > self._oldest_ns:
                age_s = self._snapshots.age_s(venue)
                age = "never told" if age_s is None else f"{age_s:.1f} s old"
                raise CapitalShort(
                    f"balances of {venue} are {age}, "
                    f"at most {self._settings.snapshot_max_age_s:g} s allowed"
                )
            free[venue] = balance.free - self._set_aside(venue, balance.told_ns)
            told_ns = min(told_ns, balance.told_ns)
        return free, told_ns + self._oldest_ns

    def _available(self, pool: str) -> Decimal:
        held = self._reservations.held(pool)
        for name, granted in self._granting.values():
            held += sum(granted.values(), ZERO) if name == pool else ZERO
        return self.allocation().total(pool) - held

    def _set_aside(self, venue: str, told_ns: int) -> Decimal:
        """Return what the venue's free margin does not show yet.

        Fills since the venue told it count in full: its margin is taken, its figure is old.
        """
        granting = ZERO
        for _, legs in self._granting.values():
            granting += legs.get(venue, ZERO)
        if self._filled_ns.get(venue, -1) < told_ns:
            return granting + self._reservations.unsent(venue)
        return granting + sum((self._reservations.held(pool, venue) for pool in Pool), ZERO)

    def release(self, reservation_id: str, reason: str) -> None:
        """End a reservation; harmless when it has ended."""
        if self._reservations.get(reservation_id) is not None:
            self._bus.publish(
                CapitalReleased(
                    ts_ns=self._clock.now_ns(), reservation_id=reservation_id, reason=reason
                )
            )

    # --- following ---

    def resume(self) -> None:
        """Set the expiry of every unsent reservation after recovery."""
        for reservation in self._reservations:
            self._watch_expiry(reservation.reservation_id, reservation.expires_ns)

    def _filled(self, event: OrderFilled) -> None:
        self._filled_ns[event.venue] = self._clock.monotonic_ns()
        self._changed(event)

    def _planned(self, event: PairPlanned) -> None:
        """Its orders go out by the same record: there is nothing unsent that could expire."""
        self._granting.pop(event.reservation.reservation_id, None)
        self._changed(event)

    def _granted(self, event: CapitalReserved) -> None:
        self._granting.pop(event.reservation_id, None)
        self._watch_expiry(event.reservation_id, event.expires_ns)
        self._changed(event)

    def _watch_expiry(self, reservation_id: str, expires_ns: int) -> None:
        delay_ns = max(expires_ns - self._clock.now_ns(), 0)
        self._expiry[reservation_id] = self._timers.call_later(
            delay_ns, lambda: self._expire(reservation_id)
        )

    def _expire(self, reservation_id: str) -> None:
        self._expiry.pop(reservation_id, None)
        reservation = self._reservations.get(reservation_id)
        if reservation is not None and not reservation.sent:
            self.release(reservation_id, "expired_unsent")

    def _ended(self, event: CapitalReleased) -> None:
        timer = self._expiry.pop(event.reservation_id, None)
        if timer is not None:
            timer.cancel()
        self._changed(event)

    def _changed(self, _event: object) -> None:
        """Look at the pools once everything durable of this moment is folded."""
        self._state += 1
        if not self._following:
            self._following = True
            self._bus.publish(FollowCapital(ts_ns=self._clock.now_ns()))

    def _follow(self, _event: FollowCapital) -> None:
        self._following = False
        self._granting.clear()
        self._state += 1
        self._top_up()
        view = self.pools()
        self._watch_breach(view)
        self._watch_margin()
        self._bus.publish(
            CapitalUpdated(
                ts_ns=self._clock.now_ns(),
                source="capital",
                pools=view,
                drawdown=self._equity.drawdown(),
            )
        )

    def _top_up(self) -> None:
        """Lend reserve capital while arbitrage uses more than its share of its own pool."""
        base = self._allocator.allocate(self._told())
        limit = base.total(Pool.ARBITRAGE) * self._settings.reserve_top_up_ratio
        busy = self._reservations.held(Pool.ARBITRAGE) > limit
        for venue, reserve in base.pools[Pool.RESERVE].items():
            lent = self._reservations.topped_up.get(venue, ZERO)
            wanted = reserve if busy else ZERO
            if (wanted > 0) == (lent > 0):
                continue
            self._bus.publish(
                ReserveToppedUp(
                    ts_ns=self._clock.now_ns(),
                    venue=venue,
                    pool=Pool.ARBITRAGE,
                    amount_usd=wanted - lent,
                )
            )

    def _watch_breach(self, view: Mapping[str, Mapping[str, Decimal]]) -> None:
        told = set(self._snapshots.venues())
        for pool in Pool:
            figures = view[pool]
            held = figures["reserved"] + figures["in_use"]
            if held <= figures["total"]:
                self._breached.discard(pool)
                continue
            silent = any(set(r.legs) - told for r in self._reservations if r.pool == pool)
            if pool not in self._breached and not silent:
                self._breached.add(pool)
                self._alarm(
                    "pool_breached",
                    f"pool {pool} holds {plain(held)} USD of {plain(figures['total'])} USD: its "
                    "equity shrank by a loss or a withdrawal; no new pairs until positions shrink",
                )

    def _watch_margin(self) -> None:
        for venue in self._snapshots.venues():
            ratio, limit = self.margin_ratio(venue), self.margin_limit(venue)
            if ratio is not None and ratio < limit:
                self._strained.discard(venue)
            elif venue not in self._strained:
                self._strained.add(venue)
                text = "not known: no equity" if ratio is None else f"{ratio:.3f} of equity"
                self._alarm(
                    "margin_strained",
                    f"margin in use on {venue} is {text}, limit {plain(limit)}; nothing opens "
                    "there until it shrinks or money is added",
                )

    def _alarm(self, name: str, text: str) -> None:
        now_ns = self._clock.now_ns()
        self._bus.publish(AlertFired(ts_ns=now_ns, name=name, severity="high", text=text))
