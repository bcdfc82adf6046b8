"""The live view."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from perpbot.console.state import ConsoleState
from perpbot.console.terminal import LiveView, picture
from perpbot.operations.health import Grade, Health
from perpbot.research.world import World
from tests.unit.operations.small_world import feed, rows, small_world, sources


@pytest.fixture
def world() -> World:
    """A world with a pair at work, and what a console has heard of it."""
    return small_world()


def drawn(state: ConsoleState, said: str = "") -> list[str]:
    """Return a picture as the lines of a terminal of 80 columns."""
    out = Console(file=io.StringIO(), width=80, height=24, color_system=None)
    with out.capture() as captured:
        out.print(picture(state, 12.0, said))
    return captured.get().splitlines()


def test_the_picture_fits_a_small_terminal(world: World) -> None:
    """80 by 24, with every part in it."""
    state = ConsoleState(
        sources(world), lambda: Health(score=99.0, grade=Grade.OK, components={"quote": 99.0})
    )
    feed(world, rows(25.0, gap_from_s=20.0))

    lines = drawn(state, "hello")

    assert len(lines) <= 24
    assert all(len(line) <= 80 for line in lines)
    text = "\n".join(lines)
    for part in ("perpbot replay", "BTC-PERP", "binance", "okx", "opportunities (", "pairs (1)",
                 "hedged", "positions (2)", "capital", "health", "hello"):  # fmt: skip
        assert part in text


def test_an_empty_node_shows_dashes_and_unknowns(world: World) -> None:
    """Nothing is invented before the first quote."""
    lines = drawn(ConsoleState(sources(world)))

    assert "-" in lines[2]
    assert "health unknown" in lines[0]


def test_the_kill_switch_is_seen_at_once(world: World) -> None:
    """In the head line."""
    state = ConsoleState(sources(world))
    world.core.kill_switch.engage(2, actor="me", reason="try")

    assert "KILL 2" in drawn(state)[0]
    world.core.kill_switch.clear(actor="me", reason="over")
    world.core.kill_switch.engage(4, actor="me", reason="try", venue="okx")
    assert "KILL 4 okx" in drawn(state)[0]


def test_the_view_draws_and_gives_the_terminal_back(world: World) -> None:
    """What was said is at the foot."""
    out = io.StringIO()
    console = Console(file=out, width=80, height=24, force_terminal=True)
    with LiveView(ConsoleState(sources(world)), console) as view:
        view.say("a line")
        view.show(1.0)

    assert "a line" in out.getvalue()
    assert out.getvalue().endswith("\x1b[?25h")
