"""The newest quotes, marks and funding rates of every market, and what was wrong with the others.

Venues write into slots (`perpbot.market.slot`), which publish what passes every check. Others ask
here what the market is now; the answers never invent anything: no usable quote, no opening.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from statistics import median

import msgspec

from perpbot.domain.capabilities import Capabilities
from perpbot.domain.errors import InvalidValue
from perpbot.domain.events import Event, FundingRateUpdated, MarkUpdated, QuoteUpdated
from perpbot.domain.instruments import Instrument
from perpbot.domain.money import decimal_of_float
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import MS, SECOND, Clock
from perpbot.market.offset import ClockOffset
from perpbot.market.settings import MarketSettings
from perpbot.market.slot import FORGET_NS, LEAST_PRICE, MOST_PRICE, Slot, SlotLimits

STANDSTILL_NS = SECOND
"""Who sweeps so much later than it wanted to stood still: what it reads then has waited."""
SETTLE_NS = SECOND
"""How long it may take to read what waited."""

UsdRate = Callable[[str], Decimal | None]
"""USD per unit of a settle currency; None where it is not known."""


class QuoteStatistics(msgspec.Struct, frozen=True):
    """Counts since the start, by venue; refusals and unreadable frames by reason too."""

    accepted: dict[str, int]
    refused: dict[str, dict[str, int]]
    unreadable: dict[str, dict[str, int]]
    offset_ms: dict[str, float]
    """Least receive minus venue time, by our wall clock: transit plus difference of the clocks."""


class QuoteEngine:
    """A `MarketSink` for venues and a `MarketView` for everyone else.

    Call `sweep` every `basis_sample_interval_ms`: it ends quotes of silent channels and moves the
    price bands. Where it comes too late the process stood still. Frames that waited meanwhile are
    read as if they had just come, and how old they are is known only as far as the venue's clock
    can be believed: nothing is usable until they have been read.
    """

    def __init__(
        self,
        bus: EventBus,
        clock: Clock,
        settings: MarketSettings,
        capabilities: Mapping[str, Capabilities],
        usd_rate: UsdRate,
        overrides: Mapping[tuple[str, str], MarketSettings] | None = None,
    ) -> None:
        """`overrides` holds what differs from `settings` by (venue, asset)."""
        self._bus = bus
        self._clock = clock
        self._settings = settings
        self._capabilities = capabilities
        self._usd_rate = usd_rate
        self._overrides = overrides or {}
        self._slots: dict[tuple[str, str], Slot] = {}
        self._of_asset: dict[str, list[Slot]] = {}
        self._offsets: dict[str, ClockOffset] = {}
        self._unreadable: dict[str, dict[str, int]] = {}
        self._marks: dict[tuple[str, str], tuple[Decimal, int]] = {}
        """Settle currency per base coin, and when it was told (monotonic)."""
        self._funding: dict[tuple[str, str], FundingRateUpdated] = {}
        self._longest_ns = settings.basis_sample_interval_ms * MS + STANDSTILL_NS
        self._swept_ns = 0
        self._settled_ns = 0
        """When the frames that waited during a standstill have been read (monotonic)."""
        bus.subscribe(MarkUpdated, self._on_mark)
        bus.subscribe(FundingRateUpdated, self._on_funding)

    # --- what feeds write to ---

    def slot(self, instrument: Instrument) -> Slot:
        """Return the slot of an instrument; the same object every time.

        Raises `InvalidValue` for a venue without declared capabilities.
        """
        key = (instrument.venue, instrument.asset)
        slot = self._slots.get(key)
        if slot is None:
            slot = Slot(instrument, self._limits(instrument), self._offset(key), self._bus.publish)
            self._slots[key] = slot
            self._of_asset.setdefault(instrument.asset, []).append(slot)
        return slot

    def publish(self, event: Event) -> None:
        """Publish a mark, funding rate, book, delta, trade or candle; refuse odd numbers."""
        if isinstance(event, MarkUpdated) and not _is_price(event.mark):
            self.refuse(event.venue, "bad_mark")
        elif isinstance(event, FundingRateUpdated) and not (
            math.isfinite(event.rate) and event.interval_s > 0
        ):
            self.refuse(event.venue, "bad_funding_rate")
        else:
            self._bus.publish(event)

    def refuse(self, venue: str, reason: str) -> None:
        """Count a frame that could not be read."""
        reasons = self._unreadable.setdefault(venue, {})
        reasons[reason] = reasons.get(reason, 0) + 1

    def _limits(self, instrument: Instrument) -> SlotLimits:
        settings = self._settings_of(instrument.venue, instrument.asset)
        capabilities = self._capability(instrument.venue)
        rate = self._usd_rate(instrument.settle)
        return SlotLimits(
            silence_ns=int(capabilities.quote_interval_s * settings.silence_intervals * SECOND),
            max_jump_bps=settings.max_price_jump_bps,
            confirmations=settings.jump_confirmations,
            sanity_factor=settings.price_sanity_factor,
            max_spread_bps=settings.max_spread_bps,
            least_touch=float(settings.min_touch_notional_usd / (rate or 1)),
        )

    def _offset(self, key: tuple[str, str]) -> ClockOffset:
        venue = key[0]
        offset = self._offsets.get(venue)
        if offset is None:
            lag_ms = self._settings_of(*key).max_lag_ms or self._capability(venue).lag_floor_ms
            offset = self._offsets[venue] = ClockOffset(int(lag_ms * MS))
        return offset

    def _settings_of(self, venue: str, asset: str) -> MarketSettings:
        return self._overrides.get((venue, asset), self._settings)

    def _capability(self, venue: str) -> Capabilities:
        found = self._capabilities.get(venue)
        if found is None:
            raise InvalidValue(
                f"venue was {venue!r}, one of {', '.join(sorted(self._capabilities))} expected"
            )
        return found

    # --- what the market is now ---

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._slots.values())

    def find(self, venue: str, asset: str) -> Slot | None:
        """Return the slot of a market, if it is watched."""
        return self._slots.get((venue, asset))

    def latest(self, venue: str, asset: str) -> QuoteUpdated | None:
        """Return the last accepted quote, however old."""
        slot = self._slots.get((venue, asset))
        return None if slot is None else slot.quote

    def touch(self, venue: str, asset: str) -> tuple[float, float] | None:
        """Return the newest bid and ask, be they late or old: for what must leave a position."""
        slot = self._slots.get((venue, asset))
        return None if slot is None else slot.touch()

    def usable(self, venue: str, asset: str) -> bool:
        """Whether that quote may open something: fresh, uncrossed, in sequence, not polled."""
        slot = self._slots.get((venue, asset))
        now_ns = self._clock.monotonic_ns()
        if slot is None or slot.fresh_until_ns < now_ns:
            return False
        return now_ns >= self._settled_ns and not self._stands_still(now_ns)

    def _stands_still(self, now_ns: int) -> bool:
        """Whether the last sweep is so long ago that the process cannot have run meanwhile."""
        return 0 < self._swept_ns < now_ns - self._longest_ns

    def mark(self, venue: str, asset: str) -> Decimal | None:
        """Return USD per base coin: the venue's mark, else the mid of a usable quote.

        A mark older than a minute gives way to a usable quote; without one it is still returned.
        """
        key = (venue, asset)
        slot = self._slots.get(key)
        rate = None if slot is None else self._usd_rate(slot.instrument.settle)
        if slot is None or rate is None:
            return None
        known = self._marks.get(key)
        now_ns = self._clock.monotonic_ns()
        if known is not None and now_ns - known[1] <= FORGET_NS:
            return known[0] * rate
        quote = slot.quote
        if quote is not None and slot.fresh_until_ns >= now_ns:
            return decimal_of_float((quote.bid + quote.ask) / 2) * rate
        return None if known is None else known[0] * rate

    def usd_rate(self, venue: str, asset: str) -> Decimal | None:
        """Return USD per unit of a market's settle currency; None where it is not known."""
        slot = self._slots.get((venue, asset))
        return None if slot is None else self._usd_rate(slot.instrument.settle)

    def funding(self, venue: str, asset: str) -> FundingRateUpdated | None:
        """Return the last funding rate that the venue told."""
        return self._funding.get((venue, asset))

    def _on_mark(self, event: MarkUpdated) -> None:
        if not _is_price(event.mark):
            self.refuse(event.venue, "bad_mark")
            return
        price = decimal_of_float(event.mark, "mark")
        self._marks[event.venue, event.asset] = (price, self._clock.monotonic_ns())

    def _on_funding(self, event: FundingRateUpdated) -> None:
        self._funding[event.venue, event.asset] = event

    # --- now and then ---

    def sweep(self, now_ns: int) -> None:
        """End quotes of silent channels, forget old clock offsets, move the bands (monotonic).

        Also notices that it was not called for a while.
        """
        if self._stands_still(now_ns):
            self._settled_ns = now_ns + SETTLE_NS
        self._swept_ns = now_ns
        for slot in self._slots.values():
            slot.expire(now_ns)
        for offset in self._offsets.values():
            offset.turn(now_ns)
        for slots in self._of_asset.values():
            self._set_bands(slots, now_ns)

    def _set_bands(self, slots: list[Slot], now_ns: int) -> None:
        """Put every venue into a band around the median of what the venues believe.

        What nobody confirmed lately counts only while fewer than two venues speak: an old error
        of one venue must not join a new one of another against the rest.
        """
        known = [(slot, level) for slot in slots if (level := slot.level(now_ns))]
        spoken = [level for slot, level in known if slot.speaks(now_ns)]
        levels = spoken if len(spoken) > 1 else [level for _, level in known]
        if not levels:
            for slot in slots:
                slot.set_band(0.0, math.inf)
            return
        middle = median(levels)
        for slot in slots:
            settings = self._settings_of(slot.instrument.venue, slot.instrument.asset)
            width = settings.price_band_bps / 10_000
            slot.set_band(middle * (1 - width), middle * (1 + width))

    # --- looking in ---

    @property
    def accepted(self) -> int:
        """Quotes that passed every check, of all markets."""
        return sum(slot.accepted for slot in self._slots.values())

    def statistics(self) -> QuoteStatistics:
        """Return the counts."""
        accepted: dict[str, int] = {}
        refused: dict[str, dict[str, int]] = {}
        for (venue, _), slot in self._slots.items():
            accepted[venue] = accepted.get(venue, 0) + slot.accepted
            reasons = refused.setdefault(venue, {})
            for reason, count in slot.refused.items():
                reasons[reason] = reasons.get(reason, 0) + count
        wall_ns = self._clock.now_ns() - self._clock.monotonic_ns()
        return QuoteStatistics(
            accepted=accepted,
            refused=refused,
            unreadable={venue: dict(reasons) for venue, reasons in self._unreadable.items()},
            offset_ms={
                venue: (offset.floor_ns + wall_ns) / MS
                for venue, offset in self._offsets.items()
                if offset.known
            },
        )


def _is_price(value: float) -> bool:
    return LEAST_PRICE <= value <= MOST_PRICE  # which NaN is not
