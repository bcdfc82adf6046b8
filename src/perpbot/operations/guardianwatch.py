"""Notices that the guardian that should be there is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from perpbot.guardian.status import GuardianStatus, guardian_of

INTERVAL_S = 10.0


class GuardianWatch:
    """Looks for the guardian of a state directory. `run` is the task."""

    def __init__(
        self,
        directory: Path,
        alarm: Callable[[str], None],
        find: Callable[[Path], GuardianStatus | None] = guardian_of,
    ) -> None:
        """`alarm` hears it once each time that nobody is there or somebody cannot act."""
        self._directory = directory
        self._alarm = alarm
        self._find = find
        self._problem = ""

    def look(self) -> str:
        """Look once; return what is wrong, or ""."""
        found = self._find(self._directory)
        if found is None:
            problem = "nobody watches over this node: start perpbot guardian"
        else:
            deaf = [name for name, hand in found.venues.items() if not hand.ready]
            problem = f"the guardian cannot act at {', '.join(deaf)}" if deaf else found.problem
        if problem and problem != self._problem:
            self._alarm(problem)
        self._problem = problem
        return problem

    async def run(self) -> None:
        """Look until cancelled; the first time after a while, since both may just be starting."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            self.look()
