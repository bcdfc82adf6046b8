"""What our key is on Hyperliquid: the account's own, an agent of it, or nobody.

Answer to `userRole` of the signer's address:
https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/info-endpoint
"""

from __future__ import annotations

import msgspec

from perpbot.domain.permissions import KeyPermissions

_UNBOUND = "the venue binds no key to addresses"


class _Master(msgspec.Struct):
    user: str = ""


class UserRole(msgspec.Struct):
    """`role`: missing, user, agent, vault, subAccount; of an agent `data` names its master."""

    role: str
    data: _Master | None = None

    def permissions(self, owner: str) -> KeyPermissions:
        """Return what the key may do for the account `owner` (an address, "" for its own)."""
        if self.role == "agent":
            master = (self.data.user if self.data else "").lower()
            if owner and master != owner.lower():
                note = f"an agent wallet of another account: {master or 'unknown'}"
                return KeyPermissions(trade=False, withdraw=False, address_bound=False, note=note)
            return KeyPermissions(
                trade=True, withdraw=False, address_bound=False, note=f"agent; {_UNBOUND}"
            )
        if self.role == "user":
            note = f"the account's own key; approve an agent wallet instead; {_UNBOUND}"
            return KeyPermissions(
                trade=True, withdraw=True, transfer=True, address_bound=False, note=note
            )
        note = f"no agent wallet and no account: role {self.role!r}; approve it first"
        return KeyPermissions(trade=False, address_bound=False, note=note)
