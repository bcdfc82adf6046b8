"""The tables: rebuilt from the journal, at their own pace."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import sqlite3
import stat
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import inspect
from sqlalchemy.exc import OperationalError

from perpbot.domain.errors import InvalidValue
from perpbot.domain.events import Transfer
from perpbot.kernel.journal.writer import Journal
from perpbot.operations.records import recorder as recorder_module
from perpbot.operations.records.export import rows_of, write_csv
from perpbot.operations.records.recorder import TradeRecorder
from perpbot.operations.records.tables import CURSOR, EXPORTED, METADATA
from perpbot.operations.records.task import RecorderTask
from perpbot.research.world import World
from tests.unit.operations.small_world import traded_world, write_journal


@pytest.fixture(scope="module")
def world() -> World:
    """A world with a finished pair."""
    return traded_world()


@pytest.fixture
def journal(world: World, tmp_path: Path) -> Path:
    """Its journal on disk."""
    return write_journal(world, tmp_path / "journal")


def test_the_tables_agree_with_the_books(world: World, journal: Path, tmp_path: Path) -> None:
    """Every pair, order and fill is there; profits sum to what the pairs made."""
    recorder = TradeRecorder(tmp_path / "r.db", journal)
    count = recorder.catch_up()

    trades = list(rows_of(recorder.engine, "trades"))
    orders = list(rows_of(recorder.engine, "orders"))
    fills = list(rows_of(recorder.engine, "fills"))
    assert count == recorder.sequence == world.journal.last_sequence
    assert len(trades) == world.core.folds.pairs.closed
    assert len(orders) == world.tally.orders
    assert len(fills) == world.tally.fills
    net = sum((Decimal(row["net_usd"]) for row in trades), Decimal(0))
    assert net == world.core.folds.pairs.realised.net
    for row in orders:
        order = world.core.folds.orders.get(row["client_id"])
        assert order is not None
        assert (row["state"], Decimal(row["filled"])) == (order.state.value, order.filled)
    assert list(rows_of(recorder.engine, "equity"))
    recorder.close()


def test_a_deleted_database_is_built_again(journal: Path, tmp_path: Path) -> None:
    """The same rows, from the journal alone."""
    first = TradeRecorder(tmp_path / "a.db", journal)
    first.catch_up()
    second = TradeRecorder(tmp_path / "b.db", journal)
    second.catch_up()

    for table in EXPORTED:
        assert list(rows_of(first.engine, table)) == list(rows_of(second.engine, table))
    first.close()
    second.close()


def test_two_recorders_take_turns(journal: Path, tmp_path: Path) -> None:
    """What one has taken, the other does not take again."""
    one = TradeRecorder(tmp_path / "r.db", journal)
    other = TradeRecorder(tmp_path / "r.db", journal)

    assert one.catch_up() > 0
    assert other.catch_up() == 0
    assert other.sequence == one.sequence
    one.close()
    other.close()


def test_migrations_make_the_tables_of_the_model(journal: Path, tmp_path: Path) -> None:
    """The history of changes and the tables as written agree, column by column."""
    recorder = TradeRecorder(tmp_path / "r.db", journal)
    found = inspect(recorder.engine)

    for table in METADATA.tables.values():
        columns = {column["name"]: column["nullable"] for column in found.get_columns(table.name)}
        assert columns == {column.name: column.nullable for column in table.columns}
        indexes = {index["name"] for index in found.get_indexes(table.name)}
        assert indexes == {index.name for index in table.indexes}
    recorder.close()


def test_csv_has_a_head_line_and_every_row(journal: Path, tmp_path: Path) -> None:
    """Of any table; an empty one has its head line."""
    recorder = TradeRecorder(tmp_path / "r.db", journal)
    empty = io.StringIO()
    assert write_csv(recorder.engine, "trades", empty) == 0
    assert empty.getvalue().startswith("pair_id,")
    recorder.catch_up()
    out = io.StringIO()

    count = write_csv(recorder.engine, "fills", out)

    assert len(list(csv.DictReader(io.StringIO(out.getvalue())))) == count > 1
    recorder.close()


def test_what_came_and_went_is_listed(tmp_path: Path) -> None:
    """As the venue told it, and in USD."""
    moved = Transfer(
        ts_ns=7,
        venue="okx",
        account="main",
        amount_usd=Decimal("-39.6"),
        reference="12",
        currency="USDT",
        amount=Decimal(-40),
        reason="transfer out",
        venue_ns=5,
    )
    written = Journal(tmp_path / "journal", reserve_bytes=0)
    written.append(moved)
    written.close()
    recorder = TradeRecorder(tmp_path / "r.db", tmp_path / "journal")
    recorder.catch_up()

    assert list(rows_of(recorder.engine, "transfers")) == [
        {
            "sequence": 1,
            "ts_ns": 7,
            "venue": "okx",
            "account": "main",
            "transfer_id": "12",
            "reason": "transfer out",
            "currency": "USDT",
            "amount": "-40",
            "amount_usd": "-39.6",
            "venue_ns": 5,
        }
    ]
    recorder.close()


def test_an_unknown_table_is_named(journal: Path, tmp_path: Path) -> None:
    """With what would be right."""
    recorder = TradeRecorder(tmp_path / "r.db", journal)

    with pytest.raises(InvalidValue, match="trades, orders, fills, transfers, equity"):
        next(rows_of(recorder.engine, "wishes"))
    recorder.close()


def test_a_locked_database_loses_nothing(
    journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch fails as a whole and is taken later."""
    monkeypatch.setattr(recorder_module, "LOCK_WAIT_S", 0.01)
    recorder = TradeRecorder(tmp_path / "r.db", journal)
    holder = sqlite3.connect(tmp_path / "r.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    with pytest.raises(OperationalError, match="locked"):
        recorder.catch_up()
    holder.execute("ROLLBACK")
    holder.close()

    assert recorder.catch_up() > 0
    recorder.close()


def flip(database: Path) -> None:
    """Write over the middle of every page but the first."""
    data = bytearray(database.read_bytes())
    for page in range(4096, len(data), 4096):
        data[page : page + 2048] = bytes(2048)
    database.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no database": lambda database: database.write_bytes(b"what is this? " * 1000),
    "malformed": flip,
    "deleted": Path.unlink,
    "empty": lambda database: database.write_bytes(b""),
}


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize("is_open", [True, False], ids=["open", "closed"])
def test_a_damaged_database_is_set_aside_and_built_again(
    name: str, is_open: bool, journal: Path, tmp_path: Path
) -> None:
    """The same rows as from the start, whenever it happens; what was there is kept."""
    database = tmp_path / "r.db"
    whole = TradeRecorder(tmp_path / "whole.db", journal)
    count = whole.catch_up()
    recorder = TradeRecorder(database, journal)
    recorder.catch_up()
    if not is_open:
        recorder.close()
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    DAMAGES[name](database)

    if not is_open:
        recorder = TradeRecorder(database, journal)
    assert recorder.catch_up() == count

    for table in EXPORTED:
        assert list(rows_of(recorder.engine, table)) == list(rows_of(whole.engine, table))
    assert stat.S_IMODE(database.stat().st_mode) == 0o600
    damaged = database.with_name("r.db.damaged")
    assert damaged.exists() is (bool(recorder.damage))
    assert recorder.damage or not is_open
    recorder.close()
    whole.close()


