"""The world around the node: exchanges, the ways to them, one market. It outlives every node."""

from __future__ import annotations

from decimal import Decimal

from perpbot.app.core import Core
from perpbot.app.markets import Markets
from perpbot.domain.instruments import Instrument
from perpbot.execution.surroundings import Account
from perpbot.kernel.clock import VirtualTime
from perpbot.portfolio.currency import CurrencyRates
from perpbot.research.chaos.counters import Counters
from perpbot.research.chaos.door import Door, Wire
from perpbot.research.chaos.market import ChaosMarket
from perpbot.research.chaos.money import Purse
from perpbot.research.chaos.plan import Fault, Plan
from perpbot.research.chaos.reaper import Reaper
from perpbot.research.chaos.witness import Witness
from perpbot.simulation.accountant import Accountant
from perpbot.simulation.depth import QuotedDepth
from perpbot.simulation.exchange import Exchange
from perpbot.simulation.model import ExchangeNews, OrderUpdate
from perpbot.simulation.translation import instrument_of

ACCOUNT = "main"
CURRENCY = "USDT"


class Ground:
    """See the module. The witness hears every execution."""

    def __init__(
        self, plan: Plan, time: VirtualTime, witness: Witness, counters: Counters
    ) -> None:
        self.plan = plan
        self.time = time
        self._witness = witness
        self.accountant = Accountant()
        self.market = ChaosMarket(plan.seed, tuple(plan.venues), plan.assets)
        self.skew_ns = dict.fromkeys(plan.venues, 0)
        """How far the clock of each venue is ahead."""
        self.wires = {venue: Wire(plan, venue, time, counters) for venue in plan.venues}
        self.exchanges = {venue: self._exchange(venue) for venue in plan.venues}
        self.purses = {
            venue: Purse(venue, exchange, ACCOUNT, CURRENCY)
            for venue, exchange in self.exchanges.items()
        }
        self._depths = {venue: QuotedDepth(of) for venue, of in self.exchanges.items()}
        """Shared by all doors to an exchange: the market does not die with the node."""

    def _exchange(self, venue: str) -> Exchange:
        def clock_ns() -> int:
            return self.time.now_ns() + self.skew_ns[venue]

        plan, wire = self.plan, self.wires[venue]
        exchange = Exchange(
            plan.venues[venue].profile, plan.contracts[venue], clock_ns, self.accountant
        )
        exchange.open_account(ACCOUNT, {CURRENCY: plan.balance})
        assets = {contract.symbol: contract.asset for contract in exchange.contracts()}

        def heard(news: ExchangeNews) -> None:
            if isinstance(news, OrderUpdate) and news.execution is not None:
                if wire.hiding:
                    wire.hidden.add(str(news.execution.trade_id))
                self._witness.executed(news.execution, venue, assets[news.order.ticket.symbol])

        exchange.listen(heard, frozenset({OrderUpdate}))
        return exchange

    def symbol(self, fault: Fault) -> str:
        """Return what the venue of a fault calls its asset."""
        contracts = self.plan.contracts[fault.venue]
        return next(c.symbol for c in contracts if c.asset == fault.asset)

    def markets(self) -> Markets:
        """Return what a node that starts now reads of the venues."""
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

    def doors(self, core: Core, reaper: Reaper) -> dict[str, Door]:
        """Return the ways of a new node to the exchanges."""
        return {
            venue: Door(
                wire=self.wires[venue],
                witness=self._witness,
                depth=self._depths[venue],
                reaper=reaper,
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
