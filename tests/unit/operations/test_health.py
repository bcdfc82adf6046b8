"""The health monitor: components, what is unknown, alerts."""

from __future__ import annotations

import pytest

from perpbot.domain.events import AlertFired, HealthSnapshotUpdated, OrderFailed, OrderPlaced
from perpbot.operations.health import Grade, HealthMonitor
from perpbot.operations.settings import HealthSettings
from perpbot.research.world import World
from tests.unit.operations.small_world import feed, rows, small_world, sources


@pytest.fixture
def world() -> World:
    """Two venues that have quoted for twenty seconds."""
    made = small_world()
    feed(made, rows(20.0))
    return made


def monitor(world: World) -> HealthMonitor:
    """Return a monitor with the default settings."""
    return HealthMonitor(sources(world), HealthSettings(), snapshot_max_age_s=60.0)


def test_a_new_node_claims_nothing_that_it_cannot_know() -> None:
    """Before any quote, balance or order, those components are absent."""
    judge = HealthMonitor(sources(small_world()), HealthSettings(), snapshot_max_age_s=60.0)

    health = judge.judge()

    assert health.components == {"exposure": 100.0} or not health.components
    assert "quote" not in health.components


def test_a_node_that_never_connects_is_critical_after_the_window() -> None:
    """Without a quote or an agreed comparison there is no health, once it had its time."""
    world = small_world()
    judge = HealthMonitor(sources(world), HealthSettings(), snapshot_max_age_s=60.0)
    assert judge.judge().components.get("quote") is None
    world.time.run_until(world.time.now_ns() + 11 * 10**9)

    health = judge.judge()

    assert health.components["quote"] == 0.0
    assert health.grade is not Grade.OK


def test_a_quiet_market_is_healthy(world: World) -> None:
    """The scanner is judged by evaluations, not by what it finds."""
    judge = monitor(world)
    judge.judge()
    feed(world, rows(5.0, since_s=20.0))

    health = judge.judge()

    assert world.core.scanner.episodes == 0
    assert health.components["scanner"] == 100.0
    assert health.grade is Grade.OK


def test_a_scanner_that_stands_still_is_ill(world: World) -> None:
    """No evaluation in the window is zero."""
    judge = monitor(world)
    judge.judge()
    world.time.run_until(world.time.now_ns() + 15 * 10**9)

    assert judge.judge().components["scanner"] == 0.0


@pytest.mark.parametrize(
    ("orders", "failed", "expected"),
    [(9, 9, None), (10, 0, 100.0), (10, 4, 60.0)],
    ids=["below the sample", "all good", "four of ten failed"],
)
def test_success_is_unknown_below_the_minimum_sample(
    world: World, orders: int, failed: int, expected: float | None
) -> None:
    """A share of nine orders says nothing; of ten it counts each order once."""
    judge = monitor(world)
    source = sources(world)
    judge = HealthMonitor(source, HealthSettings(), snapshot_max_age_s=60.0)
    for number in range(orders):
        event = (
            OrderFailed(client_id=f"{number:032x}", reason="no")
            if number < failed
            else OrderPlaced(client_id=f"{number:032x}")
        )
        judge._note(event, good=number >= failed)
        judge._note(event, good=number >= failed)

    assert judge.judge().components.get("execution") == expected


def test_old_quotes_fire_one_alert_an_edge(world: World) -> None:
    """Silence beyond the critical age alerts once, and again only after a recovery."""
    fired: list[AlertFired] = []
    world.core.bus.subscribe(AlertFired, fired.append, core=False)
    judge = monitor(world)
    world.time.run_until(world.time.now_ns() + 11 * 10**9)
    judge.judge()
    judge.judge()

    assert [alert.name for alert in fired if "okx" in alert.name] == ["quotes_old_okx"]
    assert "10 s is critical" in fired[-1].text or "critical" in fired[-1].text


def test_lag_is_reported_and_forgotten(world: World) -> None:
    """The worst lag since the last judgement is in it, and not in the next."""
    judge = monitor(world)
    judge.loop_lag_ms = 80.0

    assert judge.judge().loop_lag_ms == 80.0
    assert judge.judge().loop_lag_ms == 0.0


def test_the_score_is_published(world: World) -> None:
    """Views and alerters hear HEALTH_SNAPSHOT_UPDATE."""
    heard: list[HealthSnapshotUpdated] = []
    world.core.bus.subscribe(HealthSnapshotUpdated, heard.append, core=False)

    score = monitor(world).judge().score

    assert heard[-1].score == score
