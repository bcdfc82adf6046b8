"""Finds what may be the private key of a wallet: 0x and 64 hexadecimal digits."""

from __future__ import annotations

import re

from detect_secrets.plugins.base import RegexBasedDetector


class EvmKeyDetector(RegexBasedDetector):
    """A plug-in of detect-secrets, whose own detector of digits stops at the x."""

    secret_type = "Wallet Key"
    denylist = (re.compile(r"(?<![0-9A-Za-z])0x([0-9a-fA-F]{64})(?![0-9a-fA-F])"),)
