"""Who we are at the venue: a key that signs and the address that owns.

An agent wallet's key signs for a master account and cannot withdraw; every query names the master
(or the vault that is traded for), because the agent's own address owns nothing.
"""

from __future__ import annotations

from typing import NoReturn

import msgspec


class HyperliquidCredentials(msgspec.Struct, frozen=True, kw_only=True):
    """`private_key`: 64 hex digits. Addresses: 0x and 40 hex digits."""

    private_key: str
    account_address: str = ""
    """The master account; empty where the key is the master's own."""
    vault_address: str = ""
    """The vault or sub-account to trade for, if any."""

    def __repr__(self) -> str:
        return (
            f"HyperliquidCredentials(private_key='***', "
            f"account_address={self.account_address!r}, vault_address={self.vault_address!r})"
        )

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("credentials cannot be pickled")
