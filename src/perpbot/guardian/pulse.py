"""The node's side: its heartbeat, and the fence before everything that it sends.

A heartbeat is a lease. Within it no guardian can have taken over, and a send costs one comparison.
After a gap (the process was stopped, the machine slept, the loop stalled) the node beats first and
then reads the epoch file; the guardian raises the epoch first and then reads the beat. So at least
one of them sees the other, and never do both act.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from perpbot.domain.errors import PerpbotError
from perpbot.guardian.bootclock import boot_id, boot_ns
from perpbot.guardian.epoch import read_epoch
from perpbot.guardian.heartbeat import Beat, HeartbeatFile
from perpbot.kernel.clock import SECOND


class TakenOver(PerpbotError):
    """The guardian has taken over: this run may send nothing any more."""


class Pulse:
    """See the module. One run of a node has one."""

    def __init__(
        self,
        directory: Path,
        *,
        run: str,
        epoch: int,
        lease_s: float,
        clock_ns: Callable[[], int] = boot_ns,
    ) -> None:
        """`clock_ns` is shared with the guardian (`bootclock`)."""
        self._directory = directory
        self._run = run
        self._epoch = epoch
        self._lease_ns = int(lease_s * SECOND)
        self._clock_ns = clock_ns
        self._boot_id = boot_id()
        self._file = HeartbeatFile(directory)
        self._count = 0
        self._until_ns = 0
        self.gaps = 0
        """How often the lease had run out when something was to be sent, or at a beat."""

    def beat(self) -> None:
        """Give a sign of life. Raises `TakenOver` after a gap in which a guardian acted.

        Raises `OSError` where it cannot be written; the lease then runs out.
        """
        if self._clock_ns() >= self._until_ns:
            self.gaps += 1
            self._write(renew=False)
            self.look()
        self._write()

    def check(self) -> None:
        """Let a send pass within the lease; after it, raise `TakenOver` if that is so.

        A beat that cannot be written does not hold up a hedge: then each send reads the file.
        """
        if self._clock_ns() < self._until_ns:
            return
        with suppress(OSError):
            self.beat()
            return
        self.look()

    def look(self) -> None:
        """Read the epoch file, lease or not. Raises `TakenOver`; `StateConflict` if damaged."""
        epoch = read_epoch(self._directory)
        if epoch is not None and epoch.number >= self._epoch:
            raise TakenOver(
                f"the guardian took over (epoch {epoch.number}, this run has {self._epoch}): "
                f"{epoch.reason}"
            )

    def end(self) -> None:
        """Say that the run ended in order, and let go."""
        self._write(ended=True)
        self.close()

    def close(self) -> None:
        """Let go without a word: what was said last stands."""
        self._until_ns = 0
        self._file.close()

    def _write(self, *, ended: bool = False, renew: bool = True) -> None:
        now_ns = self._clock_ns()
        self._count += 1
        self._file.write(
            Beat(
                run=self._run,
                epoch=self._epoch,
                count=self._count,
                at_ns=now_ns,
                boot_id=self._boot_id,
                ended=ended,
            )
        )
        if renew:
            self._until_ns = now_ns + self._lease_ns
