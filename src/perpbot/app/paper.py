"""Paper trading: real public quotes, fills by an exchange of our own, no order leaves the process.

Takers fill against the book as it is `paper.latency_ms` after the decision; makers only when the
market trades through their price.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

from perpbot.domain.events import InstrumentChanged, QuoteUpdated
from perpbot.domain.instruments import Instrument
from perpbot.domain.money import BPS, ZERO
from perpbot.domain.orders import OrderRequest
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import MS, Clock, Timers
from perpbot.simulation.accountant import Accountant
from perpbot.simulation.exchange import Exchange
from perpbot.simulation.model import Contract, Profile
from perpbot.simulation.settings import PaperSettings
from perpbot.simulation.venue import SimulatedVenue
from perpbot.venues.port import Venue


class PaperVenue:
    """The trading side of one venue on paper."""

    def __init__(
        self,
        venue: Venue,
        instruments: Sequence[Instrument],
        bus: EventBus,
        clock: Clock,
        timers: Timers,
        lookup: Callable[[str], OrderRequest | None],
        settings: PaperSettings,
        *,
        kept_usd: Decimal | None = None,
    ) -> None:
        """`kept_usd` is what the account held when an earlier run ended; None opens a new one."""
        capabilities = venue.capabilities
        settle = instruments[0].settle if instruments else "USDT"
        exchange = Exchange(
            Profile(
                name=venue.name,
                maker_fee=capabilities.maker_fee_bps / BPS,
                taker_fee=capabilities.taker_fee_bps / BPS,
                settle=settle,
                # It forgets when the process ends, and the journal does not: an id that was used
                # in an earlier run would pass for what is booked already.
                first_id=clock.now_ns() // MS,
            ),
            [contract_of(instrument) for instrument in instruments],
            clock.now_ns,
            Accountant(),
        )
        balance = settings.balance_usd if kept_usd is None else max(kept_usd, ZERO)
        exchange.open_account(venue.account_name, {settle: balance})
        self._simulated = SimulatedVenue(
            exchange,
            account_name=venue.account_name,
            capabilities=capabilities,
            bus=bus,
            clock=clock,
            timers=timers,
            lookup=lookup,
            latency_ns=int(settings.latency_ms * MS),
        )
        bus.subscribe(QuoteUpdated, self._simulated.on_quote)
        bus.subscribe(InstrumentChanged, self._relist)

    def _relist(self, event: InstrumentChanged) -> None:
        if event.after.venue == self._simulated.name:
            self._simulated.exchange.relist(contract_of(event.after))

    def start(self) -> None:
        """Say that orders can be taken; the public side is the venue's own."""
        self._simulated.start(channels=("private", "trading"))


def contract_of(instrument: Instrument) -> Contract:
    """Return the contract that an exchange of ours lists for a real instrument."""
    return Contract(
        symbol=instrument.symbol,
        asset=instrument.asset,
        base=instrument.base,
        settle=instrument.settle,
        tick_size=instrument.tick_size,
        quantity_step=instrument.quantity_step,
        min_quantity=instrument.min_quantity,
        min_notional=instrument.min_notional,
        price_digits=instrument.price_digits,
        contract_size=instrument.contract_size,
        price_multiplier=instrument.price_multiplier,
        wire_code=instrument.wire_code,
        funding_interval_s=instrument.funding_interval_s,
        max_leverage=max(instrument.max_leverage, 1),
        maintenance_ratio=Decimal("0.005"),
    )
