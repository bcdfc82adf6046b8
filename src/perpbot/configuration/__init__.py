"""All rooms' settings as one tree: read, checked against the mode's locks, explained.

configuration = load_configuration([Path("config.yaml")], environ=os.environ)
configuration.settings.risk.max_slippage_bps
effective(configuration.settings, symbol="BTC-PERP", venue="okx").risk.max_slippage_bps
"""

from __future__ import annotations

from perpbot.configuration.effective import Effective, effective
from perpbot.configuration.legacy import OLD_KEYS
from perpbot.configuration.locks import LIVE_CONFIRM, TESTNET_VENUES, violations
from perpbot.configuration.pages import configuration_page, env_example_page, starter_config
from perpbot.configuration.read import (
    MODE_DEFAULTS,
    Configuration,
    credential_problems,
    credentials_of,
    find_config_files,
    load_configuration,
)
from perpbot.configuration.tree import VENUES, Settings, VenueNode

__all__ = [
    "LIVE_CONFIRM",
    "MODE_DEFAULTS",
    "OLD_KEYS",
    "TESTNET_VENUES",
    "VENUES",
    "Configuration",
    "Effective",
    "Settings",
    "VenueNode",
    "configuration_page",
    "credential_problems",
    "credentials_of",
    "effective",
    "env_example_page",
    "find_config_files",
    "load_configuration",
    "starter_config",
    "violations",
]
