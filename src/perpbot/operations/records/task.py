"""Runs the recorder beside a node: in a thread, waiting when the database is locked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sqlalchemy.exc import OperationalError

from perpbot.operations.records.recorder import TradeRecorder

INTERVAL_S = 1.0
ALARM_AFTER_S = 30.0


class RecorderTask:
    """`run` is the task. The core never waits for it; when it lags, it says so once."""

    def __init__(
        self,
        make: Callable[[], TradeRecorder],
        *,
        newest: Callable[[], int],
        alarm: Callable[[str], None],
        interval_s: float = INTERVAL_S,
        alarm_after_s: float = ALARM_AFTER_S,
    ) -> None:
        """`make` opens the recorder, in the thread; `newest` is the journal's newest sequence."""
        self._make = make
        self._newest = newest
        self._alarm = alarm
        self._interval_s = interval_s
        self._alarm_after_s = alarm_after_s
        self._recorder: TradeRecorder | None = None
        self._alarmed = False
        self._told_of = ""

    @property
    def behind(self) -> int:
        """Records of the journal that the tables do not show yet."""
        done = 0 if self._recorder is None else self._recorder.sequence
        return max(self._newest() - done, 0)

    async def run(self) -> None:
        """Keep up until cancelled."""
        loop = asyncio.get_running_loop()
        kept_up_s = loop.time()
        try:
            while True:
                try:
                    await asyncio.to_thread(self._work)
                    kept_up_s, self._alarmed = loop.time(), False
                    self._tell_damage()
                except OperationalError as error:
                    self._judge(loop.time() - kept_up_s, str(error.orig))
                await asyncio.sleep(self._interval_s)
        finally:
            if self._recorder is not None:
                self._recorder.close()

    def _work(self) -> None:
        if self._recorder is None:
            self._recorder = self._make()
        self._recorder.catch_up()
        if self._recorder.sequence > self._newest():
            self._recorder.begin_again("the tables are ahead of the journal")
            self._recorder.catch_up()

    def _tell_damage(self) -> None:
        """Say once that the tables were lost and are there again."""
        damage = "" if self._recorder is None else self._recorder.damage
        if damage and damage != self._told_of:
            self._told_of = damage
            self._alarm(
                f"the tables of trades were damaged ({damage}); they were set aside and built "
                "again from the journal"
            )

    def _judge(self, silent_s: float, why: str) -> None:
        if silent_s < self._alarm_after_s or self._alarmed:
            return
        self._alarmed = True
        self._alarm(
            f"the tables of trades are {self.behind} records behind for {silent_s:.0f} s: {why}"
        )
