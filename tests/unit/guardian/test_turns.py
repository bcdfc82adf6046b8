"""The selector that asks after a gap between two turns of the loop."""

from __future__ import annotations

import asyncio

from perpbot.guardian.turns import TurnGuard


def test_after_a_gap_it_asks_before_anything_goes_on() -> None:
    """A task that was waiting when the process stood still does not run first."""
    clock = [0]
    guard = TurnGuard(lambda: clock[0])
    done: list[str] = []

    async def wait_then_send(gate: asyncio.Event) -> None:
        await gate.wait()
        done.append("sent")

    async def main() -> None:
        gate = asyncio.Event()
        task = asyncio.create_task(wait_then_send(gate))
        await asyncio.sleep(0)

        def stop() -> None:
            done.append("asked")
            task.cancel()

        guard.arm(5, stop)
        await asyncio.sleep(0)
        clock[0] = 4
        await asyncio.sleep(0)
        assert done == []
        gate.set()  # what it waited for comes
        clock[0] = 10  # and the process stands still
        await asyncio.gather(task, return_exceptions=True)
        guard.disarm()
        clock[0] = 100
        await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=guard.loop) as runner:
        runner.run(main())

    assert done == ["asked"]
