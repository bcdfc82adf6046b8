"""The score of an opportunity."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpbot.strategies.arbitrage.score import score
from perpbot.strategies.arbitrage.settings import ArbitrageSettings

SETTINGS = ArbitrageSettings()


def of(edge_bps: float, size: float, reliability: float) -> float:
    """Score with a least size of 0.1."""
    return score(SETTINGS, edge_bps=edge_bps, size=size, least_size=0.1, reliability=reliability)


@pytest.mark.parametrize(
    ("edge_bps", "size", "reliability", "expected"),
    [
        pytest.param(50.0, 0.5, 1.0, 0.4 * 0.5 + 0.3 * 0.5 + 0.3, id="inside"),
        pytest.param(1e9, 0.0, 0.0, 0.4, id="profit-is-clamped"),
        pytest.param(0.0, 1e9, 0.0, 0.3, id="depth-is-clamped"),
        pytest.param(0.0, 0.0, 7.0, 0.3, id="reliability-is-clamped"),
        pytest.param(-5.0, 0.0, -1.0, 0.0, id="nothing-below-zero"),
    ],
)
def test_terms_are_clamped_and_weighted(
    edge_bps: float, size: float, reliability: float, expected: float
) -> None:
    """No term outweighs the others, however large."""
    assert of(edge_bps, size, reliability) == pytest.approx(expected)


def test_market_without_minimum_is_liquid() -> None:
    """Any size is enough where none is asked."""
    assert score(SETTINGS, edge_bps=0, size=1, least_size=0, reliability=0) == 0.3


@given(edge_bps=st.floats(-1e6, 1e6), size=st.floats(0, 1e9), reliability=st.floats(-2, 2))
def test_score_lies_between_0_and_1(edge_bps: float, size: float, reliability: float) -> None:
    """For any numbers."""
    assert 0.0 <= of(edge_bps, size, reliability) <= 1.0 + 1e-12
