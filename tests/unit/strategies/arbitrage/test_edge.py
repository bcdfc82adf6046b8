"""The edge by its definition."""

from __future__ import annotations

import pytest

from perpbot.strategies.arbitrage.costs import RoundTrip
from perpbot.strategies.arbitrage.edge import edge_of, gross_bps


@pytest.mark.parametrize(
    ("floor", "accepted"),
    [pytest.param(0.002, False, id="two-tenths"), pytest.param(0.0002, True, id="two-hundredths")],
)
def test_worked_example_of_the_documents(floor: float, accepted: bool) -> None:
    """Buy at 95 100, sell at 95 200, cost 5 bps; here per unit of the buy price."""
    spread = gross_bps(95_100.0, 95_200.0, 95_100.0) / 10_000
    edge = edge_of(
        long_ask=95_100.0,
        short_bid=95_200.0,
        mean_mid=95_100.0,
        expected_exit_bps=0.0,
        costs=RoundTrip(entry_fees_bps=5.0, exit_fees_bps=0.0, slippage_bps=0.0),
        funding_bps=0.0,
    )
    net = edge.edge_bps / 10_000
    assert spread == pytest.approx(0.00105152, abs=1e-8)
    assert net == pytest.approx(0.00055152, abs=1e-8)
    assert (net > floor) is accepted


def test_every_term_is_told_and_sums_to_the_edge() -> None:
    """Costs are taken off, funding is added with its sign."""
    edge = edge_of(
        long_ask=100.0,
        short_bid=100.5,
        mean_mid=100.25,
        expected_exit_bps=-3.0,
        costs=RoundTrip(entry_fees_bps=10.0, exit_fees_bps=4.0, slippage_bps=2.0),
        funding_bps=-1.0,
    )
    assert edge.gross_bps == pytest.approx(49.875, abs=1e-3)
    assert edge.edge_bps == pytest.approx(edge.gross_bps + 3.0 - 10.0 - 4.0 - 2.0 - 1.0)
