"""The ledger of Hyperliquid: what moves the perpetual account, and which way."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from perpbot.domain.errors import InvalidValue
from perpbot.domain.orders import TransferReport
from perpbot.venues.hyperliquid.ledger import LedgerRow, transfers_of

ME = "0x" + "Aa" * 20
OTHER = "0x" + "11" * 20
HASH = "0x4e573e4df0f08feb4fd00433c936a802097700338bf3aebdf21fe9a0aff469d5"
SEND = {
    "type": "send",
    "user": OTHER,
    "destination": ME.lower(),
    "sourceDex": "",
    "destinationDex": "",
    "token": "USDC",
    "amount": "40.0",
    "usdcValue": "40.0",
    "fee": "1.0",
    "nativeTokenFee": "0.0",
    "nonce": 1769021417642,
    "feeToken": "USDC",
}
OUT = {"user": ME.lower(), "destination": OTHER}
VAULT = "0x" + "22" * 20


def row(**delta: Any) -> LedgerRow:
    """Return a row of the wire."""
    return msgspec.convert(
        {"time": 1_769_021_429_147, "hash": HASH, "delta": delta}, LedgerRow, strict=False
    )


@pytest.mark.parametrize(
    ("delta", "amount"),
    [
        ({"type": "deposit", "usdc": "100.5"}, "100.5"),
        ({"type": "withdraw", "usdc": "99.0", "nonce": 5, "fee": "1.0"}, "-100.0"),
        ({"type": "accountClassTransfer", "usdc": "7.0", "toPerp": True}, "7.0"),
        ({"type": "accountClassTransfer", "usdc": "7.0", "toPerp": False}, "-7.0"),
        ({"type": "internalTransfer", "usdc": "3.0", "fee": "1.0", **OUT}, "-4.0"),
        (
            {"type": "internalTransfer", "usdc": "3.0", "fee": "1.0", "user": OTHER,
             "destination": ME.lower()},
            "3.0",
        ),
        ({"type": "subAccountTransfer", "usdc": "3.0", **OUT}, "-3.0"),
        (SEND, "40.0"),
        (SEND | {"user": ME, "destination": OTHER}, "-41.0"),
        (SEND | {"user": ME, "destination": ME, "destinationDex": "spot"}, "-41.0"),
        (SEND | {"user": ME, "destination": ME, "sourceDex": "spot"}, "40.0"),
        ({"type": "vaultCreate", "vault": VAULT, "usdc": "100.0", "fee": "10.0"}, "-110.0"),
        ({"type": "vaultDeposit", "vault": VAULT, "usdc": "5.0"}, "-5.0"),
        ({"type": "vaultDistribution", "vault": VAULT, "usdc": "5.0"}, "5.0"),
        (
            {"type": "vaultWithdraw", "vault": VAULT, "user": ME, "requestedUsd": "6.0",
             "commission": "0.5", "closingCost": "0.1", "basis": "5.0",
             "netWithdrawnUsd": "5.4"},
            "5.4",
        ),
        ({"type": "vaultLeaderCommission", "user": ME, "usdc": "0.5"}, "0.5"),
    ],
)  # fmt: skip
def test_what_moves_the_perpetual_account(delta: dict[str, Any], amount: str) -> None:
    """In is positive, out is negative and takes its fee along."""
    (report,) = transfers_of([row(**delta)], ME, "main")

    assert report == TransferReport(
        venue="hyperliquid",
        account="main",
        transfer_id=report.transfer_id,
        currency="USDC",
        amount=Decimal(amount),
        kind=delta["type"],
        venue_ns=1_769_021_429_147_000_000,
    )


@pytest.mark.parametrize(
    "delta",
    [
        {"type": "spotTransfer", "token": "USDC", "amount": "5", "usdcValue": "5", **OUT},
        {"type": "liquidation", "liquidatedNtlPos": "1", "accountValue": "5"},
        {"type": "rewardsClaim", "amount": "5", "token": "USDC"},
        {"type": "cStakingTransfer", "token": "HYPE", "amount": "5", "isDeposit": True},
        {"type": "somethingNew", "usdc": "5"},
        SEND | {"token": "HYPE"},
        SEND | {"destinationDex": "spot"},
        SEND | {"user": ME, "destination": OTHER, "sourceDex": "xyz"},
        {"type": "deposit", "usdc": "0.0"},
    ],
    ids=lambda delta: str(delta["type"]),
)
def test_what_moves_something_else_is_passed_over(delta: dict[str, Any]) -> None:
    """Spot, staking, other exchanges, notices, and what nobody knows yet."""
    assert transfers_of([row(**delta)], ME, "main") == ()


def test_two_moves_of_one_transaction_have_two_ids() -> None:
    """The same row always has the same one."""
    deposit, again = row(type="deposit", usdc="1.0"), row(type="deposit", usdc="1.0")
    other = row(type="deposit", usdc="2.0")

    assert deposit.transfer_id == again.transfer_id
    assert deposit.transfer_id != other.transfer_id


def test_an_amount_that_is_no_number_is_refused() -> None:
    """Never taken for nothing."""
    with pytest.raises(InvalidValue, match="usdc"):
        transfers_of([row(type="deposit", usdc="many")], ME, "main")
