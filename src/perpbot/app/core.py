"""The deterministic core of a node: everything between reports coming in and commands going out.

The same core runs live, on paper, in the demo, in a replay and in a simulation; only the clock,
the timers, the journal and whoever answers its commands differ. It reads no clock, draws no random
number and performs no I/O of its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal

from perpbot.app.folds import BOOKS, Folds
from perpbot.app.markets import Markets
from perpbot.app.overrides import Overrides
from perpbot.configuration import Settings
from perpbot.domain.events import (
    BusOverflow,
    InstrumentChanged,
    QuoteUpdated,
    RunStarted,
)
from perpbot.domain.money import ZERO
from perpbot.execution.engine import ExecutionEngine
from perpbot.execution.forgotten import ForgottenOrders
from perpbot.execution.instrument_watch import InstrumentWatch
from perpbot.execution.killswitch import KillSwitch
from perpbot.execution.order_maker import OrderMaker
from perpbot.execution.planner import PairPlanner
from perpbot.execution.policies import (
    FallbackPolicy,
    MarketCondition,
    RetryPolicy,
)
from perpbot.execution.reconcile import ReconcileDriver
from perpbot.execution.surroundings import Surroundings
from perpbot.execution.trader import PairTrader
from perpbot.execution.watch import OrderWatch
from perpbot.guardian.epoch import Epoch
from perpbot.guardian.hand import STRATEGY as GUARDIAN
from perpbot.kernel.bus import EventBus, EventLog
from perpbot.kernel.clock import MS, SECOND, Clock, Timers
from perpbot.kernel.ids import IdMaker
from perpbot.market.basis import BasisTracker
from perpbot.market.engine import QuoteEngine
from perpbot.market.moves import Moves
from perpbot.portfolio.capital import CapitalOrchestrator
from perpbot.portfolio.explained import ExplainedAdjustments
from perpbot.portfolio.exposure import PositionAggregator
from perpbot.portfolio.fence import InstanceFence
from perpbot.portfolio.intake import ReportIntake
from perpbot.portfolio.readiness import Readiness
from perpbot.portfolio.sampler import EquitySampler
from perpbot.portfolio.snapshot import CapitalSnapshotProvider
from perpbot.portfolio.unexplained import UnexplainedMoney
from perpbot.risk.manager import RiskManager
from perpbot.risk.world import RiskWorld
from perpbot.strategies.arbitrage.costs import FeeModel
from perpbot.strategies.arbitrage.exits import ExitManager
from perpbot.strategies.arbitrage.scanner import Scanner


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
        may_lack: bool = False,
        first_epoch: int = 1,
    ) -> None:
        """`takeover` is the last time that a guardian acted for a run before this one.

        `may_lack` says that the machine went down under that run, and that its last records may
        be missing. `first_epoch` is the number of the first run of a new journal.
        """
        self.settings = settings
        self._takeover = takeover
        self._may_lack = may_lack
        # Above every run of ours and every guardian's: no id of theirs can come again.
        before = max(folds.runs.epoch, 0 if takeover is None else takeover.number)
        self.epoch = before + 1 if folds.runs.epoch else max(before + 1, first_epoch)
        self.markets = markets
        self.folds = folds
        self.clock = clock
        self._timers = timers
        self._strains: set[str] = set()
        self._journal = journal
        self._overrides = Overrides(settings, markets.instruments)
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
        self.state.attach(self.bus, books=BOOKS)
        self.bus.subscribe(BusOverflow, self._overflow)
        self._build_market()
        self._build_portfolio()
        self._build_risk()
        self._build_orders()
        self._build_pairs(rng)
        self._build_watch(leave)
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
            self._overrides.market,
        )
        for instrument in self.markets.instruments.values():
            self.quotes.slot(instrument)  # pairs are left in markets where nothing opens, too
        self.basis = BasisTracker(self.quotes, settings.market)
        self.moves = Moves(
            settings.risk.fast_market_window_ms,
            min(
                (limits.fast_market_move_bps for limits in self._overrides.risk.values()),
                default=settings.risk.fast_market_move_bps,
            ),
            self._freeze,
        )
        bus.subscribe(QuoteUpdated, self.moves.note)

    def _build_portfolio(self) -> None:
        folds, bus, clock, settings = self.folds, self.bus, self.clock, self.settings
        self.snapshots = CapitalSnapshotProvider(bus, clock, self.markets.rates)
        self.intake = ReportIntake(
            bus,
            clock,
            folds.orders,
            folds.booked,
            folds.transfers,
            self.markets.rates,
            folds.pairs.owner_of,
            venue_rate=self._venue_rate,
            resolve_s=settings.execution.resolve_limit_s,
        )
        ExplainedAdjustments(bus, clock, folds.positions, folds.orders)
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
            lambda venue: self._overrides.capital(venue).leverage,
            lambda venue: self._overrides.capital(venue).max_margin_ratio,
        )
        self.money = UnexplainedMoney(
            bus, clock, settings.capital, folds.equity, self.snapshots, self.venue_profit,
            lambda venue: self.reconcile.ask(venue, "unexplained"),
        )  # fmt: skip
        self.readiness = Readiness(bus, self.money.doubt)
        self.sampler = EquitySampler(
            bus, clock, settings.capital, folds.equity, self.snapshots, self.money,
            lambda: folds.pairs.moved(self.quotes.mark),
            settings_of=self._overrides.capital,
            day_start_hour_utc=settings.risk.day_start_hour_utc,
        )  # fmt: skip

    def _venue_rate(self, venue: str) -> Decimal | None:
        """Return the USD rate of the settle currency of a venue."""
        settle = self._settles.get(venue)
        return None if settle is None else self.markets.rates.usd(settle)

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
                overrides=self._overrides.risk,
            ),
        )

    def _build_orders(self) -> None:
        self.around = Surroundings(
            self.markets.instruments,
            self.markets.capabilities,
            self.markets.accounts,
            self.quotes,
        )
        self.ids = IdMaker(epoch=self.epoch)
        InstanceFence(
            self.bus,
            self.clock,
            self.folds.orders,
            self.ids,
            lambda venue: self.markets.accounts[venue].name,
            friends=(GUARDIAN,),
        )
        ForgottenOrders(
            self.bus,
            self.clock,
            self.folds.orders,
            self.ids,
            self.markets.instruments,
            lambda venue: self.markets.accounts[venue].name,
            friends=(GUARDIAN,),
        )
        self.maker = OrderMaker(
            self.clock,
            self.ids,
            self.around,
            expiry_ms=self.settings.execution.order_expiry_ms,
        )

    def _build_pairs(self, rng: random.Random) -> None:
        folds, bus, clock = self.folds, self.bus, self.clock
        settings = self.settings.execution
        fallback, terms = FallbackPolicy(settings), self._overrides.terms_elsewhere
        planner = PairPlanner(self.around, fallback, terms, self._condition, self._overrides.terms)
        bus.subscribe(InstrumentChanged, lambda event: planner.forget(event.after.asset))
        self.engine = ExecutionEngine(
            bus,
            clock,
            self.ids,
            folds.pairs,
            folds.leases,
            self.risk,
            self.capital,
            self.maker,
            planner,
            terms,
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
            RetryPolicy(settings, rng),
            self._overrides.patience,
        )

    def _build_watch(self, leave: Callable[[], None]) -> None:
        folds, bus, clock = self.folds, self.bus, self.clock
        settings = self.settings.execution
        self.watch = OrderWatch(
            bus,
            clock,
            self._timers,
            folds.orders,
            self.intake,
            alarm_after_s=settings.resolve_limit_s,
        )
        self.reconcile = ReconcileDriver(
            bus,
            clock,
            self._timers,
            folds.orders,
            folds.positions,
            self.intake,
            self.markets.capabilities.values(),
            confirmations=settings.reconcile_confirmations,
            quiet_s=settings.reconcile_quiet_s,
        )
        self.instruments = InstrumentWatch(
            bus,
            clock,
            self._timers,
            self.markets.instruments,
            self.markets.capabilities.values(),
            interval_s=self.settings.market.instruments_interval_s,
        )
        self.kill_switch = KillSwitch(
            bus,
            clock,
            folds.orders,
            folds.pairs,
            folds.latches,
            leave,
            tuple(self.markets.capabilities),
        )

    def _build_strategy(self) -> None:
        settings, markets = self.settings, self.markets
        fees = FeeModel.of(markets.capabilities, settings)
        overrides = self._overrides.arbitrage
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
                may_lack=self._may_lack,
            )
        )
        # First: what the others say of orders lets the trader look at their pairs.
        self.trader.wait_for(self._unseen())
        self.capital.resume()
        self.watch.resume()
        self.kill_switch.resume()
        self.trader.resume()
        self.reconcile.start(self.folds.runs.whole_until_ns, born_ns=self.folds.runs.born_ns)
        self.exits.start()
        self.instruments.start()
        self._every(self.settings.market.basis_sample_interval_ms * MS, self._sample_market)
        self._every(int(self.settings.capital.snapshot_interval_s * SECOND), self.sampler.sample)

    def _unseen(self) -> frozenset[str]:
        """Return the venues that have not agreed since what happened there is not in our books.

        Since a guardian took over, or since it came out that records may be missing.
        """
        taken_over_ns = 0 if self._takeover is None else self._takeover.at_ns
        runs = self.folds.runs
        started_ns = self.clock.now_ns() if self._may_lack else 0  # perhaps not folded yet
        since_ns = max(taken_over_ns, runs.lost_ns, started_ns)
        if not since_ns:
            return frozenset()
        return frozenset(
            venue for venue in self.markets.capabilities if runs.whole_until_ns(venue) <= since_ns
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

    def booked_wallet(self, venue: str) -> Decimal | None:
        """Return what our books say that a venue's wallet holds, USD; None before they began.

        What is still held counts at its entry, as if it had been closed there.
        """
        wallet = self.folds.equity.opening(venue)
        if wallet is None:
            return None
        for key, held in self.folds.positions.items():
            if key[0] == venue:
                wallet += held.cash + held.quantity * held.entry_usd - held.fees + held.funding
        return wallet

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