@pytest.mark.blocking
async def test_tables_ahead_of_a_journal_that_was_repaired_are_built_again(
    journal: Path, tmp_path: Path, world: World
) -> None:
    """They show records that are no more; people are told once."""
    alarms: list[str] = []
    database = tmp_path / "r.db"
    recorder = TradeRecorder(database, journal)
    recorder.catch_up()
    with recorder.engine.begin() as connection:
        connection.execute(CURSOR.update().values(sequence=world.journal.last_sequence + 5))
    recorder.close()
    task = RecorderTask(
        lambda: TradeRecorder(database, journal),
        newest=lambda: world.journal.last_sequence,
        alarm=alarms.append,
        interval_s=0.0,
    )
    running = asyncio.create_task(task.run())
    while not alarms or task.behind:  # noqa: ASYNC110 - counted in a thread
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    (alarm,) = alarms
    assert "ahead of the journal" in alarm
    with contextlib.closing(sqlite3.connect(database)) as connection:
        (newest,) = connection.execute("SELECT sequence FROM cursor").fetchone()
    assert newest == world.journal.last_sequence


async def test_the_task_alarms_once_while_it_is_locked_out() -> None:
    """It goes on trying, and says so once."""
    alarms: list[str] = []
    tries = 0

    def locked() -> TradeRecorder:
        nonlocal tries
        tries += 1
        raise OperationalError("BEGIN", None, Exception("database is locked"))

    task = RecorderTask(
        locked, newest=lambda: 9, alarm=alarms.append, interval_s=0.0, alarm_after_s=0.0
    )
    running = asyncio.create_task(task.run())
    while tries < 3:  # noqa: ASYNC110 - counted in a thread
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert len(alarms) == 1
    assert "9 records behind" in alarms[0]
    assert "locked" in alarms[0]


async def test_the_task_keeps_up(journal: Path, tmp_path: Path, world: World) -> None:
    """In a thread; what is behind goes to zero."""
    task = RecorderTask(
        lambda: TradeRecorder(tmp_path / "r.db", journal),
        newest=lambda: world.journal.last_sequence,
        alarm=lambda _text: None,
    )
    assert task.behind == world.journal.last_sequence
    running = asyncio.create_task(task.run())
    while task.behind:  # noqa: ASYNC110 - counted in a thread
        await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
