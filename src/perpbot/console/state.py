"""ConsoleState: one picture of a node for every view.

Facts (orders, fills, refusals, alerts, connections) are heard on the bus; figures (quotes,
positions, capital) are read from their components when a picture is made. Quotes are not
subscribed to: thousands a second would be handled for a picture four times a second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from perpbot.domain.events import (
    EVENTS,
    AlertFired,
    Event,
    Lane,
    OpportunityFound,
    QuoteUpdated,
    RiskRejected,
    TradeCompleted,
)
from perpbot.domain.money import ZERO, plain
from perpbot.domain.quotes import Opportunity
from perpbot.execution.pair import Pair
from perpbot.kernel.clock import MS, SECOND
from perpbot.operations.health import Health
from perpbot.operations.sources import Sources
from perpbot.operations.unowned import unowned_positions

T = TypeVar("T", bound=Event)

KEPT = 100
OPPORTUNITY_KEPT_S = 60


class ConsoleState:
    """See the module. Every method returns JSON-ready values; money is decimal strings."""

    def __init__(self, sources: Sources, health: Callable[[], Health] = Health) -> None:
        self.sources = sources
        self._health = health
        self._opportunities: dict[object, tuple[int, Opportunity]] = {}
        self._refusals: deque[RiskRejected] = deque(maxlen=KEPT)
        self._trades: deque[TradeCompleted] = deque(maxlen=KEPT)
        self._alerts: deque[AlertFired] = deque(maxlen=KEPT)
        self._journal: deque[tuple[int, Event]] = deque(maxlen=KEPT)
        for event_class in EVENTS.values():
            if event_class.lane <= Lane.DURABLE:
                self._hear(event_class, self._durable)
        self._hear(OpportunityFound, self._found)
        self._hear(RiskRejected, self._refusals.append)
        self._hear(TradeCompleted, self._trades.append)
        self._hear(AlertFired, self._alerts.append)

    # --- hearing ---

    def _hear(self, event_class: type[T], handler: Callable[[T], None]) -> None:
        self.sources.bus.subscribe(event_class, handler, core=False, name="console")

    def _durable(self, event: Event) -> None:
        self._journal.append((self.sources.bus.sequence, event))

    def _found(self, event: OpportunityFound) -> None:
        self._opportunities[event.key] = (event.ts_ns, event.opportunity)

    # --- pictures ---

    def overview(self) -> dict[str, Any]:
        """Return the figures of a status line."""
        s = self.sources
        total = s.equity.total
        return {
            "mode": s.mode,
            "version": s.version,
            "uptime_s": round(max(s.clock.now_ns() - s.started_ns, 0) / SECOND, 1),
            "quotes": s.quotes.accepted,
            "opportunities": s.scanner.episodes,
            "pairs_open": len(s.pairs),
            "pairs_opened": s.pairs.opened,
            "pairs_closed": s.pairs.closed,
            "open_orders": sum(1 for _ in s.orders.unsettled()),
            "realised_usd": plain(s.pairs.realised.net),
            "equity_usd": None if total is None else plain(total),
            "transferred_usd": plain(sum((s.transfers.total(v) for v in s.venues), ZERO)),
            "worst_unhedged_ms": s.pairs.worst_unhedged_ns // MS,
            "kill_level": s.latches.kill_level,
            "kill_reason": s.latches.kill_reason,
            "venue_kills": msgspec.to_builtins(s.latches.venue_kills),
            "halts": dict(s.latches.halts),
            "venues": {venue: s.readiness.refusal(venue) or "ready" for venue in s.venues},
        }

    def quotes(self) -> list[dict[str, Any]]:
        """Return the newest quote of every market; `usable` says whether it may open anything."""
        s = self.sources
        now_ns = s.clock.monotonic_ns()
        rows = []
        for asset in s.assets:
            for venue in s.venues:
                if (venue, asset) not in s.instruments:
                    continue
                quote = s.quotes.latest(venue, asset)
                rows.append(
                    {
                        "venue": venue,
                        "asset": asset,
                        "usable": s.quotes.usable(venue, asset),
                        **_quote_figures(quote, now_ns),
                    }
                )
        return rows

    def opportunities(self) -> dict[str, Any]:
        """Return what was found of late, what was refused and why, and counted reasons."""
        s = self.sources
        since_ns = s.clock.now_ns() - OPPORTUNITY_KEPT_S * SECOND
        for key, (ts_ns, _) in tuple(self._opportunities.items()):
            if ts_ns < since_ns:
                del self._opportunities[key]
        newest = sorted(self._opportunities.values(), key=lambda pair: -pair[0])
        scans = s.scanner.statistics()
        return {
            "found": [{"ts_ns": ts_ns, **msgspec.to_builtins(found)} for ts_ns, found in newest],
            "refused": [_refusal(event) for event in reversed(self._refusals)],
            "evaluated": scans.evaluated,
            "not_published": dict(sorted(scans.reasons.items(), key=lambda item: -item[1])),
            "not_taken": dict(s.refused),
        }

    def pairs(self) -> dict[str, Any]:
        """Return the pairs at work, and the last that ended."""
        return {
            "open": [self._pair(pair) for pair in self.sources.pairs],
            "completed": [
                msgspec.to_builtins(event) | {"net_usd": plain(event.pnl.net)}
                for event in reversed(self._trades)
            ],
        }

    def _pair(self, pair: Pair) -> dict[str, Any]:
        plan = pair.plan
        now_ns = self.sources.clock.now_ns()
        return {
            "pair_id": plan.pair_id,
            "asset": plan.asset,
            "state": pair.state.value,
            "long_venue": plan.long_venue,
            "short_venue": plan.short_venue,
            "quantity": plain(plan.quantity),
            "matched": plain(pair.matched),
            "imbalance": plain(pair.imbalance),
            "edge_bps": plan.opportunity.edge.edge_bps,
            "age_s": round(max(now_ns - pair.planned_ns, 0) / SECOND, 1),
            "opportunity_id": plan.opportunity.opportunity_id,
        }

    def positions(self) -> dict[str, Any]:
        """Return every leg, those that no pair holds, and what all add up to."""
        s = self.sources
        exposure = s.aggregator.exposure()
        legs = []
        for (venue, account, asset, side), position in s.positions.held():
            mark = s.quotes.mark(venue, asset)
            legs.append(
                {
                    "venue": venue,
                    "account": account,
                    "asset": asset,
                    "position_side": str(side),
                    "quantity": plain(position.quantity),
                    "entry_price": plain(position.entry_price),
                    "mark_price": None if mark is None else plain(mark),
                }
            )
        return {
            "legs": legs,
            "unowned": [
                msgspec.to_builtins(leg) | {"quantity": plain(leg.quantity), "text": leg.text}
                for leg in unowned_positions(s)
            ],
            "net_by_asset_usd": {a: plain(net) for a, net in exposure.net_by_asset.items()},
            "total_net_usd": plain(exposure.total_net),
            "directional_net_usd": plain(exposure.directional_net),
            "gross_usd": plain(exposure.gross),
        }

    def orders(self) -> list[dict[str, Any]]:
        """Return the orders that are not settled."""
        return [
            {
                "client_id": order.request.client_id,
                "venue": order.request.venue,
                "asset": order.request.asset,
                "side": order.request.side.value,
                "purpose": order.request.purpose.value,
                "quantity": plain(order.request.quantity),
                "price": None if order.request.price is None else plain(order.request.price),
                "filled": plain(order.filled),
                "state": order.state.value,
                "pair_id": order.request.owner,
            }
            for order in self.sources.orders.unsettled()
        ]

    def capital(self) -> dict[str, Any]:
        """Return the pools, and the balances by venue with their age."""
        s = self.sources
        balances = {}
        for venue in s.venues:
            balance = s.snapshots.balance(venue)
            if balance is not None:
                balances[venue] = {
                    "equity_usd": plain(balance.equity),
                    "free_usd": plain(balance.free),
                    "wallet_usd": plain(balance.wallet),
                    "transferred_usd": plain(s.transfers.total(venue)),
                    "age_s": round(s.snapshots.age_s(venue) or 0.0, 1),
                }
        return {
            "pools": {
                pool: {part: plain(amount) for part, amount in parts.items()}
                for pool, parts in s.capital.pools().items()
            },
            "venues": balances,
            "breach": s.capital.breach(),
        }

    def risk(self) -> dict[str, Any]:
        """Return latches, losses and which venue may open."""
        s = self.sources
        loss, now_ns = s.equity.daily_loss(), s.clock.now_ns()
        override = s.latches.override if s.latches.overridden(now_ns) else None
        return {
            "kill_level": s.latches.kill_level,
            "kill_reason": s.latches.kill_reason,
            "venue_kills": msgspec.to_builtins(s.latches.venue_kills),
            "halts": dict(s.latches.halts),
            "cooldowns": s.latches.cooling(now_ns),
            "override": None if override is None else msgspec.to_builtins(override),
            "failures_in_a_row": s.latches.failures,
            "drawdown_ratio": plain(s.equity.drawdown()),
            "daily_loss_usd": None if loss is None else plain(loss),
            "venues": {
                venue: {
                    "may_open": not s.readiness.refusal(venue),
                    "reason": s.readiness.refusal(venue),
                    "drawdown_ratio": plain(s.equity.venue_drawdown(venue)),
                    "safe_mode": s.equity.safe_since_ns(venue) is not None,
                }
                for venue in s.venues
            },
        }

    def health(self) -> dict[str, Any]:
        """Return the newest judgement."""
        found: dict[str, Any] = msgspec.to_builtins(self._health())
        return found

    def alerts(self) -> list[dict[str, Any]]:
        """Return the last alerts, newest first."""
        return [msgspec.to_builtins(event) for event in reversed(self._alerts)]

    def journal(self) -> list[dict[str, Any]]:
        """Return the last durable events, newest first."""
        return [
            {"sequence": sequence, "kind": event.kind, "data": msgspec.to_builtins(event)}
            for sequence, event in reversed(self._journal)
        ]


def _quote_figures(quote: QuoteUpdated | None, now_ns: int) -> dict[str, Any]:
    if quote is None:
        return dict.fromkeys(("bid", "bid_size", "ask", "ask_size", "age_ms"))
    return {
        "bid": quote.bid,
        "bid_size": quote.bid_size,
        "ask": quote.ask,
        "ask_size": quote.ask_size,
        "age_ms": round(max(now_ns - quote.recv_ns, 0) / MS, 1),
    }


def _refusal(event: RiskRejected) -> dict[str, Any]:
    return {
        "ts_ns": event.ts_ns,
        "subject": event.subject,
        "asset": event.asset,
        "gate": event.gate,
        "layer": event.layer,
        "rule": event.rule,
        "value": event.value,
        "limit": event.limit,
    }
