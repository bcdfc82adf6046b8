"""The world of one seed: exchanges, a market, the weather of the plan, and a node that may die.

`Stage.run` plays the chaos phase, heals everything, and waits until all is flat. It shares virtual
time and the in-process venues with backtests; nothing here is random beyond the seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache

import msgspec

from perpbot.app.core import Core
from perpbot.app.folds import Folds
from perpbot.app.markets import Markets
from perpbot.configuration import Settings
from perpbot.domain.events import FundingRateUpdated
from perpbot.domain.instruments import Instrument
from perpbot.domain.sides import OrderType, Side, TimeInForce
from perpbot.execution.surroundings import Account
from perpbot.kernel.bus import BusHalted
from perpbot.kernel.clock import MS, SECOND, VirtualTime
from perpbot.portfolio.currency import CurrencyRates
from perpbot.research.chaos.checkers import Witness
from perpbot.research.chaos.counters import Counters
from perpbot.research.chaos.door import CHANNELS, Door, Wire
from perpbot.research.chaos.market import LARGEST_JUMP, ChaosMarket, Tick
from perpbot.research.chaos.money import Unit, move_money
from perpbot.research.chaos.node import ChaosJournal, Life
from perpbot.research.chaos.plan import START_NS, Fault, Plan
from perpbot.research.chaos.reaper import Death, NodeCrash, Reaper
from perpbot.research.chaos.unhedged import Window
from perpbot.simulation.accountant import Accountant
from perpbot.simulation.exchange import Exchange
from perpbot.simulation.model import Contract, ExchangeNews, ExchangeRefusal, OrderUpdate, Ticket
from perpbot.simulation.translation import instrument_of

ACCOUNT = "main"
TICK_NS = 300 * MS
CLOSE_AFTER_NS = 4 * SECOND
"""After healing: how long pairs may go on before all are asked to close."""
CONVERGE_NS = 60 * SECOND
LIVES = 40
REGRIDS = (
    (Decimal(5), Decimal(5)),
    (Decimal(10), Decimal(10)),
    (Decimal(2), Decimal("0.1")),
)
"""What becomes of tick and step when a venue changes them: these many times as large."""


PACES: Mapping[str, Mapping[str, float]] = {
    "usual": {},
    "hasty": {
        "hedge_after_ms": 150,
        "maker_timeout_ms": 300,
        "order_expiry_ms": 500,
        "reconcile_quiet_s": 0.5,
        "resolve_limit_s": 3,
        "retry_base_ms": 10,
        "retry_max_ms": 500,
    },
    "patient": {
        "hedge_after_ms": 2_500,
        "maker_timeout_ms": 10_000,
        "order_expiry_ms": 6_000,
        "retry_base_ms": 300,
    },
}
"""Times of the execution settings, from a tenth to some times of the usual ones."""


def regridded(contract: Contract, ticks: Decimal, steps: Decimal) -> Contract:
    """Return a contract whose tick and step are these many times as large."""
    step = contract.quantity_step * steps
    return msgspec.structs.replace(
        contract,
        tick_size=contract.tick_size * ticks,
        quantity_step=step,
        min_quantity=max(contract.min_quantity, step) if steps > 1 else contract.min_quantity,
    )


@lru_cache(maxsize=8)
def chaos_settings(fallback: str, pace: str = "usual") -> Settings:
    """Return settings under which a minute holds many pairs; limits stay as in life."""
    return Settings.model_validate(
        {
            "mode": "replay",
            "market": {
                "symbols": ["BTC-PERP", "ETH-PERP"],
                "basis_sample_interval_ms": 500,
                "basis_window_s": 60,
                "basis_warmup_s": 4,
                "instruments_interval_s": 15,
            },
            "arbitrage": {
                "min_edge_bps": 4,
                "slippage_bps": 0.5,
                "max_hold_s": 12,
                "exit_convergence_bps": 2,
                "take_profit_bps": 8,
            },
            "risk": {
                "symbol_cooldown_s": 2,
                "global_pause_s": 2,
                "max_pauses": 20,
                "fast_market_freeze_s": 1,
            },
            "execution": {"fallback": fallback, **PACES[pace]},
        }
    )


class Stage:
    """See the module."""

    def __init__(self, plan: Plan, counters: Counters) -> None:
        self.plan = plan
        self.counters = counters
        self.time = VirtualTime(START_NS)
        self.witness = Witness(plan, self.time)
        self.witness.start_ns = START_NS
        self.reaper = Reaper(counters)
        self.journal = ChaosJournal(self.reaper, counters, self.witness.journalled)
        self.journal.snapshot_every = plan.quirks.snapshot_every
        self.accountant = Accountant()
        self.market = ChaosMarket(plan.seed, tuple(plan.venues), plan.assets)
        self._rng = random.Random(f"chaos stage {plan.seed}")
        self._skew_ns = dict.fromkeys(plan.venues, 0)
        self._fed: dict[str, dict[str, tuple[float, float, float, float]]] = {}
        self.wires: dict[str, Wire] = {}
        self.exchanges: dict[str, Exchange] = {}
        for venue in plan.venues:
            self._build_venue(venue)
        self.unit = Unit(self.accountant, ((venue, ACCOUNT, "USDT") for venue in plan.venues))
        self.life: Life | None = None
        self._feeders: Mapping[str, Door] = {}
        self.lives = 0
        self.absences: list[Window] = []
        """When there was no node."""
        self._died_ns = 0
        self._over = False
        """Something raised that nothing may raise: the seed has failed, nothing can go on."""
        self._nested: list[Death] = []
        """Deaths in the recoveries to come."""

    def _build_venue(self, venue: str) -> None:
        def clock_ns() -> int:
            return self.time.now_ns() + self._skew_ns[venue]

        exchange = Exchange(
            self.plan.venues[venue].profile, self.plan.contracts[venue], clock_ns, self.accountant
        )
        exchange.open_account(ACCOUNT, {"USDT": self.plan.balance})
        assets = {contract.symbol: contract.asset for contract in exchange.contracts()}

        def heard(news: ExchangeNews) -> None:
            if isinstance(news, OrderUpdate) and news.execution is not None:
                if self.wires[venue].hiding:
                    self.wires[venue].hidden.add(str(news.execution.trade_id))
                self.witness.executed(news.execution, venue, assets[news.order.ticket.symbol])

        exchange.listen(heard, frozenset({OrderUpdate}))
        self.exchanges[venue] = exchange
        self.wires[venue] = Wire(self.plan, venue, self.time, self.counters)
        self._fed[venue] = {}

    def _build_markets(self) -> Markets:
        instruments: dict[tuple[str, str], Instrument] = {
            (venue, contract.asset): instrument_of(venue, contract)
            for venue, exchange in self.exchanges.items()
            for contract in exchange.contracts()
        }
        return Markets(
            instruments=instruments,
            capabilities={name: venue.capabilities for name, venue in self.plan.venues.items()},
            accounts={name: Account(ACCOUNT) for name in self.plan.venues},
            rates=CurrencyRates(assumed=Decimal(1)),
        )

    # --- lives -----------------------------------------------------------------------------------

    def _doors(self, core: Core) -> dict[str, Door]:
        return {
            venue: Door(
                wire=self.wires[venue],
                witness=self.witness,
                fed=self._fed[venue],
                reaper=self.reaper,
                exchange=exchange,
                account_name=ACCOUNT,
                capabilities=self.plan.venues[venue].capabilities,
                bus=core.bus,
                clock=self.time,
                timers=self.time,
                lookup=core.folds.orders.request,
                latency_ns=self.plan.venues[venue].latency_ns,
                timeout_ns=self.plan.quirks.timeout_ns,
            )
            for venue, exchange in self.exchanges.items()
        }

    def _begin_life(self) -> None:
        self.lives += 1
        self._returned()
        self.reaper.revive()
        life = Life(
            self._settings(),
            self._build_markets(),
            self.journal,
            self.time,
            self._doors,
            self.counters,
            self.plan.seed,
        )
        self.life, self._feeders = life, life.doors
        if self._nested:
            self.reaper.arm(self._nested.pop(0), nested=True)
        life.start()
        if self.time.now_ns() >= self.plan.heal_ns:
            life.core.stop_opening()

    def _settings(self) -> Settings:
        """Return what the node is told; its queues are tiny only while things are broken."""
        quirks = self.plan.quirks
        settings = chaos_settings(self.plan.fallback, quirks.pace)
        self.witness.may_halt = False
        if not quirks.high_water or self.time.now_ns() >= self.plan.heal_ns:
            return settings
        limits = {"high_water_events": quirks.high_water}
        if quirks.hard_limit and self.lives == 1:
            limits["hard_limit_events"] = quirks.hard_limit
            self.witness.may_halt = True
        return settings.model_copy(update={"bus": settings.bus.model_copy(update=limits)})

    def _returned(self) -> None:
        if self._died_ns:
            self.absences.append((self._died_ns, self.time.now_ns()))
            self._died_ns = 0

    def _end_life(self) -> None:
        """The node died; another one starts after a while."""
        life = self.life
        if life is not None:
            life.die()
        if self.reaper.killed_by == "22":
            self.journal.lose_tail()
            self.witness.relearn(record.event() for record in self.journal.records())
        if life is not None:
            self._guard(self._recovers_the_same)
        self.life = None
        self._died_ns = self._died_ns or self.time.now_ns()
        self.witness.died()
        if self.lives >= LIVES:
            self.witness.violate(f"the node died {self.lives} times")
            return
        self.time.call_later(self._rng.randrange(200, 5_000) * MS, self._begin_life)

    def _recovers_the_same(self) -> None:
        """V1: the journal folds, and a snapshot gives the state that it was taken of."""
        first, second = Folds().state(), Folds().state()
        first.replay(self.journal.records())
        second.load(first.dump())
        if first.digest() != second.digest():
            self.witness.violate("V1 a snapshot does not give the state that it was taken of")

    def _guard(self, act: Callable[[], None]) -> None:
        """Do something that may kill the node."""
        try:
            act()
        except NodeCrash:
            self._end_life()
        except BusHalted as halted:
            if self.witness.may_halt or self.journal.exhausted:
                self._end_life()
                return
            self.witness.violate(f"E3 the core halted: {halted}")
            self._over = True
        except Exception as error:  # noqa: BLE001 - whatever breaks is the finding of this seed
            self.witness.violate(f"E3 {type(error).__name__}: {error}")
            self._over = True

    def _advance(self, until_ns: int) -> None:
        while self.time.now_ns() < until_ns and not self._over:
            self._guard(lambda: self.time.run_until(until_ns))

    # --- the run ---------------------------------------------------------------------------------

    def run(self) -> None:
        """Chaos, heal, converge."""
        plan = self.plan
        for fault in plan.faults:
            self._schedule(fault)
        self._quotes()
        self._guard(self._begin_life)
        healed = False
        end_ns = plan.heal_ns + CONVERGE_NS
        while self.time.now_ns() < end_ns and not self._over:
            self._advance(self.time.now_ns() + TICK_NS)
            self._guard(self._quotes)
            now_ns = self.time.now_ns()
            if not healed and now_ns >= plan.heal_ns:
                healed = True
                self._heal()
            if self.life is not None:
                self.witness.inspect(self.life.core, self.life.started_ns)
                self.unit.inspect(self.life.core, self.witness)
            if now_ns >= plan.heal_ns + CLOSE_AFTER_NS:
                self._guard(self._close_all)
                if self.life is not None and not self._owed(self.life.core):
                    break
        self._finish()

    def _close_all(self) -> None:
        if self.life is not None:
            self.life.core.close_all("chaos_end")

    def _heal(self) -> None:
        self.market.calm = True
        self.reaper.disarm()
        self._nested.clear()
        if self.life is not None:
            self._guard(self.life.core.stop_opening)

    def _finish(self) -> None:
        """The last answers arrive; then everything must agree."""
        self._advance(self.time.now_ns() + SECOND)
        self._returned()
        self.witness.close()
        if self._over:
            return
        if self.life is None:
            self.witness.violate("the node did not come back")
            return
        core = self.life.core
        for text in self._owed(core):
            self.witness.violate(f"not settled {CONVERGE_NS // SECOND} s after healing: {text}")
        self._check_recovery(core)
        self._check_ledger(core)

    def _check_recovery(self, core: Core) -> None:
        folded = Folds().state()
        folded.replay(self.journal.records())
        if folded.digest() != core.state.digest():
            self.witness.violate("V1 the journal does not fold to the state of the node")

    def _check_ledger(self, core: Core) -> None:
        """M1, M2: wallets of the exchanges, the accountant and the node's books agree."""
        for venue, exchange in self.exchanges.items():
            told = sum((view.equity for view in exchange.balances(ACCOUNT)), Decimal(0))
            true = self.accountant.equity(venue, ACCOUNT, "USDT")
            if abs(told - true) > Decimal("0.0001"):
                self.witness.violate(f"M1 equity of {venue} is {told}, the accountant has {true}")
        flat = not any(self.witness.true.values()) and not any(self.witness.booked.values())
        # What nobody told has no fee and no price of its own in our books.
        known = not any(wire.hidden for wire in self.wires.values())
        ours = core.folds.positions.profit({}).net if flat and known else None
        net = self.accountant.summary()["net"]
        if ours is not None and abs(ours - net) > Decimal("0.0001"):
            self.witness.violate(f"M2 our profit is {ours}, the accountant has {net}")

    def _owed(self, core: Core) -> list[str]:
        """Return what keeps the world from being settled; M6: transfers that are not booked."""
        owed = self.witness.settled(core)
        if "22" in self.plan.rows:
            return owed  # books that lost their beginning began again, with what was there then
        for venue, exchange in self.exchanges.items():
            moves = [moved.amount for moved in exchange.transfers(ACCOUNT)]
            owed += self.unit.unbooked(core, venue, self.plan.balance, moves)
        return owed

    # --- quotes ----------------------------------------------------------------------------------

    def _quotes(self) -> None:
        for tick in self.market.step(self.time.now_ns()):
            self._feed(tick)

    def _feed(self, tick: Tick) -> None:
        wire = self.wires[tick.venue]
        size = tick.size if wire.quotes_are_told else self._resting(tick, wire)
        feeder = self._feeders.get(tick.venue)
        if feeder is not None:
            feeder.feed_quote(tick.asset, tick.bid, size, tick.ask, size)
        life = self.life
        if life is None:
            return
        if wire.quotes_are_told:
            now_ns = self.time.monotonic_ns()
            venue_ns = now_ns + self._skew_ns[tick.venue]
            self.witness.good_quote(tick.venue, tick.asset)
            life.slots[tick.venue, tick.asset].update(
                tick.bid, tick.size, tick.ask, tick.size, venue_ns, now_ns
            )
            return
        if wire.active("1", "14"):
            return
        silent = wire.active("3")
        if silent is not None and silent.variant % 2 == 0:
            self.counters.hit("3")
            return
        self._tell(life, tick, wire)

    def _resting(self, tick: Tick, wire: Wire) -> float:
        """Return what rests at the touch: at times less than what is told."""
        thin = wire.active("10")
        if thin is None or thin.asset != tick.asset:
            return tick.size
        self.counters.hit("10")
        return tick.size * (0.03 + 0.2 * (1.0 - thin.intensity))

    def _tell(self, life: Life, tick: Tick, wire: Wire) -> None:
        now_ns = self.time.monotonic_ns()
        venue_ns = now_ns + self._skew_ns[tick.venue]
        slot = life.slots[tick.venue, tick.asset]
        bid, ask, size = tick.bid, tick.ask, tick.size
        broken = wire.active("33")
        crossed = wire.active("34")
        if broken is not None and broken.asset == tick.asset and self._rng.random() < 0.7:
            self.counters.hit("33")
            self.witness.bad_quote(tick.venue, tick.asset)
            factor = (float("nan"), -1.0, 0.0, 10.0, 0.1, float("inf"))[broken.variant]
            slot.update(bid * factor, size, ask * factor, size, venue_ns, now_ns)
        elif crossed is not None and crossed.asset == tick.asset:
            self.counters.hit("34")
            self.witness.bad_quote(tick.venue, tick.asset)
            slot.update(ask * 1.002, size, bid, size, venue_ns, now_ns)
        else:
            self.witness.good_quote(tick.venue, tick.asset)
            slot.update(bid, size, ask, size, venue_ns, now_ns)

    # --- what happens at a moment ----------------------------------------------------------------

    def _schedule(self, fault: Fault) -> None:
        acts: dict[str, tuple[Callable[[Fault], None], Callable[[Fault], None] | None]] = {
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
            self.time.call_later(fault.start_ns - START_NS, lambda: start(fault))
        if stop is not None:
            self.time.call_later(fault.stop_ns - START_NS, lambda: stop(fault))

    def _channels(self, fault: Fault) -> None:
        self.counters.hit(fault.row)
        if self.life is not None:
            for channel in CHANNELS:
                self.life.doors[fault.venue].tell_channel(channel)

    def _step_clock(self, fault: Fault) -> None:
        self.counters.hit("19")
        self._skew_ns[fault.venue] = (-5, -2, -1, 1, 3, 5)[fault.variant] * SECOND

    def _restore_clock(self, fault: Fault) -> None:
        self._skew_ns[fault.venue] = 0

    def _arm(self, fault: Fault) -> None:
        first, *self._nested = fault.deaths
        self.reaper.arm(first, fault.row)

    def _fill_disk(self, fault: Fault) -> None:
        self.counters.hit("23")
        self.journal.low_space = True
        self.journal.exhausted = fault.variant > 3
        self.witness.full_since_ns = self.time.now_ns()

    def _free_disk(self, fault: Fault) -> None:
        self.journal.low_space = self.journal.exhausted = False
        self.witness.full_since_ns = 0

    def _symbol(self, fault: Fault) -> str:
        contracts = self.plan.contracts[fault.venue]
        return next(c.symbol for c in contracts if c.asset == fault.asset)

    def _halt(self, fault: Fault) -> None:
        self.counters.hit("35")
        if fault.variant % 2:
            self._relist(fault)
        else:
            self.exchanges[fault.venue].set_halted(self._symbol(fault), halted=True)

    def _resume(self, fault: Fault) -> None:
        self.exchanges[fault.venue].set_halted(self._symbol(fault), halted=False)
        if fault.variant == 3:
            self._relist(fault, back=True)

    def _relist(self, fault: Fault, *, back: bool = False) -> None:
        """The venue trades the symbol in coarser or finer steps from now on."""
        exchange, symbol = self.exchanges[fault.venue], self._symbol(fault)
        ticks, steps = REGRIDS[fault.variant // 2]
        if back:
            ticks, steps = 1 / ticks, 1 / steps
        now = exchange.contract(symbol)
        self.witness.regridded(fault.venue, fault.asset, now.quantity_step * steps)
        exchange.relist(regridded(now, ticks, steps))

    def _flip_funding(self, fault: Fault) -> None:
        """Settle at a steep rate, one way and then the other."""
        self.counters.hit("36")
        exchange, symbol = self.exchanges[fault.venue], self._symbol(fault)
        known = exchange.mark(symbol)
        sign = 1 if fault.variant % 2 else -1
        rate = Decimal("0.0005") * sign
        exchange.set_mark(
            symbol, known.mark_price, known.index_price, rate, self.time.now_ns() + SECOND
        )
        exchange.settle_funding(symbol)
        if self.life is not None:
            self.life.core.quotes.publish(
                FundingRateUpdated(
                    ts_ns=self.time.now_ns(),
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
        held = self.witness.true.get((fault.venue, fault.asset), Decimal(0))
        exchange = self.exchanges[fault.venue]
        step = exchange.contract(self._symbol(fault)).quantity_step
        share = Decimal(str(fault.intensity))
        quantity = (abs(held) * share // step) * step
        if quantity <= 0:
            return False
        ticket = Ticket(
            symbol=self._symbol(fault),
            side=Side.SELL if held > 0 else Side.BUY,
            order_type=OrderType.MARKET,
            quantity=quantity,
            time_in_force=TimeInForce.IOC,
        )
        try:
            exchange.submit(ACCOUNT, ticket)
        except ExchangeRefusal:
            return False
        self.counters.hit(fault.row)
        return True

    def _hide_leg(self, fault: Fault) -> None:
        """At the first moment of the window when there is something to take."""
        wire = self.wires[fault.venue]
        wire.hiding = True
        taken = self._taken(fault)
        wire.hiding = False
        if not taken and self.time.now_ns() < fault.stop_ns:
            self.time.call_later(TICK_NS, lambda: self._hide_leg(fault))

    def _repeat_fills(self, fault: Fault) -> None:
        if self.life is not None and self.life.doors[fault.venue].tell_old_fills(self._rng):
            self.counters.hit("41")

    def _jump(self, fault: Fault) -> None:
        self.counters.hit("jump")
        self.market.jump(fault.asset, LARGEST_JUMP * (1 if fault.variant % 2 else -1))

    def _move_money(self, fault: Fault) -> None:
        exchange = self.exchanges[fault.venue]
        amount = move_money(fault, exchange, ACCOUNT, "USDT", self.plan.balance)
        self.unit.moved(amount)
        self.witness.brought += max(amount, Decimal(0))
        self.counters.hit("transfer")

    def _engage(self, fault: Fault) -> None:
        if self.life is None:
            return
        self.counters.hit("kill")
        self.life.core.kill_switch.engage(1 + fault.variant % 4, actor="chaos", reason="test")
        self.witness.killed = True

    def _clear(self, fault: Fault) -> None:
        if self.life is None:
            self.time.call_later(SECOND, lambda: self._clear(fault))
            return
        self.witness.killed = False
        self.life.core.kill_switch.clear(actor="chaos", reason="test over")
