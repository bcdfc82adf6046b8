"""The deterministic core of a node: everything between reports coming in and commands going out.

The same core runs live, on paper, in the demo, in a replay and in a simulation; only the clock,
the timers, the journal and whoever answers its commands differ. It reads no clock, draws no random
number and performs no I/O of its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from perpbot.configuration import Settings, effective
from perpbot.domain.capabilities import Capabilities
from perpbot.domain.events import (
    BusOverflow,
    Event,
    JournalRepaired,
    QuoteUpdated,
    RunStarted,
    VenueReconciled,
)
from perpbot.domain.instruments import Instrument
from perpbot.domain.money import ZERO
from perpbot.domain.pairs import PairPlan
from perpbot.execution.engine import ExecutionEngine
from perpbot.execution.killswitch import KillSwitch
from perpbot.execution.nonces import NonceMarks
from perpbot.execution.order_maker import OrderMaker
from perpbot.execution.pair import PairBook
from perpbot.execution.planner import PairPlanner, PairTerms
from perpbot.execution.policies import (
    FallbackPolicy,
    MarketCondition,
    Patience,
    RetryPolicy,
)
from perpbot.execution.reconcile import OVERLAP_NS, ReconcileDriver
from perpbot.execution.surroundings import Account, Surroundings
from perpbot.execution.trader import PairTrader
from perpbot.execution.watch import OrderWatch
from perpbot.guardian.epoch import Epoch
from perpbot.guardian.hand import STRATEGY as GUARDIAN
from perpbot.kernel.bus import EventBus, EventLog
from perpbot.kernel.clock import MS, SECOND, Clock, Timers
from perpbot.kernel.fold import DurableState
from perpbot.kernel.ids import IdMaker
from perpbot.market.basis import BasisTracker
from perpbot.market.engine import QuoteEngine
from perpbot.market.moves import Moves
from perpbot.portfolio.capital import CapitalOrchestrator
from perpbot.portfolio.currency import CurrencyRates
from perpbot.portfolio.equity import EquityBook, EquitySampler
from perpbot.portfolio.exposure import PositionAggregator
from perpbot.portfolio.fence import InstanceFence
from perpbot.portfolio.intake import BookedTrades, ReportIntake
from perpbot.portfolio.leases import Leases
from perpbot.portfolio.orders import OrderTable
from perpbot.portfolio.positions import PositionBook
from perpbot.portfolio.readiness import Readiness
from perpbot.portfolio.reservations import Reservations
from perpbot.portfolio.settings import CapitalSettings
from perpbot.portfolio.snapshot import CapitalSnapshotProvider
from perpbot.risk.latches import RiskLatches
from perpbot.risk.manager import RiskManager
from perpbot.risk.settings import RiskSettings
from perpbot.risk.world import RiskWorld
from perpbot.strategies.arbitrage.costs import FeeModel
from perpbot.strategies.arbitrage.exits import ExitManager
from perpbot.strategies.arbitrage.scanner import Scanner


class Markets(msgspec.Struct, frozen=True):
    """What is traded, where, and by which account."""

    instruments: Mapping[tuple[str, str], Instrument]
    capabilities: Mapping[str, Capabilities]
    accounts: Mapping[str, Account]
    rates: CurrencyRates

    def steps(self, venue: str) -> dict[str, Decimal]:
        """Return the quantity step of each asset that is traded on a venue."""
        return {
            asset: instrument.quantity_step
            for (name, asset), instrument in self.instruments.items()
            if name == venue
        }


class Folds:
    """Every component whose state is the fold of durable events."""

    def __init__(self) -> None:
        self.orders = OrderTable()
        self.booked = BookedTrades()
        self.positions = PositionBook()
        self.leases = Leases()
        self.reservations = Reservations()
        self.equity = EquityBook()
        self.pairs = PairBook()
        self.latches = RiskLatches()
        self.runs = Runs()
        self.nonces = NonceMarks()

    def in_use(self) -> frozenset[tuple[str, str]]:
        """Return the (venue, asset) that pairs which are not flat and orders at work need."""
        legs = {(pair.venue(index), pair.plan.asset) for pair in self.pairs for index in (0, 1)}
        orders = {(o.request.venue, o.request.asset) for o in self.orders.unsettled()}
        return frozenset(legs | orders)

    def state(self) -> DurableState:
        """Return them as one state."""
        return DurableState(
            (
                self.orders,
                self.booked,
                self.positions,
                self.leases,
                self.reservations,
                self.equity,
                self.pairs,
                self.latches,
                self.runs,
                self.nonces,
            )
        )


class Runs:
    """The number of the run that wrote last, and up to when our books are whole, by venue.

    Ids of a new run never repeat an old one's. Before the first run nothing was ours: what an
    account did then is not booked.
    """

    name = "runs"

    def __init__(self) -> None:
        self.epoch = 0
        self._born_ns = 0
        self._agreed_ns: dict[str, int] = {}

    def whole_until_ns(self, venue: str) -> int:
        """Return when it last agreed (UTC, with a margin), else when the first run began."""
        return self._agreed_ns.get(venue, self._born_ns)

    def folds(self) -> Mapping[type[Event], Any]:
        """What it lives on."""
        return {
            RunStarted: self._started,
            VenueReconciled: self._reconciled,
            JournalRepaired: self._repaired,
        }

    def _started(self, event: RunStarted) -> None:
        self.epoch = event.epoch
        self._born_ns = self._born_ns or event.ts_ns

    def _repaired(self, event: JournalRepaired) -> None:
        self.epoch = max(self.epoch, event.epoch)

    def _reconciled(self, event: VenueReconciled) -> None:
        if event.agreed:
            self._agreed_ns[event.venue] = max(event.ts_ns - OVERLAP_NS, self._born_ns)

    def snapshot(self) -> object:
        """The runs as plain values."""
        return {"epoch": self.epoch, "born_ns": self._born_ns, "agreed_ns": self._agreed_ns}

    def restore(self, state: Any) -> None:
        """Take over a snapshot."""
        self.epoch, self._born_ns = state["epoch"], state["born_ns"]
        self._agreed_ns = dict(state["agreed_ns"])


class Core:
    """A node without transports. `start` begins its timers; `stop_opening` and `close_all` end it.

    `folds` comes recovered from the journal (or new); `journal` takes what happens from now on.
    """

    def __init__(
        self,
        settings: Settings,
        markets: Markets,
        folds: Folds,
        *,
        clock: Clock,
        timers: Timers,
        rng: random.Random,
        journal: EventLog,
        wake: Callable[[], None] | None = None,
        on_halt: Callable[[BaseException], None] | None = None,
        leave: Callable[[], None] = lambda: None,
        takeover: Epoch | None = None,
        first_epoch: int = 1,
    ) -> None:
        """`takeover` is the last time that a guardian acted for a run before this one.

        `first_epoch` is the number of the first run of a new journal.
        """
        self.settings = settings
        self._takeover = takeover
        # Above every run of ours and every guardian's: no id of theirs can come again.
        before = max(folds.runs.epoch, 0 if takeover is None else takeover.number)
        self.epoch = before + 1 if folds.runs.epoch else max(before + 1, first_epoch)
        self.markets = markets
        self.folds = folds
        self.clock = clock
        self._timers = timers
        self._strains: set[str] = set()
        self._patiences: dict[tuple[str, str, str], Patience] = {}
        self._journal = journal
        self._capital_settings: dict[str, CapitalSettings] = {}
        self._settles: dict[str, str] = {}
        for instrument in markets.instruments.values():
            self._settles.setdefault(instrument.venue, instrument.settle)
        self.bus = EventBus(
            clock,
            journal,
            wake=wake,
            on_halt=on_halt,
            high_water=settings.bus.high_water_events,
            hard_limit=settings.bus.hard_limit_events,
        )
        self.state = folds.state()
        self.state.attach(self.bus)
        self.bus.subscribe(BusOverflow, self._overflow)
        self._build_market()
        self._build_portfolio()
        self._build_risk()
        self._build_execution(rng, leave)
        self._build_strategy()

    # --- building, floor by floor ---

    def _build_market(self) -> None:
        settings, bus, clock = self.settings, self.bus, self.clock
        self.quotes = QuoteEngine(
            bus,
            clock,
            settings.market,
            self.markets.capabilities,
            self.markets.rates.usd,
            {
                (venue, asset): effective(settings, symbol=asset, venue=venue).market
                for venue, asset in self.markets.instruments
            },
        )
        for instrument in self.markets.instruments.values():
            self.quotes.slot(instrument)  # pairs are left in markets where nothing opens, too
        self.basis = BasisTracker(self.quotes, settings.market)
        self.moves = Moves(
            settings.risk.fast_market_window_ms,
            min(
                (limits.fast_market_move_bps for limits in self._risk_overrides().values()),
                default=settings.risk.fast_market_move_bps,
            ),
            self._freeze,
        )
        bus.subscribe(QuoteUpdated, self.moves.note)

    def _build_portfolio(self) -> None:
        folds, bus, clock, settings = self.folds, self.bus, self.clock, self.settings
        self.snapshots = CapitalSnapshotProvider(bus, clock, self.markets.rates)
        self.readiness = Readiness(bus)
        self.intake = ReportIntake(
            bus,
            clock,
            folds.orders,
            folds.booked,
            self.markets.rates,
            folds.pairs.owner_of,
            venue_rate=self._venue_rate,
            resolve_s=settings.execution.resolve_limit_s,
        )
        self.aggregator = PositionAggregator(bus, clock, folds.positions, self.quotes.mark)
        self.capital = CapitalOrchestrator(
            bus,
            clock,
            self._timers,
            settings.capital,
            folds.reservations,
            self.snapshots,
            folds.equity,
            self._venue_rate,
            lambda venue: self._capital_of(venue).leverage,
            lambda venue: self._capital_of(venue).max_margin_ratio,
        )
        self.sampler = EquitySampler(
            bus, clock, settings.capital, folds.equity, self.snapshots, self.venue_profit,
            lambda: folds.pairs.moved(self.quotes.mark),
            settings_of=self._capital_of,
            day_start_hour_utc=settings.risk.day_start_hour_utc,
        )  # fmt: skip

    def _venue_rate(self, venue: str) -> Decimal | None:
        """Return the USD rate of the settle currency of a venue."""
        settle = self._settles.get(venue)
        return None if settle is None else self.markets.rates.usd(settle)

    def _capital_of(self, venue: str) -> CapitalSettings:
        """Return the capital settings with the overrides of a venue, resolved once."""
        found = self._capital_settings.get(venue)
        if found is None:
            found = effective(self.settings, venue=venue).capital
            self._capital_settings[venue] = found
        return found

    def _build_risk(self) -> None:
        self.risk = RiskManager(
            self.bus,
            RiskWorld(
                clock=self.clock,
                settings=self.settings.risk,
                latches=self.folds.latches,
                orders=self.folds.orders,
                positions=self.folds.positions,
                aggregator=self.aggregator,
                capital=self.capital,
                reservations=self.folds.reservations,
                equity=self.folds.equity,
                readiness=self.readiness,
                market=self.quotes,
                instruments=self.markets.instruments,
                capabilities=self.markets.capabilities,
                usd_rate=self.markets.rates.usd,
                overloaded=lambda: bool(self._strains),
                low_space=lambda: bool(getattr(self._journal, "low_space", False)),
                overrides=self._risk_overrides(),
            ),
        )

    def _risk_overrides(self) -> dict[tuple[str, str], RiskSettings]:
        return {
            (venue, asset): effective(self.settings, symbol=asset, venue=venue).risk
            for venue, asset in self.markets.instruments
        }

    def _build_execution(self, rng: random.Random, leave: Callable[[], None]) -> None:
        folds, bus, clock, settings = self.folds, self.bus, self.clock, self.settings
        self.around = Surroundings(
            self.markets.instruments,
            self.markets.capabilities,
            self.markets.accounts,
            self.quotes,
        )
        self.ids = IdMaker(epoch=self.epoch)
        InstanceFence(
            bus,
            clock,
            folds.orders,
            self.ids,
            lambda venue: self.markets.accounts[venue].name,
            friends=(GUARDIAN,),
        )
        self.maker = OrderMaker(
            clock, self.ids, self.around, expiry_ms=settings.execution.order_expiry_ms
        )
        fallback = FallbackPolicy(settings.execution)
        self.engine = ExecutionEngine(
            bus,
            clock,
            self.ids,
            folds.pairs,
            folds.leases,
            self.risk,
            self.capital,
            self.maker,
            PairPlanner(
                self.around,
                fallback,
                _terms(settings),
                self._condition,
                {asset: _terms(settings, asset) for _, asset in self.markets.instruments},
            ),
            _terms(settings),
        )
        self.trader = PairTrader(
            bus,
            clock,
            self._timers,
            folds.pairs,
            folds.orders,
            folds.positions,
            self.risk,
            self.maker,
            self.around,
            fallback,
            RetryPolicy(settings.execution, rng),
            self._patience,
        )
        self.watch = OrderWatch(
            bus,
            clock,
            self._timers,
            folds.orders,
            self.intake,
            alarm_after_s=settings.execution.resolve_limit_s,
        )
        self.reconcile = ReconcileDriver(
            bus,
            clock,
            self._timers,
            folds.orders,
            folds.positions,
            self.intake,
            self.markets.capabilities.values(),
            self.markets.steps,
            confirmations=settings.execution.reconcile_confirmations,
            quiet_s=settings.execution.reconcile_quiet_s,
        )
        self.kill_switch = KillSwitch(bus, clock, folds.orders, folds.pairs, folds.latches, leave)

    def _build_strategy(self) -> None:
        settings, markets = self.settings, self.markets
        fees = FeeModel.of(markets.capabilities, settings)
        overrides = {
            asset: effective(settings, symbol=asset).arbitrage for _, asset in markets.instruments
        }
        self.scanner = Scanner(
            self.bus,
            self.clock,
            self.quotes,
            self.basis,
            settings.arbitrage,
            fees,
            markets.instruments,
            {venue: c.operator for venue, c in markets.capabilities.items()},
            markets.rates.usd,
            overrides=overrides,
        )
        self.exits = ExitManager(
            self.bus,
            self.clock,
            self._timers,
            self.folds.pairs,
            self.quotes,
            self.basis,
            settings.arbitrage,
            fees,
            overrides=overrides,
        )

    # --- running ---

    def start(self, *, mode: str, version: str, config_hash: str = "") -> None:
        """Journal the start of the run, continue what the journal left, begin the timers."""
        self.bus.publish(
            RunStarted(
                ts_ns=self.clock.now_ns(),
                epoch=self.epoch,
                mode=mode,
                version=version,
                config_hash=config_hash,
            )
        )
        self.capital.resume()
        self.watch.resume()
        self.kill_switch.resume()
        self.trader.wait_for(self._traded_by_guardian())
        self.trader.resume()
        self.reconcile.start(self.folds.runs.whole_until_ns)
        self.exits.start()
        self._every(self.settings.market.basis_sample_interval_ms * MS, self._sample_market)
        self._every(int(self.settings.capital.snapshot_interval_s * SECOND), self.sampler.sample)

    def _traded_by_guardian(self) -> frozenset[str]:
        """Return the venues whose books have not agreed with ours since a guardian took over."""
        if self._takeover is None:
            return frozenset()
        at_ns, whole_until_ns = self._takeover.at_ns, self.folds.runs.whole_until_ns
        return frozenset(
            venue for venue in self.markets.capabilities if whole_until_ns(venue) <= at_ns
        )

    def stop_opening(self) -> None:
        """Open nothing more; what is open goes on."""
        self.scanner.stop_opening()

    def close_all(self, reason: str) -> None:
        """Open nothing more and leave every pair."""
        self.stop_opening()
        self.exits.close_all(reason)

    @property
    def flat(self) -> bool:
        """Whether no pair, no order at work and no reservation is left."""
        return (
            len(self.folds.pairs) == 0
            and next(self.folds.orders.unsettled(), None) is None
            and self.capital.reserved_total() == 0
        )

    def _every(self, interval_ns: int, work: Callable[[], None]) -> None:
        def run() -> None:
            if self.bus.halted is not None:
                return
            self._timers.call_later(interval_ns, run)
            work()

        self._timers.call_later(interval_ns, run)

    def _sample_market(self) -> None:
        now_ns = self.clock.monotonic_ns()
        self.quotes.sweep(now_ns)
        self.basis.sample(now_ns)

    def _freeze(self, asset: str, moved_bps: float) -> None:
        self.risk.freeze_fast_market(asset, moved_bps)

    def _patience(self, plan: PairPlan) -> Patience:
        key = (plan.asset, plan.long_venue, plan.short_venue)
        known = self._patiences.get(key)
        if known is None:
            known = self._patiences[key] = Patience.strictest(
                effective(self.settings, symbol=plan.asset, venue=venue).execution
                for venue in (plan.long_venue, plan.short_venue)
            )
        return known

    def _condition(self, asset: str) -> MarketCondition:
        frozen_until_ns = self.folds.latches.cooling_until_ns(f"fast:{asset}")
        return MarketCondition(high_volatility=frozen_until_ns > self.clock.now_ns())

    def _overflow(self, event: BusOverflow) -> None:
        self.strain("events", active=event.active)

    def strain(self, source: str, *, active: bool) -> None:
        """Open nothing while any source says that the node is under strain."""
        if active:
            self._strains.add(source)
        else:
            self._strains.discard(source)

    def venue_profit(self, venue: str) -> Decimal | None:
        """Return our own profit on a venue since its books began, USD; None without marks."""
        total = ZERO
        for key, position in self.folds.positions.items():
            if key[0] != venue:
                continue
            total += position.cash - position.fees + position.funding
            if position.quantity:
                mark = self.quotes.mark(venue, key[2])
                if mark is None:
                    return None
                total += position.quantity * mark
        return total


def _terms(settings: Settings, asset: str | None = None) -> PairTerms:
    """Return what is wanted of pairs: of one asset, or where nothing overrides it."""
    arbitrage = effective(settings, symbol=asset).arbitrage
    return PairTerms(
        strategy="arbitrage",
        pool="arbitrage",
        notional_min_usd=arbitrage.pair_notional_min_usd,
        notional_max_usd=arbitrage.pair_notional_max_usd,
        slippage_bps=Decimal(str(arbitrage.slippage_bps)),
        loss_budget_bps=Decimal(str(settings.execution.unwind_loss_budget_bps)),
        exit_level_bps=Decimal(str(arbitrage.exit_convergence_bps)),
        take_profit_bps=Decimal(str(arbitrage.take_profit_bps)),
        stop_bps=Decimal(str(arbitrage.stop_loss_bps)),
        max_hold_s=int(arbitrage.max_hold_s),
        max_pairs=arbitrage.max_concurrent_pairs,
        max_pairs_per_venue=arbitrage.max_pairs_per_venue,
    )
