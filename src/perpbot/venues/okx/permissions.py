"""What OKX says our key may do, in `perm` and `ip` of account/config.

https://www.okx.com/docs-v5/en/#trading-account-rest-api-get-account-configuration
"""

from __future__ import annotations

import msgspec

from perpbot.domain.permissions import KeyPermissions

PATH = "/api/v5/account/config"


class KeyRow(msgspec.Struct):
    """`perm`: read_only, trade, withdraw, with commas between; `ip`: addresses, "" for any."""

    perm: str
    ip: str

    def permissions(self) -> KeyPermissions:
        """Return them in our words."""
        granted = {name.strip() for name in self.perm.split(",")}
        return KeyPermissions(
            trade="trade" in granted,
            withdraw="withdraw" in granted,
            address_bound=bool(self.ip.strip()),
            note="every key that trades may move money between your own accounts",
        )
