"""A node and its exchanges in seeded virtual time, without asyncio.

The same core as live, the in-process venues of `perpbot.simulation`, one heap of timers; market
data comes in order from outside and never goes through the heap. A seed and the same input
reproduce a run exactly.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

import msgspec

from perpbot.app.core import Core
from perpbot.app.folds import Folds
from perpbot.app.markets import Markets
from perpbot.app.summary import TrueBooks
from perpbot.app.tally import RunTally
from perpbot.configuration import Settings
from perpbot.domain.capabilities import Capabilities
from perpbot.execution.surroundings import Account
from perpbot.kernel.clock import MS, SECOND, VirtualTime
from perpbot.kernel.journal.memory import MemoryJournal
from perpbot.portfolio.currency import CurrencyRates
from perpbot.simulation.accountant import Accountant
from perpbot.simulation.exchange import Exchange
from perpbot.simulation.model import Contract, Profile
from perpbot.simulation.tape import TapeRow
from perpbot.simulation.translation import instrument_of
from perpbot.simulation.venue import SimulatedVenue

ACCOUNT = "main"
WIND_DOWN_NS = 15 * SECOND
"""How long before the end of the data a run stops opening and closes its pairs."""
LAST_CALL_NS = 30 * SECOND
"""How long pairs may take to close after the data has ended, at the last quotes."""
REQUOTE_NS = 100 * MS


class VenueSetup(msgspec.Struct, frozen=True):
    """One venue of a world."""

    profile: Profile
    contracts: tuple[Contract, ...]
    capabilities: Capabilities


class World:
    """See the module."""

    def __init__(
        self,
        settings: Settings,
        venues: Mapping[str, VenueSetup],
        *,
        start_ns: int,
        seed: int,
        latency_ns: int,
        balance: Decimal,
    ) -> None:
        self.time = VirtualTime(start_ns)
        self.accountant = Accountant()
        self.journal = MemoryJournal()
        self._newest: dict[tuple[str, str], TapeRow] = {}
        exchanges = {
            name: Exchange(setup.profile, setup.contracts, self.time.now_ns, self.accountant)
            for name, setup in venues.items()
        }
        for name, exchange in exchanges.items():
            exchange.open_account(ACCOUNT, {venues[name].profile.settle: balance})
        capabilities = {name: setup.capabilities for name, setup in venues.items()}
        instruments = {
            (name, contract.asset): instrument_of(name, contract)
            for name, setup in venues.items()
            for contract in setup.contracts
        }
        self.core = Core(
            settings,
            Markets(
                instruments=instruments,
                capabilities=capabilities,
                accounts={name: Account(ACCOUNT) for name in venues},
                rates=CurrencyRates(assumed=Decimal(1)),
            ),
            Folds(),
            clock=self.time,
            timers=self.time,
            rng=random.Random(seed),
            journal=self.journal,
        )
        self.tally = RunTally(self.core.bus)
        self.venues = {
            name: SimulatedVenue(
                exchange,
                account_name=ACCOUNT,
                capabilities=capabilities[name],
                bus=self.core.bus,
                clock=self.time,
                timers=self.time,
                lookup=self.core.folds.orders.request,
                latency_ns=latency_ns,
            )
            for name, exchange in exchanges.items()
        }
        self._slots = {
            key: self.core.quotes.slot(instrument) for key, instrument in instruments.items()
        }

    # --- running ---

    def start(self, *, version: str) -> None:
        """Bring the venues up and begin the core's timers."""
        for venue in self.venues.values():
            venue.start()
        self.core.start(mode="replay", version=version)

    def play(self, rows: Iterable[TapeRow]) -> None:
        """Feed rows in order; stop opening `WIND_DOWN_NS` before the last one."""
        winding_down = False
        for row, ends_soon in _look_ahead(rows, WIND_DOWN_NS):
            if ends_soon and not winding_down:
                winding_down = True
                self.core.close_all("end_of_data")
            self._feed(row)
        if not winding_down:
            self.core.close_all("end_of_data")

    def _feed(self, row: TapeRow) -> None:
        time = self.time
        due_ns = time.next_due_ns
        if due_ns is not None and due_ns <= row.ts_ns:
            time.run_until(row.ts_ns)
        else:
            time.advance(row.ts_ns)
        key = (row.venue, row.asset)
        slot = self._slots.get(key)
        if slot is None:
            return
        self._newest[key] = row
        self.venues[row.venue].feed_quote(row.asset, row.bid, row.bid_size, row.ask, row.ask_size)
        slot.update(row.bid, row.bid_size, row.ask, row.ask_size, row.exch_ns, time.monotonic_ns())

    def settle(self) -> bool:
        """Let pairs close at the last quotes; tell whether everything is flat."""
        until_ns = self.time.now_ns() + LAST_CALL_NS
        while not self.core.flat and self.time.now_ns() < until_ns:
            self.time.run_until(self.time.now_ns() + REQUOTE_NS)
            for row in self._newest.values():
                self.venues[row.venue].feed_quote(
                    row.asset, row.bid, row.bid_size, row.ask, row.ask_size
                )
        # What is still on its way (a last report) arrives before the books are compared.
        self.time.run_until(self.time.now_ns() + SECOND)
        return self.core.flat

    def true_books(self) -> TrueBooks:
        """Return what the accountant says."""
        summary = self.accountant.summary(self.time.now_ns())
        return TrueBooks(
            net=summary["net"],
            positions={(row[0], row[2]): row[3] for row in summary["positions"]},
            executions_per_client_id=summary["executions_per_client_id"],
        )


def _look_ahead(rows: Iterable[TapeRow], span_ns: int) -> Iterator[tuple[TapeRow, bool]]:
    """Yield each row and whether the data ends within `span_ns` of it."""
    waiting: deque[TapeRow] = deque()
    for row in rows:
        waiting.append(row)
        while row.ts_ns - waiting[0].ts_ns > span_ns:
            yield waiting.popleft(), False
    while waiting:
        yield waiting.popleft(), True
