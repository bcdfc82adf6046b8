"""Several exchanges of ours behind their servers, one market, one accountant, in one process."""

from __future__ import annotations

import asyncio
import gzip
import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

from perpbot.domain.errors import ConfigError, InvalidValue
from perpbot.domain.money import ZERO, plain
from perpbot.simulation.accountant import Accountant
from perpbot.simulation.driver import MarketDriver, MarketProcess
from perpbot.simulation.exchange import Exchange
from perpbot.simulation.market import MarketModel, MarketQuote, MarketUpdate, SyntheticMarket
from perpbot.simulation.model import ExchangeNews, OrderUpdate
from perpbot.simulation.tape import Tape, TapeRow
from perpbot.simulation.wire.registry import server_class
from perpbot.simulation.wire.server import Serving, VenueServer, start

STEP_INTERVAL_S = 0.005
WARM_UP_NS = 50_000_000
"""How much of the market has happened before the servers answer, so that no book is empty."""
BALANCE = Decimal(100_000)
"""Of the client's account at each venue, in its settle currency."""
_TAPE_HEAD = 20_000
"""Rows in which a tape's venues are looked for."""


class TapeMarket:
    """A tape as a market: its first row is now, and it keeps its own pace.

    The tape's venues stand for ours: by name where the names agree, else in their order of
    appearance. What the tape lacks (depth, trades, marks) does not happen; at its end the last
    quotes stay.
    """

    def __init__(self, path: Path, venues: Sequence[str], start_ns: int) -> None:
        self._rows = self._read(Tape(path, venue_map(path, venues)))
        self._next = next(self._rows, None)
        self._shift_ns = start_ns - self._next.ts_ns if self._next is not None else 0

    def step(self, now_ns: int) -> list[MarketUpdate]:
        """Return the quotes up to a time."""
        updates: list[MarketUpdate] = []
        while self._next is not None and self._next.ts_ns + self._shift_ns <= now_ns:
            row = self._next
            updates.append(
                MarketQuote(
                    ts_ns=row.ts_ns + self._shift_ns,
                    venue=row.venue,
                    asset=row.asset,
                    bids=((row.bid, row.bid_size),),
                    asks=((row.ask, row.ask_size),),
                )
            )
            self._next = next(self._rows, None)
        return updates

    @staticmethod
    def _read(tape: Tape) -> Iterator[TapeRow]:
        yield from tape


def venue_map(path: Path, venues: Sequence[str]) -> dict[str, str]:
    """Return which of `venues` each venue of a tape stands for.

    Raises `ConfigError` where the tape has too few, `InvalidValue` for a broken file.
    """
    found = _venues_of(path)
    mapped = {name: name for name in found if name in venues}
    left = [name for name in venues if name not in mapped]
    others = [name for name in found if name not in mapped]
    mapped.update(zip(others, left, strict=False))
    if len(mapped) < len(venues):
        raise ConfigError(
            f"{path}: the tape has {len(found)} venues ({', '.join(found)}), "
            f"{len(venues)} were asked for"
        )
    return mapped


def _venues_of(path: Path) -> list[str]:
    """The venues of a tape's head, in order of appearance; what rows say is `Tape`'s business."""
    found: dict[str, None] = {}
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8", errors="replace") as lines:
            for line in islice(lines, 1, _TAPE_HEAD):
                cells = line.split(",", 2)
                if len(cells) == len(("recv_ts", "venue", "rest")):
                    found[cells[1]] = None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InvalidValue(f"{path}: broken gzip file: {error}") from error
    if not found:
        # It can say why better than we can.
        next(iter(Tape(path, {"": ""})), None)
    return list(found)


