"""Numbers for Prometheus, read from the components when they are asked for.

Nothing is counted on the way of a quote or an order. Labels come from closed sets (venues, assets,
reasons, lanes), never from ids. Seconds, ratios and USD, as the names say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from perpbot.operations.health import Health
from perpbot.operations.sources import Sources

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class NodeCollector(Collector):
    """Every metric of a node."""

    def __init__(
        self,
        sources: Sources,
        health: Callable[[], Health],
        records_behind: Callable[[], int] = lambda: 0,
    ) -> None:
        self._sources = sources
        self._health = health
        self._records_behind = records_behind

    def collect(self) -> Iterator[Metric]:
        """Read everything once."""
        yield from self._node()
        yield from self._market()
        yield from self._trading()
        yield from self._money()
        yield from self._judged()

    def _node(self) -> Iterator[Metric]:
        s = self._sources
        info = GaugeMetricFamily("perpbot_info", "What runs.", labels=["mode", "version"])
        info.add_metric([s.mode, s.version], 1)
        yield info
        age_s = max(s.clock.now_ns() - s.started_ns, 0) / 1e9
        yield GaugeMetricFamily("perpbot_uptime_seconds", "Time since the start.", value=age_s)
        statistics = s.bus.statistics()
        depth = GaugeMetricFamily("perpbot_bus_depth", "Waiting events.", labels=["lane"])
        for lane, waiting in statistics.depth.items():
            depth.add_metric([lane], waiting)
        yield depth
        yield CounterMetricFamily(
            "perpbot_bus_events", "Events handled.", value=statistics.handled
        )
        yield CounterMetricFamily(
            "perpbot_bus_replaced",
            "Latest values replaced by newer ones.",
            value=statistics.replaced,
        )
        yield GaugeMetricFamily(
            "perpbot_journal_sequence", "Newest journal record.", value=s.bus.sequence
        )
        yield GaugeMetricFamily(
            "perpbot_records_behind",
            "Journal records that the tables have not taken yet.",
            value=self._records_behind(),
        )

    def _market(self) -> Iterator[Metric]:
        s = self._sources
        statistics = s.quotes.statistics()
        accepted = CounterMetricFamily("perpbot_quotes", "Quotes taken.", labels=["venue"])
        for venue, count in statistics.accepted.items():
            accepted.add_metric([venue], count)
        yield accepted
        refused = CounterMetricFamily(
            "perpbot_quotes_refused", "Quotes refused.", labels=["venue", "reason"]
        )
        for venue, reasons in statistics.refused.items():
            for reason, count in reasons.items():
                refused.add_metric([venue, reason], count)
        yield refused
        age = GaugeMetricFamily(
            "perpbot_quote_age_seconds", "Age of a venue's newest quote.", labels=["venue"]
        )
        up = GaugeMetricFamily(
            "perpbot_channel_up", "Whether a channel is live.", labels=["venue", "channel"]
        )
        for venue in s.venues:
            age_s = s.quote_age_s(venue)
            if age_s is not None:
                age.add_metric([venue], age_s)
            for channel in ("public", "private", "trading"):
                up.add_metric([venue, channel], s.readiness.state(venue, channel) == "live")
        yield age
        yield up
        scans = s.scanner.statistics()
        yield CounterMetricFamily(
            "perpbot_evaluations", "Directions looked at.", value=scans.evaluated
        )
        yield CounterMetricFamily(
            "perpbot_opportunities", "Episodes above the floor.", value=scans.episodes
        )
        turned = CounterMetricFamily(
            "perpbot_opportunities_refused", "Turned down by execution.", labels=["reason"]
        )
        for reason, count in s.refused.items():
            turned.add_metric([reason], count)
        yield turned

    def _trading(self) -> Iterator[Metric]:
        pairs = self._sources.pairs
        yield GaugeMetricFamily("perpbot_pairs_open", "Pairs not flat yet.", value=len(pairs))
        yield CounterMetricFamily("perpbot_pairs_opened", "Both legs filled.", value=pairs.opened)
        yield CounterMetricFamily("perpbot_pairs_closed", "Flat again.", value=pairs.closed)
        yield GaugeMetricFamily(
            "perpbot_worst_unhedged_seconds",
            "Longest time that legs differed.",
            value=pairs.worst_unhedged_ns / 1e9,
        )
        orders = sum(1 for _ in self._sources.orders.unsettled())
        yield GaugeMetricFamily("perpbot_orders_open", "Orders not settled yet.", value=orders)
        yield GaugeMetricFamily(
            "perpbot_kill_level", "Kill switch, 0 is off.", value=self._sources.latches.kill_level
        )
        killed = GaugeMetricFamily(
            "perpbot_venue_kill_level", "Kill switch of a venue, 0 is off.", labels=["venue"]
        )
        kills = self._sources.latches.venue_kills
        for venue in dict.fromkeys((*self._sources.venues, *kills)):
            killed.add_metric([venue], kills[venue].level if venue in kills else 0)
        yield killed

    def _money(self) -> Iterator[Metric]:
        s = self._sources
        equity = GaugeMetricFamily("perpbot_equity_usd", "Equity.", labels=["venue"])
        for venue, amount in s.equity.current.items():
            equity.add_metric([venue], float(amount))
        yield equity
        yield GaugeMetricFamily(
            "perpbot_drawdown_ratio", "Loss from the peak.", value=float(s.equity.drawdown())
        )
        pools = GaugeMetricFamily("perpbot_pool_usd", "Capital.", labels=["pool", "part"])
        for pool, parts in s.capital.pools().items():
            for part, amount in parts.items():
                pools.add_metric([pool, part], float(amount))
        yield pools
        exposure = s.aggregator.exposure()
        yield GaugeMetricFamily(
            "perpbot_exposure_net_usd", "Sum of |net| by asset.", value=float(exposure.total_net)
        )
        yield GaugeMetricFamily(
            "perpbot_exposure_gross_usd", "Sum of |leg|.", value=float(exposure.gross)
        )
        realised = GaugeMetricFamily(
            "perpbot_realised_usd", "Profit of pairs that are flat.", labels=["part"]
        )
        split = s.pairs.realised
        for part, amount in (
            ("price", split.price),
            ("fees", split.fees),
            ("funding", split.funding),
        ):
            realised.add_metric([part], float(amount))
        yield realised

    def _judged(self) -> Iterator[Metric]:
        health = self._health()
        score = GaugeMetricFamily(
            "perpbot_health_ratio", "Health, 1 is best.", labels=["component"]
        )
        if health.score is not None:
            score.add_metric(["all"], health.score / 100)
        for name, value in health.components.items():
            score.add_metric([name], value / 100)
        yield score
        yield GaugeMetricFamily(
            "perpbot_loop_lag_seconds", "Worst lag of late.", value=health.loop_lag_ms / 1000
        )


class Metrics:
    """A registry of its own: two nodes in one process never mix."""

    def __init__(self, collector: Collector) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(collector)

    def text(self) -> bytes:
        """Return the exposition format."""
        return generate_latest(self._registry)
