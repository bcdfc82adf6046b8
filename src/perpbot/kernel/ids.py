"""Client order ids that decode back to what they were made for.

128 bits as 32 lower-case hex digits, so that they fit OKX (32 alphanumerics), Hyperliquid (0x and
32 hex digits) and, with a prefix of the codec's, Binance (36):

    version 4 | account 12 | strategy 12 | run epoch 20 | sequence 46 | purpose 2 | leg 4 |
    attempt 8 | check 20

Account and strategy bits are the same after every restart; the run epoch grows with each.
"""

from __future__ import annotations

import random
import zlib

import msgspec

from perpbot.domain.errors import InvalidValue
from perpbot.domain.sides import Purpose

VERSION = 1
_PURPOSES = (Purpose.OPEN, Purpose.HEDGE, Purpose.REDUCE, Purpose.PROTECT)
_PURPOSE_CODE = {purpose: code for code, purpose in enumerate(_PURPOSES)}
_DIGITS = "0123456789abcdef"
_CHECK_BITS = 20
_CHECK_MASK = (1 << _CHECK_BITS) - 1
_DAY_NS = 86_400_000_000_000
_FIRST_DAY = 20_089
"""2025-01-01."""
_DAY_BITS = 13
_CHANCE_BITS = 6
"""One bit is left for the runs that follow: an account may begin a journal every day for years."""
_TAIL_BITS = 14
"""Purpose, leg and attempt: what follows the sequence."""


class OrderIdentity(msgspec.Struct, frozen=True):
    """What a client order id says."""

    account: int
    strategy: int
    epoch: int
    sequence: int
    purpose: Purpose
    leg: int
    attempt: int


def _check(payload: int) -> int:
    return zlib.crc32(payload.to_bytes(14, "big")) & _CHECK_MASK


def encode_order_id(identity: OrderIdentity) -> str:
    """Return the 32 hex digits of `identity`; raise `InvalidValue` where a field does not fit."""
    payload = VERSION
    for value, bits, name in (
        (identity.account, 12, "account"),
        (identity.strategy, 12, "strategy"),
        (identity.epoch, 20, "epoch"),
        (identity.sequence, 46, "sequence"),
        (_PURPOSE_CODE[identity.purpose], 2, "purpose"),
        (identity.leg, 4, "leg"),
        (identity.attempt, 8, "attempt"),
    ):
        if not 0 <= value < (1 << bits):
            raise InvalidValue(f"{name} was {value}, 0 to {(1 << bits) - 1} was expected")
        payload = (payload << bits) | value
    return f"{(payload << _CHECK_BITS) | _check(payload):032x}"


def decode_order_id(client_id: str) -> OrderIdentity | None:
    """Return what `client_id` says, or None when it is not an id of ours."""
    if len(client_id) != 32 or client_id.strip(_DIGITS):
        return None
    number = int(client_id, 16)
    payload = number >> _CHECK_BITS
    if number & _CHECK_MASK != _check(payload) or payload >> 104 != VERSION:
        return None
    return OrderIdentity(
        account=(payload >> 92) & 0xFFF,
        strategy=(payload >> 80) & 0xFFF,
        epoch=(payload >> 60) & 0xFFFFF,
        sequence=(payload >> 14) & ((1 << 46) - 1),
        purpose=_PURPOSES[(payload >> 12) & 0x3],
        leg=(payload >> 8) & 0xF,
        attempt=payload & 0xFF,
    )


def stable_bits(name: str, bits: int = 12) -> int:
    """Return the same small number for the same account or strategy name, on every start."""
    return zlib.crc32(name.encode()) & ((1 << bits) - 1)


class _Series(msgspec.Struct, frozen=True):
    """What the ids of one account and strategy share in one run, computed once.

    The payload is 14 bytes: six that never change, and eight that begin with the epoch's last
    hex digit.
    """

    text: str
    """The first 11 hex digits."""
    digit: int
    """The twelfth, in the place that it has in the eight bytes."""
    checked: int
    """The checksum of the first six bytes."""


def first_epoch(now_ns: int, rng: random.Random) -> int:
    """Return the number of the first run of a new journal: above those of journals begun earlier.

    A journal that was lost, or one beside this one, has given ids to the same account already;
    they must not come again. The day and a random part, of the 20 bits that there are.
    """
    day = max(now_ns // _DAY_NS - _FIRST_DAY, 0) % (1 << _DAY_BITS)
    return (day << _CHANCE_BITS | rng.getrandbits(_CHANCE_BITS)) + 1


class IdMaker:
    """Makes order ids and pair ids for one run of one node.

    `epoch` is the journalled number of this run, so no id of an earlier run can come again.
    """

    def __init__(self, *, epoch: int) -> None:
        if not 0 <= epoch < (1 << 20):
            raise InvalidValue(f"epoch was {epoch}, 0 to {(1 << 20) - 1} was expected")
        self._epoch = epoch
        self._sequence = 0
        self._series: dict[tuple[str, str], _Series] = {}

    @property
    def epoch(self) -> int:
        """The number of this run."""
        return self._epoch

    @property
    def sequence(self) -> int:
        """The last number of this run that was given away; 0 before the first."""
        return self._sequence

    def next_sequence(self) -> int:
        """Return the next number of this run, starting at 1."""
        self._sequence += 1
        return self._sequence

    def pair_id(self) -> str:
        """Return an id such as `3-17`: run epoch and number."""
        return f"{self._epoch}-{self.next_sequence()}"

    def order_id(
        self, *, account: str, strategy: str, purpose: Purpose, leg: int, attempt: int
    ) -> str:
        """Return a fresh client order id; every call takes a new sequence number.

        The same as `encode_order_id` gives, at a fraction of its cost. Raises `InvalidValue` for
        a leg beyond 15.
        """
        series = self._series.get((account, strategy))
        if series is None:
            series = self._series[account, strategy] = self._begin_series(account, strategy)
        if not 0 <= leg <= 0xF:
            raise InvalidValue(f"leg was {leg}, 0 to 15 was expected")
        self._sequence = sequence = self._sequence + 1
        tail = _PURPOSE_CODE[purpose] << 12 | leg << 8 | attempt & 0xFF
        payload = (series.digit | sequence << _TAIL_BITS | tail).to_bytes(8, "big")
        check = zlib.crc32(payload, series.checked) & _CHECK_MASK
        # A one before the check keeps its zeros: the five digits behind `0x1`.
        return series.text + payload.hex() + hex(check | 1 << _CHECK_BITS)[3:]

    def _begin_series(self, account: str, strategy: str) -> _Series:
        shared = VERSION
        for value, bits in (
            (stable_bits(account), 12),
            (stable_bits(strategy), 12),
            (self._epoch, 20),
        ):
            shared = (shared << bits) | value
        return _Series(
            text=f"{shared >> 4:011x}",
            digit=(shared & 0xF) << 60,
            checked=zlib.crc32((shared >> 4).to_bytes(6, "big")),
        )
