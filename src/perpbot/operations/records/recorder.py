"""TradeRecorder: keeps the tables up with the journal, at its own pace and with its own cursor.

Delete the database and it is built again. A batch and the cursor are one transaction, so a crash
repeats nothing and loses nothing, and two processes (a node and an export) may do it in turns.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from perpbot.kernel.journal import JournalCursor
from perpbot.operations.records.projection import project
from perpbot.operations.records.tables import CURSOR

LOCK_WAIT_S = 5.0


class TradeRecorder:
    """See the module. Blocking: call it from a thread. Raises `OperationalError` when locked."""

    def __init__(self, database: Path, journal: Path) -> None:
        database.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # SQLite gives its other files the mode of the first.
        os.close(os.open(database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._journal = journal
        self._cursor: JournalCursor | None = None
        self.engine = open_engine(database)
        self.sequence = 0
        """Of the newest record that the tables show."""
        with self.engine.begin() as connection:
            _migrate(connection)

    def catch_up(self) -> int:
        """Take everything that the journal has; return how many records that were."""
        total = 0
        while count := self._batch():
            total += count
        return total

    def _batch(self) -> int:
        with self.engine.begin() as connection:
            done = connection.execute(select(CURSOR.c.sequence)).scalar_one_or_none() or 0
            if self._cursor is None or self._cursor.sequence != done:
                self._cursor = JournalCursor(self._journal, done)
            records = self._cursor.read()
            self.sequence = done
            if not records:
                return 0
            for record in records:
                project(connection, record)
            newest = records[-1].sequence
            place = insert(CURSOR).values(id=1, sequence=newest)
            connection.execute(
                place.on_conflict_do_update(index_elements=["id"], set_={"sequence": newest})
            )
        self.sequence = newest
        return len(records)

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()


def open_engine(database: Path) -> Engine:
    """Return an engine whose transactions take the write lock at once."""
    engine = create_engine(
        f"sqlite:///{database}", poolclass=NullPool, connect_args={"timeout": LOCK_WAIT_S}
    )

    def connected(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
        # The driver's own idea of when a transaction begins would come after the first read.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL").close()
        connection.execute("PRAGMA synchronous=NORMAL").close()

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begin)
    return engine


def _migrate(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", "perpbot.operations.records:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
