"""Settings as they hold for one venue, one asset or one market, each resolved once."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from perpbot.configuration import Effective, Settings, effective
from perpbot.domain.pairs import PairPlan
from perpbot.execution.planner import PairTerms
from perpbot.execution.policies import Patience
from perpbot.portfolio.settings import CapitalSettings


class Overrides:
    """Answers for the markets of a node, given as (venue, asset)."""

    def __init__(self, settings: Settings, markets: Iterable[tuple[str, str]]) -> None:
        markets = list(markets)
        here = {
            (venue, asset): effective(settings, symbol=asset, venue=venue)
            for venue, asset in markets
        }
        of_asset = {asset: effective(settings, symbol=asset) for _, asset in markets}
        self.market = {key: found.market for key, found in here.items()}
        self.risk = {key: found.risk for key, found in here.items()}
        self.arbitrage = {asset: found.arbitrage for asset, found in of_asset.items()}
        self.terms = {asset: terms_of(found) for asset, found in of_asset.items()}
        self.terms_elsewhere = terms_of(effective(settings))
        """Of an asset that nothing overrides."""
        self._settings = settings
        self._capital: dict[str, CapitalSettings] = {}
        self._patience: dict[tuple[str, str, str], Patience] = {}

    def capital(self, venue: str) -> CapitalSettings:
        """Return the capital settings of a venue."""
        found = self._capital.get(venue)
        if found is None:
            found = self._capital[venue] = effective(self._settings, venue=venue).capital
        return found

    def patience(self, plan: PairPlan) -> Patience:
        """Return how long a pair waits: the stricter of its two legs."""
        key = (plan.asset, plan.long_venue, plan.short_venue)
        found = self._patience.get(key)
        if found is None:
            found = self._patience[key] = Patience.strictest(
                effective(self._settings, symbol=plan.asset, venue=venue).execution
                for venue in (plan.long_venue, plan.short_venue)
            )
        return found


def terms_of(held: Effective) -> PairTerms:
    """Return what is wanted of pairs."""
    arbitrage = held.arbitrage
    return PairTerms(
        strategy="arbitrage",
        pool="arbitrage",
        notional_min_usd=arbitrage.pair_notional_min_usd,
        notional_max_usd=arbitrage.pair_notional_max_usd,
        slippage_bps=Decimal(str(arbitrage.slippage_bps)),
        loss_budget_bps=Decimal(str(held.execution.unwind_loss_budget_bps)),
        exit_level_bps=Decimal(str(arbitrage.exit_convergence_bps)),
        take_profit_bps=Decimal(str(arbitrage.take_profit_bps)),
        stop_bps=Decimal(str(arbitrage.stop_loss_bps)),
        max_hold_s=int(arbitrage.max_hold_s),
        max_pairs=arbitrage.max_concurrent_pairs,
        max_pairs_per_venue=arbitrage.max_pairs_per_venue,
    )
