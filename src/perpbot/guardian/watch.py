"""Tells from heartbeats whether the node is there, silent, or back. Pure: no file, no clock.

| node               | beats                              | verdict  |
|--------------------|------------------------------------|----------|
| never ran, ended   | none, or the last one says so      | ABSENT   |
| works              | younger than the silence           | ALIVE    |
| hangs or is dead   | older than the silence             | SILENT   |

Silence counts while the guardian itself looks: what passed before it started, and what it slept
through with the whole machine, tells nothing of the node.
"""

from __future__ import annotations

from enum import StrEnum

from perpbot.guardian.heartbeat import Beat


class Verdict(StrEnum):
    """How the node stands."""

    ABSENT = "absent"
    ALIVE = "alive"
    SILENT = "silent"


class Watch:
    """See the module. Times are on the clock of both (`bootclock`)."""

    def __init__(self, *, silence_ns: int, now_ns: int, boot_id: str) -> None:
        self._silence_ns = silence_ns
        self._gap_ns = silence_ns // 2
        self._since_ns = now_ns
        self._looked_ns = now_ns
        self._boot_id = boot_id
        self.silence_ns = 0
        """How long the node has been silent, by the last look."""

    def look(self, now_ns: int, beat: Beat | None) -> Verdict:
        """Judge the newest beat; `now_ns` was read before it was."""
        if now_ns - self._looked_ns > self._gap_ns:
            self._since_ns = now_ns
        self._looked_ns = now_ns
        if beat is None or beat.ended:
            self.silence_ns = 0
            return Verdict.ABSENT
        heard_ns = beat.at_ns if beat.boot_id == self._boot_id else 0
        self.silence_ns = max(now_ns - max(heard_ns, self._since_ns), 0)
        return Verdict.SILENT if self.silence_ns >= self._silence_ns else Verdict.ALIVE
