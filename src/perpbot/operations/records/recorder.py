"""TradeRecorder: keeps the tables up with the journal, at its own pace and with its own cursor.

Delete the database and it is built again; a damaged one is set aside and built again too. A batch
and the cursor are one transaction, so a crash repeats nothing and loses nothing, and two processes
(a node and an export) may do it in turns.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from perpbot.kernel.journal.reading import JournalCursor
from perpbot.operations.records.projection import project
from perpbot.operations.records.tables import CURSOR

LOCK_WAIT_S = 5.0
FILES = ("", "-wal", "-shm")
"""What SQLite keeps beside the name of a database."""
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class TradeRecorder:
    """See the module. Blocking: call it from a thread. Raises `OperationalError` when locked."""

    def __init__(self, database: Path, journal: Path) -> None:
        self._database = database
        self._journal = journal
        self._cursor: JournalCursor | None = None
        self.engine = open_engine(database)
        self.sequence = 0
        """Of the newest record that the tables show."""
        self.damage = ""
        """What was wrong with the database that was set aside last."""
        try:
            self._open()
        except DatabaseError as error:
            self._rebuild(error)

    def _open(self) -> None:
        self._database.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # SQLite gives its other files the mode of the first.
        os.close(os.open(self._database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        with self.engine.begin() as connection:
            _migrate(connection)

    def catch_up(self) -> int:
        """Take everything that the journal has; return how many records that were."""
        try:
            return self._batches()
        except DatabaseError as error:
            self._rebuild(error)
            return self._batches()

    def _rebuild(self, error: DatabaseError) -> None:
        """Begin again when the file is damaged or its tables are gone; raise `error` otherwise."""
        damage = damage_of(error)
        if not damage:
            raise error
        self.begin_again(damage)

    def begin_again(self, damage: str) -> None:
        """Set the database aside as `….damaged` and begin with an empty one."""
        self.damage = damage
        self._cursor, self.sequence = None, 0
        self.engine.dispose()
        for suffix in FILES:
            file = self._database.with_name(self._database.name + suffix)
            if file.exists():
                file.replace(file.with_name(f"{self._database.name}.damaged{suffix}"))
        self._open()

    def _batches(self) -> int:
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


def damage_of(error: DatabaseError) -> str:
    """Return what is wrong with the file itself; "" when it is only locked or the disk is full."""
    cause = error.orig
    code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF
    gone = code == sqlite3.SQLITE_ERROR and "no such table" in str(cause)
    return str(cause) if gone or code in _DAMAGED else ""


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
