"""A node's memory on its disk: the journal, opened and folded, and snapshots of it.

A snapshot makes a restart short and is nothing else: where none can be written the journal alone
must do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

from perpbot.app.core import Core
from perpbot.app.durability import SYNCED
from perpbot.app.folds import Folds
from perpbot.app.recovery import recover
from perpbot.configuration import Settings
from perpbot.domain.errors import JournalCorrupt, JournalFull
from perpbot.kernel.clock import SECOND, Timers
from perpbot.kernel.journal.settling import Beside, Work
from perpbot.kernel.journal.writer import Journal
from perpbot.kernel.supervisor import Supervisor

POLL_S = 0.05
SNAPSHOT_CHECK_S = 5
MB = 1024 * 1024


class NodeMemory:
    """Opens and folds the journal. Raises `JournalCorrupt` that says what to do about it."""

    def __init__(
        self,
        directory: Path,
        settings: Settings,
        say: Callable[[str], None],
        beside: Beside,
    ) -> None:
        """`beside` begins what waits for a disk."""
        self._settings = settings.journal
        self._say = say
        self._beside = beside
        self._snapshot_at = 0
        self._writing: Work | None = None
        # A demo or a replay leaves nothing behind: it needs no room to spare.
        spare_mb = 0 if settings.mode.is_virtual else self._settings.min_free_disk_mb
        try:
            self.journal = Journal(
                directory,
                segment_bytes=self._settings.segment_max_mb * MB,
                sync=SYNCED[self._settings.sync],
                min_free_bytes=spare_mb * MB,
                beside=beside,
            )
            try:
                self.folds = self._recover()
            except BaseException:
                self.journal.close()
                raise
        except JournalCorrupt as damage:
            raise JournalCorrupt(
                f"the journal is damaged: {damage}; nothing was changed or sent: "
                "`perpbot recover --dry-run` shows what can be kept"
            ) from damage

    def _recover(self) -> Folds:
        """Fold snapshot and journal: the state at the last record."""
        found = recover(self.journal)
        if found.refused_snapshot:
            self._say(f"the newest snapshot was not used: {found.refused_snapshot}")
        if found.snapshot or found.records:
            self._say(f"recovered: snapshot at {found.snapshot}, {found.records} records after it")
        return found.folds

    def keep_snapshots(self, core: Core, timers: Timers, supervisor: Supervisor) -> None:
        """Keep a snapshot every so many records from now on."""
        self._snapshot_at = self.journal.last_sequence

        def check() -> None:
            if core.bus.halted is not None:
                return
            due = self._snapshot_at + self._settings.snapshot_every_records
            if self.journal.last_sequence >= due and not self._keeping:
                supervisor.run("snapshot", self._keep(core))
            self.journal.regain_reserve()
            timers.call_later(SNAPSHOT_CHECK_S * SECOND, check)

        timers.call_later(SNAPSHOT_CHECK_S * SECOND, check)

    async def _keep(self, core: Core) -> None:
        """Take the state at once and write it beside the loop: a disk takes its time."""
        sequence, state = self.journal.last_sequence, core.state.dump()
        try:
            self._writing = writing = self._beside(
                partial(self.journal.write_snapshot, state, sequence=sequence)
            )
            while not writing.done():  # noqa: ASYNC110 - the end of a thread: looked at
                await asyncio.sleep(POLL_S)
            writing.result()
        except (JournalFull, OSError) as error:
            self._say(f"no snapshot was written: {error}")
        else:
            self._snapshot_at = sequence

    @property
    def _keeping(self) -> bool:
        return self._writing is not None and not self._writing.done()

    def keep_last(self, core: Core) -> None:
        """Keep the state in which a run ends, after what is being written."""
        try:
            if self._writing is not None and self._keeping:
                self._writing.result()
            self.journal.write_snapshot(core.state.dump())
        except (JournalFull, OSError) as error:
            self._say(f"no snapshot was written: {error}")

    def close(self) -> None:
        """Let go of the journal."""
        self.journal.close()
