from __future__ import annotations

import math
from collections import defaultdict
from itertools import pairwise

import pytest

from perpbot.domain.errors import InvalidValue
from perpbot.simulation.market import (
    TEN_PERPS,
    AssetModel,
    MarketMark,
    MarketModel,
    MarketQuote,
    MarketTrade,
    MarketUpdate,
    SyntheticMarket,
)

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
VENUES = ("binance", "okx", "hyperliquid")
CALM = MarketModel(dislocation_every_s=0.0, fast_move_every_s=0.0)


def run(
    seconds: float, *, seed: int = 1, step_s: float = 0.05, model: MarketModel | None = None
) -> list[MarketUpdate]:
    """All updates of a while."""
    market = SyntheticMarket(VENUES, seed=seed, start_ns=START, model=model)
    updates: list[MarketUpdate] = []
    for number in range(1, round(seconds / step_s) + 1):
        updates.extend(market.step(START + round(number * step_s * SECOND)))
    return updates


def mids(updates: list[MarketUpdate]) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """The middles by venue and asset, with their times."""
    found: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
    for update in updates:
        if isinstance(update, MarketQuote):
            mid = (update.bids[0][0] + update.asks[0][0]) / 2
            found[(update.venue, update.asset)].append((update.ts_ns, mid))
    return found


def test_seed_gives_the_same_market_however_it_is_stepped() -> None:
    """Equal for equal seeds and any cadence of calls; different for another seed."""
    assert run(4, step_s=0.05) == run(4, step_s=0.5)
    assert run(4) != run(4, seed=2)


def test_every_listing_quotes_at_its_own_pace() -> None:
    """Between 5 and 20 quotes a second, not all at the same moments."""
    seconds = 20
    series = mids(run(seconds, model=CALM))
    assert len(series) == len(VENUES) * len(TEN_PERPS)
    rates = [len(quotes) / seconds for quotes in series.values()]
    assert 4.5 < min(rates) < max(rates) < 20.5
    moments = {tuple(at for at, _ in quotes[:20]) for quotes in series.values()}
    assert len(moments) == len(series)


def test_depth_is_ten_levels_with_realistic_spreads() -> None:
    """Best first, apart, positive; a spread near the asset's."""
    typical = {asset.asset: asset.spread_bps for asset in TEN_PERPS}
    for update in run(2):
        if not isinstance(update, MarketQuote):
            continue
        for levels, sign in ((update.bids, -1), (update.asks, 1)):
            prices = [price for price, _ in levels]
            assert len(levels) == 10
            assert prices == sorted(prices, reverse=sign < 0)
            assert all(size > 0 for _, size in levels)
        spread_bps = (update.asks[0][0] / update.bids[0][0] - 1) * 1e4
        assert 0.5 < spread_bps / typical[update.asset] < 2.5


def test_venues_stay_together_up_to_a_standing_basis() -> None:
    """Without dislocations the same asset differs by a few bps, and steadily."""
    series = mids(run(30, model=CALM))
    for asset in TEN_PERPS:
        last = [series[(venue, asset.asset)][-1][1] for venue in VENUES]
        assert (max(last) / min(last) - 1) * 1e4 < 15


def test_volatility_is_the_assets() -> None:
    """The fundamental moves as its model says (within a factor of two over two minutes)."""
    model = MarketModel(
        assets=(AssetModel("BTC", 100.0, 1.0, 1e4, 0.05, 1.0),),
        dislocation_every_s=0.0,
        fast_move_every_s=0.0,
    )
    market = SyntheticMarket(("okx",), seed=3, start_ns=START, model=model)
    logs = [math.log(100.0)]
    for second in range(1, 121):
        market.step(START + second * SECOND)
        logs.append(math.log(market.fundamental("BTC-PERP")))
    moves = [after - before for before, after in pairwise(logs)]
    deviation = math.sqrt(sum(move * move for move in moves) / len(moves))
    assert 0.5 < deviation / (0.05 / math.sqrt(86_400)) < 2.0


def test_dislocations_open_and_close() -> None:
    """A venue runs away by 15 to 40 bps and comes back within the time that the model gives."""
    model = MarketModel(
        assets=(AssetModel("BTC", 100.0, 0.2, 1e4, 0.0001, 1.0),),
        dislocation_first_s=3.0,
        dislocation_every_s=1_000.0,
        fast_move_every_s=0.0,
        basis_wander_bps=0.0,
    )
    series = mids(run(20, seed=5, model=model))
    moved = []
    for quotes in series.values():
        start = quotes[0][1]
        away = [(at, abs(mid / start - 1) * 1e4) for at, mid in quotes]
        if max(bps for _, bps in away) > 10:
            moved.append(away)
    (away,) = moved
    assert all(bps < 1.5 for at, bps in away if at < START + 3 * SECOND)
    assert 13 < max(bps for _, bps in away) < 41
    assert all(bps < 1.5 for at, bps in away if at > START + 18.1 * SECOND)


def test_a_demo_sees_several_dislocations() -> None:
    """Half a minute of three venues and ten perps has at least ten of them."""
    moved = set()
    for listing, quotes in mids(run(25)).items():
        second_of: dict[int, list[float]] = defaultdict(list)
        for at, mid in quotes:
            second_of[at // SECOND].append(mid)
        for mids_of in second_of.values():
            if (max(mids_of) / min(mids_of) - 1) * 1e4 > 13:
                moved.add(listing)
    assert len(moved) >= 10


def test_fast_moves_reach_all_venues() -> None:
    """The fundamental moves and everybody follows with a lag."""
    model = MarketModel(
        assets=(AssetModel("BTC", 100.0, 0.2, 1e4, 0.0001, 1.0),),
        dislocation_every_s=0.0,
        fast_move_every_s=3.0,
        basis_wander_bps=0.0,
    )
    for quotes in mids(run(20, seed=2, model=model)).values():
        assert (max(mid for _, mid in quotes) / min(mid for _, mid in quotes) - 1) * 1e4 > 7


def test_marks_come_each_second_with_a_funding_rate() -> None:
    """For each listing; near the index."""
    updates = run(5)
    marks = [update for update in updates if isinstance(update, MarketMark)]
    assert len(marks) == 5 * len(VENUES) * len(TEN_PERPS)
    for mark in marks:
        assert abs(mark.mark / mark.index - 1) < 0.002
        assert abs(mark.funding_per_8h) < 0.001


def test_public_trades_happen() -> None:
    """On both sides, with positive quantities."""
    trades = [update for update in run(20) if isinstance(update, MarketTrade)]
    assert {trade.side.value for trade in trades} == {"buy", "sell"}
    assert all(trade.quantity > 0 for trade in trades)
    assert len(trades) > 100


def test_market_needs_venues_and_known_assets() -> None:
    """Clear errors for what cannot be."""
    with pytest.raises(InvalidValue, match="at least one venue"):
        SyntheticMarket((), seed=1, start_ns=START)
    with pytest.raises(InvalidValue, match="XYZ"):
        SyntheticMarket(("okx",), seed=1, start_ns=START).fundamental("XYZ")


def test_all_listings_dislocated_is_no_error() -> None:
    """There is nobody left to move."""
    model = MarketModel(assets=TEN_PERPS[:1], dislocation_first_s=0.1, dislocation_every_s=0.05)
    assert run(3, model=model)
