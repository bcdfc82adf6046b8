"""Texts made from the tree: every default, `.env.example`, and a file to start with."""

from __future__ import annotations

from perpbot.configuration.legacy import OLD_KEYS
from perpbot.configuration.read import MODE_DEFAULTS
from perpbot.configuration.tree import VENUE_ROOMS, VENUES, Settings
from perpbot.settings import CONSOLE_TOKEN, VENUE_CREDENTIALS, env_example, reference_page

_INTRODUCTION = """\
# Configuration

This page is generated from the settings models: `python -m perpbot.configuration page`.

Later layers win: defaults, defaults of the mode, each file given with `-c` in order, `.env`,
environment, command line. Mappings merge; lists and single values replace.

- A key `risk.max_slippage_bps` is written `risk:` and, indented, `max_slippage_bps:` in YAML, and
  `PERPBOT__RISK__MAX_SLIPPAGE_BPS` in the environment or `.env`.
- The last part of a key is its unit: `_bps` (1 is 0.01 %), `_ratio` (0.05 is 5 %), `_pct`
  (0.5 is 0.5 %), `_usd`, `_ms`, `_s`.
- Unknown keys are refused, with a suggestion. `perpbot config explain KEY` says where a value
  came from and what it replaced.
- Keys marked * may also stand in a block for one venue or symbol. The narrower block wins:
  section, then `venues.okx.risk`, then `symbols.BTC-PERP.risk`, then
  `venues.okx.symbols.BTC-PERP.risk`.
- Credentials never stand in a file of settings: see `.env.example`.

Live trading needs `mode: live` in a file, `--live` on the command line and
`PERPBOT_LIVE_CONFIRM=<account_label>` in the environment.
"""


def configuration_page() -> str:
    """Return docs/configuration.md."""
    return reference_page(
        Settings,
        introduction=_INTRODUCTION,
        section=_section,
        aliases=OLD_KEYS,
        profiles=MODE_DEFAULTS,
    )


def _section(name: str) -> str | None:
    """Show one venue for all, and no override blocks: they repeat the keys marked *."""
    first, *rest = name.split(".")
    if first == "symbols" or (first == "venues" and rest[0] != VENUES[0]):
        return None
    if first == "venues" and any(room in VENUE_ROOMS for room in rest):
        return None
    return name.replace(f"venues.{VENUES[0]}", "venues.<name>").replace("*", "<symbol>")


def env_example_page() -> str:
    """Return .env.example."""
    return env_example(VENUE_CREDENTIALS, (CONSOLE_TOKEN,))


def starter_config() -> str:
    """Return the commented file that `perpbot init` writes. It loads as it is."""
    return _STARTER


_STARTER = """\
# perpbot: settings. Everything left out keeps its default: `perpbot config show` lists them all,
# `perpbot config explain risk.max_slippage_bps` says what one means and where it came from.

# demo: exchanges of our own; paper: real data, simulated fills; testnet; live: real money.
mode: paper

# Live trading asks for this name again, in PERPBOT_LIVE_CONFIRM.
account_label: main

market:
  # Any spelling does: BTC-PERP, BTC/USDT, btcusdt.
  symbols: [BTC-PERP, ETH-PERP]

venues:
  binance:
    enabled: true
    # Your own fees, if you are not on the base tier (1 bps is 0.01 %):
    # maker_fee_bps: 2
    # taker_fee_bps: 5
  hyperliquid:
    enabled: true
  okx:
    enabled: true

arbitrage:
  # What must remain after the usual exit cost, all fees, slippage and funding.
  min_edge_bps: 20
  # Notional of one leg.
  pair_notional_min_usd: 50
  pair_notional_max_usd: 200
  max_concurrent_pairs: 3

risk:
  # The smaller of the two daily limits counts.
  max_daily_loss_usd: 500
  max_daily_loss_ratio: 0.05
  # The account halts here until a person clears it.
  max_drawdown_ratio: 0.10

# A block for one symbol, on every venue:
# symbols:
#   ETH-PERP:
#     risk:
#       max_slippage_bps: 5
"""
