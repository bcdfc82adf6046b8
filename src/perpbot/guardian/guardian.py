"""The guardian: looks for the node's heartbeat, and takes over when there is none.

Order of things: raise the epoch (from then on the node sends nothing), look once more whether the
node came back meanwhile, and only then act. It hands back as soon as a run with a higher epoch
beats: that run has recovered, and compares with every venue before it opens anything.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from perpbot.domain.errors import InvalidValue, StateConflict
from perpbot.guardian.bootclock import boot_id, boot_ns
from perpbot.guardian.epoch import Epoch, epoch_number, raise_epoch
from perpbot.guardian.hand import Hand
from perpbot.guardian.heartbeat import Beat, read_beat
from perpbot.guardian.record import GuardianRecord
from perpbot.guardian.settings import Flatten, GuardianSettings
from perpbot.guardian.status import GuardianLock, GuardianStatus
from perpbot.guardian.takeover import Takeover
from perpbot.guardian.watch import Verdict, Watch
from perpbot.kernel.clock import SECOND, Clock

LOOK_S = 0.25
"""Between two looks at the heartbeat, or a tenth of the silence where that is less."""
DISK_LIMIT_S = 2.0
TRY_S = 60.0
"""Between two tries of a key that works."""
RETRY_S = 5.0
UNREAD = 5
"""So often in a row a heartbeat is found half written at most; then it is damaged."""
WRITTEN_S = 0.02
"""Long after it a beat that was half written is whole."""


class Guardian:
    """See the module. `run` works until its task is cancelled."""

    def __init__(
        self,
        directory: Path,
        settings: GuardianSettings,
        hands: Sequence[Hand],
        lock: GuardianLock,
        record: GuardianRecord,
        clock: Clock,
        *,
        flatten: Flatten,
        clock_ns: Callable[[], int] = boot_ns,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`flatten` is what may be closed, as far as keys and accounts allow it."""
        self._directory = directory
        self._settings = settings
        self._hands = hands
        self._lock = lock
        self._record = record
        self._clock = clock
        self._clock_ns = clock_ns
        self._sleep = sleep
        self._flatten = flatten
        self._watch = Watch(
            silence_ns=int(settings.silence_s * SECOND), now_ns=clock_ns(), boot_id=boot_id()
        )
        self._beat: Beat | None = None
        self._unread = 0
        """Looks in a row that could not read the heartbeat."""
        self._verdict = Verdict.ABSENT
        self._epoch = 0
        """Of our taking over; 0 while the node has the word."""
        self._taken_ns = 0
        self._work: Takeover | None = None
        self._task: asyncio.Task[None] | None = None
        self._problem = ""

    async def run(self) -> None:
        """Watch until cancelled. Raises what a takeover fails with: a fault of ours."""
        self._record.write(
            "started",
            pid=os.getpid(),
            flatten=self._flatten,
            venues=[hand.name for hand in self._hands],
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                for hand in self._hands:
                    tasks.create_task(self._keep_ready(hand))
                while True:
                    await self.step()
                    await self._sleep(min(LOOK_S, self._settings.silence_s / 10))
        finally:
            await self._stop_work()
            self._record.write("ended", epoch=self._epoch)

    async def _keep_ready(self, hand: Hand) -> None:
        """Try the key from time to time: what does not work is said before it is needed."""
        while True:
            ready = True if self._epoch else await hand.prepare()
            await self._sleep(TRY_S if ready else RETRY_S)

    async def step(self) -> None:
        """Look once, and do what follows."""
        now_ns = self._clock_ns()
        self._hear()
        before, self._verdict = self._verdict, self._watch.look(now_ns, self._beat)
        if self._verdict is not before:
            self._record.write(
                self._verdict, run_epoch=0 if self._beat is None else self._beat.epoch
            )
        if self._task is not None and self._task.done():
            self._task.result()
        if self._epoch:
            await self._go_on(now_ns)
        elif self._verdict is Verdict.SILENT and self._beat is not None:
            await self._take_over(self._beat, now_ns)
        self._tell(now_ns)

    def _hear(self) -> None:
        """Read the newest beat; what cannot be read, or was removed, ends no run."""
        try:
            beat = read_beat(self._directory)
        except InvalidValue as damage:  # or half written: the next look sees it whole
            self._unread += 1
            if self._unread > UNREAD and self._beat is None:
                self._trouble(
                    f"the heartbeat cannot be read ({damage}): it is not known whether a node is "
                    "there"
                )
            return
        if self._unread > UNREAD:
            self._problem = ""
        self._unread = 0
        self._beat = beat or self._beat

    # --- taking over ---

    async def _take_over(self, beat: Beat, now_ns: int) -> None:
        reason = f"no heartbeat of run {beat.epoch} for {self._watch.silence_ns / SECOND:.1f} s"
        try:
            number = max(epoch_number(self._directory), beat.epoch) + 1
            await self._raise(
                Epoch(
                    number=number,
                    run_epoch=beat.epoch,
                    at_ns=self._clock.now_ns(),
                    reason=reason,
                )
            )
        except (OSError, StateConflict) as error:
            # Without the fence a node that wakes up would act beside us.
            self._trouble(f"cannot take over: {error}")
            return
        self._problem = ""
        self._record.write("epoch", number=number, run_epoch=beat.epoch, reason=reason)
        if await self._came_back(beat):
            self._record.write("not_needed", why="the node beat while the epoch was raised")
            return
        self._epoch, self._taken_ns = number, now_ns
        for hand in self._hands:
            hand.begin(number, self._has_word)
        self._work = Takeover(self._hands, self._record, self._flatten, sleep=self._sleep)
        self._task = asyncio.create_task(self._work.run(), name="takeover")

    async def _raise(self, epoch: Epoch) -> None:
        """Put the fence up; a disk that hangs must not keep us from it, only from its promise."""
        try:
            async with asyncio.timeout(DISK_LIMIT_S):
                await asyncio.to_thread(raise_epoch, self._directory, epoch)
        except TimeoutError:
            if epoch_number(self._directory) < epoch.number:
                raise_epoch(self._directory, epoch, durable=False)
            self._record.write("problem", text="the disk hangs: the epoch may not outlive it")

    async def _came_back(self, silent: Beat) -> bool:
        for _ in range(UNREAD):
            try:
                beat = read_beat(self._directory)
            except InvalidValue:
                await self._sleep(WRITTEN_S)  # it may be being written at this moment
            else:
                return beat is not None and (beat.run, beat.count) != (silent.run, silent.count)
        return False  # nobody writes there: it is damaged for good

    def _has_word(self) -> bool:
        """Whether no run above our epoch beats: looked up before each order."""
        self._hear()
        return self._beat is None or self._beat.epoch <= self._epoch

    async def _go_on(self, now_ns: int) -> None:
        beat = self._beat
        if beat is not None and beat.epoch > self._epoch:
            self._record.write("handed_back", epoch=self._epoch, run_epoch=beat.epoch)
            await self._stop_work()
            self._epoch = 0
            return
        wait_s = self._settings.flatten_after_s - self._settings.silence_s
        due = now_ns - self._taken_ns >= int(wait_s * SECOND)
        if due and self._work is not None and self._flatten is not Flatten.NONE:
            self._work.flatten()

    async def _stop_work(self) -> None:
        task, self._task, self._work = self._task, None, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    # --- saying ---

    def _trouble(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            self._record.write("problem", text=problem)

    def _tell(self, now_ns: int) -> None:
        settings = self._settings
        status = GuardianStatus(
            pid=os.getpid(),
            phase="taken over" if self._epoch else self._verdict.value,
            silence_s=self._watch.silence_ns / SECOND,
            at_ns=now_ns,
            epoch=self._epoch,
            flatten=self._flatten.value,
            silence_limit_s=settings.silence_s,
            flatten_after_s=settings.flatten_after_s,
            venues={hand.name: hand.status for hand in self._hands},
            problem=self._problem or self._record.trouble,
        )
        try:
            self._lock.tell(status)
        except OSError as error:  # nobody sees us; that must not keep us from acting
            self._trouble(f"the status cannot be written: {error}")
