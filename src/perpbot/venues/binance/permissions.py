"""Asks Binance what our key may do.

The question belongs to the wallet API, which has another host than futures and no testnet:
https://developers.binance.com/docs/wallet/account/api-key-permission
"""

from __future__ import annotations

import msgspec

from perpbot.domain.permissions import KeyPermissions

WALLET_URL = "https://api.binance.com"
PATH = "/sapi/v1/account/apiRestrictions"

UNTOLD = KeyPermissions(note="the futures testnet does not tell what a key may do")


class Restrictions(msgspec.Struct, rename="camel"):
    """GET /sapi/v1/account/apiRestrictions, as far as it concerns us."""

    enable_futures: bool
    enable_withdrawals: bool
    enable_internal_transfer: bool
    permits_universal_transfer: bool
    ip_restrict: bool

    def permissions(self) -> KeyPermissions:
        """Return them in our words."""
        return KeyPermissions(
            trade=self.enable_futures,
            withdraw=self.enable_withdrawals,
            transfer=self.enable_internal_transfer or self.permits_universal_transfer,
            address_bound=self.ip_restrict,
        )