class OrderLog:
    """Every order that an exchange took from one account, by the client id on the wire."""

    def __init__(self, exchange: Exchange, account: str) -> None:
        self._account = account
        self._orders: dict[str, dict[int, tuple[Decimal, Decimal]]] = {}
        """Client id -> order id -> (quantity, filled)."""
        exchange.listen(self._heard, frozenset({OrderUpdate}))

    def _heard(self, news: ExchangeNews) -> None:
        if isinstance(news, OrderUpdate) and news.order.account == self._account:
            ticket = news.order.ticket
            taken = self._orders.setdefault(ticket.client_id, {})
            taken[news.order.order_id] = (ticket.quantity, news.order.filled)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield one row a client id: how many orders were `taken` under it, and their sums."""
        for client_id, taken in self._orders.items():
            yield {
                "client_id": client_id,
                "taken": len(taken),
                "quantity": plain(sum((quantity for quantity, _ in taken.values()), ZERO)),
                "filled": plain(sum((filled for _, filled in taken.values()), ZERO)),
            }


class Fleet:
    """Servers of several venues on one market; `start` them, then `run`."""

    def __init__(
        self,
        venues: Sequence[str],
        *,
        seed: int,
        clock_ns: Callable[[], int],
        tape: Path | None = None,
        model: MarketModel | None = None,
        balance: Decimal = BALANCE,
    ) -> None:
        """The market is that of `tape`, else synthetic: as `model` says, or the usual one."""
        if not venues or len(set(venues)) != len(venues):
            raise ConfigError(f"venues were {list(venues)}, at least one, each once, was expected")
        classes = {venue: server_class(venue) for venue in venues}
        self._clock_ns = clock_ns
        self.accountant = Accountant(_dust(classes))
        self.exchanges: dict[str, Exchange] = {}
        self.servers: list[VenueServer] = []
        self._logs: dict[str, OrderLog] = {}
        self._serving: list[Serving] = []
        for venue, server in classes.items():
            profile = server.profile()
            exchange = Exchange(profile, server.contracts(), clock_ns, self.accountant)
            exchange.open_account(server.account, {profile.settle: balance})
            self.exchanges[venue] = exchange
            self._logs[venue] = OrderLog(exchange, server.account)
            # A venue has the same keys whatever other venues run beside it.
            self.servers.append(server(exchange, clock_ns, random.Random(f"{seed} {venue}")))
        start_ns = clock_ns() - WARM_UP_NS
        market: MarketProcess = (
            SyntheticMarket(tuple(venues), seed=seed, start_ns=start_ns, model=model)
            if tape is None
            else TapeMarket(tape, venues, start_ns)
        )
        self._driver = MarketDriver(market, self.exchanges)

    async def start(self, port_base: int) -> list[Serving]:
        """Listen on ports from `port_base` on, in order; 0 takes free ones. Raises `PortInUse`."""
        self.step()
        try:
            for offset, server in enumerate(self.servers):
                port = port_base + offset if port_base else 0
                self._serving.append(await start(server, port=port))
        except BaseException:
            await self.stop()
            raise
        return list(self._serving)

    def step(self) -> None:
        """Move the market to now."""
        self._driver.step(self._clock_ns())

    async def run(self) -> None:
        """Move the market until cancelled; raises what a server fails with."""
        pumps = [asyncio.create_task(serving.wait()) for serving in self._serving]
        try:
            while True:
                self.step()
                for ended in (pump for pump in pumps if pump.done()):
                    ended.result()
                await asyncio.sleep(STEP_INTERVAL_S)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def stop(self) -> None:
        """Stop all servers."""
        serving, self._serving = self._serving, []
        await asyncio.gather(*(one.stop() for one in serving))

    def summary(self) -> dict[str, Any]:
        """Return the accountant's books as JSON values: money as decimal strings."""
        books = self.accountant.summary(self._clock_ns())
        return {
            **books,
            **{name: plain(books[name]) for name in ("net", "price", "fees", "funding")},
            "positions": [
                {"venue": venue, "account": account, "asset": asset, "quantity": plain(quantity)}
                for venue, account, asset, quantity in books["positions"]
            ],
            "worst_unhedged_usd": plain(books["worst_unhedged_usd"]),
            "worst_unhedged_usd_s": plain(books["worst_unhedged_usd_s"]),
            "open_orders": sum(
                len(exchange.open_orders(server.account))
                for exchange, server in zip(self.exchanges.values(), self.servers, strict=True)
            ),
        }

    def orders(self) -> list[dict[str, Any]]:
        """Return what the exchanges took from the client: `OrderLog.rows` with the venue."""
        return [{"venue": venue, **row} for venue, log in self._logs.items() for row in log.rows()]


def _dust(classes: dict[str, type[VenueServer]]) -> dict[str, Decimal]:
    """What no order can hedge: the largest minimum of the asset over the venues."""
    dust: dict[str, Decimal] = {}
    for server in classes.values():
        for contract in server.contracts():
            least = max(contract.min_quantity, contract.quantity_step)
            dust[contract.asset] = max(dust.get(contract.asset, Decimal(0)), least)
    return dust
