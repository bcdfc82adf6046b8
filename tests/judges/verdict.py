"""How a judge runs its checks and says what it found; standard library only."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Iterator

CHECK_TIMEOUT_S = 30


async def run_checks(label: str, judge: object, without: Collection[str] = ()) -> int:
    """Run every method `check_*` of `judge` in the order of writing; return the exit code.

    Prints a line a check and, last, `N passed, N failed`. Checks in `without` do not apply.
    """
    checks = [
        name
        for name in vars(type(judge))
        if name.startswith("check_") and name.removeprefix("check_") not in without
    ]
    failed = 0
    for name in checks:
        what = f"{label}: {name.removeprefix('check_').replace('_', ' ')}"
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                await getattr(judge, name)()
        except Exception as error:  # noqa: BLE001 - any failure of a check is a finding
            failed += 1
            print(f"FAIL {what}: {type(error).__name__}: {str(error)[:600]}", flush=True)
        else:
            print(f"ok   {what}", flush=True)
    print(f"{len(checks) - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


@contextlib.contextmanager
def refused(*kinds: type[Exception], saying: str = "") -> Iterator[None]:
    """Expect a refusal of one of `kinds` whose text contains `saying`."""
    try:
        yield
    except kinds as error:
        if saying not in str(error):
            raise
        return
    raise AssertionError(f"was not refused with {[kind.__name__ for kind in kinds]}")


async def attempts(seconds: float, *, every_s: float = 0.25) -> AsyncIterator[int]:
    """Count up until the time is over, with a pause between."""
    for number in range(round(seconds / every_s)):
        yield number
        await asyncio.sleep(every_s)
