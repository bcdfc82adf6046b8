"""Numbers for Prometheus."""

from __future__ import annotations

import re

from perpbot.operations.health import Health
from perpbot.operations.metrics import Metrics, NodeCollector
from tests.unit.operations.small_world import sources, traded_world


def test_metrics_have_units_and_no_ids() -> None:
    """Names say their unit; no label holds an id; nothing says when a series was created."""
    world = traded_world()
    world.core.kill_switch.engage(2, actor="me", reason="try", venue="okx")
    health = Health(score=95.0, components={"quote": 100.0})
    text = Metrics(NodeCollector(sources(world), lambda: health, lambda: 3)).text().decode()

    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(values["perpbot_pairs_closed_total"]) == world.core.folds.pairs.closed
    assert float(values['perpbot_health_ratio{component="all"}']) == 0.95
    assert float(values["perpbot_records_behind"]) == 3
    assert float(values["perpbot_kill_level"]) == 0
    assert float(values['perpbot_venue_kill_level{venue="okx"}']) == 2
    assert float(values['perpbot_venue_kill_level{venue="binance"}']) == 0
    assert "_created" not in text
    assert not re.search(r"[0-9a-f]{32}", text)
    labels = set(re.findall(r"(\w+)=\"", text))
    assert labels <= {
        "mode", "version", "lane", "venue", "reason", "channel", "pool", "part", "component",
    }  # fmt: skip
