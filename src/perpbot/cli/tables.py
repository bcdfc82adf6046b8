"""Text for people: the summary of a run."""

from __future__ import annotations

from typing import Any

_LINES = (
    ("quotes", "quotes taken"),
    ("opportunities", "opportunities"),
    ("pairs_opened", "pairs opened"),
    ("pairs_closed", "pairs closed"),
    ("orders", "orders"),
    ("fills", "fills"),
)


def summary_text(summary: dict[str, Any]) -> str:
    """Return a summary as a short table."""
    pnl = summary["pnl"]
    rows = [(label, str(summary[key])) for key, label in _LINES]
    rows += [
        ("profit, price", f"{pnl['price']} USD"),
        ("profit, fees", f"{pnl['fees']} USD"),
        ("profit, funding", f"{pnl['funding']} USD"),
        ("profit, net", f"{pnl['net']} USD"),
        ("accountant's net", f"{summary['accountant_net']} USD"),
        ("worst unhedged", f"{summary['worst_unhedged_ms']} ms"),
        ("open orders", str(summary["open_orders"])),
        ("positions left", _listed(summary["positions"])),
        ("dust", _listed(summary["dust"])),
        ("capital reserved", f"{summary['reserved']} USD"),
        ("violations", "; ".join(summary["violations"]) or "none"),
    ]
    edges = summary.get("edge_bps")
    if edges and edges["p50"] is not None:
        rows.append(("edge of pairs", f"p50 {edges['p50']} bps, max {edges['max']} bps"))
    latency = summary.get("latency_us", {}).get("tick_to_order")
    if latency and latency["p50"] is not None:
        rows.append(("tick to order", f"p50 {latency['p50']} us, p99 {latency['p99']} us"))
    width = max(len(label) for label, _ in rows)
    head = f"{summary['mode']}, seed {summary['seed']}, {summary['seconds']} s"
    return "\n".join([head, *(f"  {label:<{width}}  {value}" for label, value in rows)])


def _listed(rows: list[dict[str, str]]) -> str:
    return ", ".join(f"{r['quantity']} {r['asset']} on {r['venue']}" for r in rows) or "none"
