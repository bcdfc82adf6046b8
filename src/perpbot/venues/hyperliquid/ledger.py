"""Money that came to the perpetual account or left it, as the venue's ledger tells.

`userNonFundingLedgerUpdates` (info request and channel, the same rows) lists whatever moves money
of an address. Only what moves the perpetual account's USDC is ours to count: moves within the
spot account, staking, auctions and the notice of a liquidation are passed over. Shapes after the
typed client nktkas/hyperliquid, `api/info/_methods/userNonFundingLedgerUpdates.ts`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

import msgspec

from perpbot.domain.money import ZERO, decimal_of
from perpbot.domain.orders import TransferReport
from perpbot.venues.hyperliquid.universe import SETTLE, VENUE
from perpbot.venues.wire.decoding import ns_of_ms

_PERPETUALS = ""
"""How `send` names the exchange that we trade on; "spot" is the spot account."""


class WireDelta(msgspec.Struct, frozen=True, rename="camel"):
    """What a row moved; which fields there are depends on `type`. Amounts carry no sign."""

    type: str
    usdc: str = "0"
    fee: str = "0"
    to_perp: bool = False
    user: str = ""
    destination: str = ""
    source_dex: str = ""
    destination_dex: str = ""
    token: str = ""
    amount: str = "0"
    net_withdrawn_usd: str = "0"


class LedgerRow(msgspec.Struct, frozen=True):
    """One row of the ledger."""

    time: int
    hash: str
    delta: WireDelta

    @property
    def transfer_id(self) -> str:
        """What makes it unique: one transaction may move money more than once."""
        delta = self.delta
        amount = delta.amount if delta.type == "send" else delta.usdc
        return f"{self.time}-{self.hash}-{delta.type}-{amount}"


def transfers_of(rows: Iterable[LedgerRow], user: str, account: str) -> tuple[TransferReport, ...]:
    """Return what moved the perpetual account of `user`. Raises `InvalidValue` for odd numbers."""
    address = user.lower()
    reports = []
    for row in rows:
        amount_of = _AMOUNTS.get(row.delta.type)
        amount = ZERO if amount_of is None else amount_of(row.delta, address)
        if amount:
            reports.append(
                TransferReport(
                    venue=VENUE,
                    account=account,
                    transfer_id=row.transfer_id,
                    currency=SETTLE,
                    amount=amount,
                    kind=row.delta.type,
                    venue_ns=ns_of_ms(row.time),
                )
            )
    return tuple(reports)


def _usdc(delta: WireDelta) -> Decimal:
    return decimal_of(delta.usdc, "usdc")


def _came(delta: WireDelta, _user: str) -> Decimal:
    return _usdc(delta)


def _left(delta: WireDelta, _user: str) -> Decimal:
    """The fee of a withdrawal is told beside its amount and leaves with it."""
    return -_usdc(delta) - decimal_of(delta.fee, "fee")


def _between_classes(delta: WireDelta, _user: str) -> Decimal:
    return _usdc(delta) if delta.to_perp else -_usdc(delta)


def _between_users(delta: WireDelta, user: str) -> Decimal:
    """Who sends pays the fee."""
    amount = _usdc(delta) if delta.destination.lower() == user else ZERO
    return amount + (_left(delta, user) if delta.user.lower() == user else ZERO)


def _sent(delta: WireDelta, user: str) -> Decimal:
    """One token, from any account of one user to any account of another or the same."""
    if delta.token != SETTLE:
        return ZERO
    amount, moved = decimal_of(delta.amount, "amount"), ZERO
    if delta.destination.lower() == user and delta.destination_dex == _PERPETUALS:
        moved += amount
    if delta.user.lower() == user and delta.source_dex == _PERPETUALS:
        moved -= amount + decimal_of(delta.fee, "fee")
    return moved


def _from_vault(delta: WireDelta, _user: str) -> Decimal:
    return decimal_of(delta.net_withdrawn_usd, "netWithdrawnUsd")


_AMOUNTS: Mapping[str, Callable[[WireDelta, str], Decimal]] = {
    "deposit": _came,
    "withdraw": _left,
    "accountClassTransfer": _between_classes,
    "internalTransfer": _between_users,
    "subAccountTransfer": _between_users,
    "send": _sent,
    "vaultCreate": _left,
    "vaultDeposit": _left,
    "vaultDistribution": _came,
    "vaultWithdraw": _from_vault,
    "vaultLeaderCommission": _came,
}
"""Signed USDC of each kind of row that moves the perpetual account."""
