"""Client order ids decode back to what they were made for."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpbot.domain.errors import InvalidValue
from perpbot.domain.sides import Purpose
from perpbot.kernel.ids import (
    IdMaker,
    OrderIdentity,
    decode_order_id,
    encode_order_id,
    first_epoch,
    stable_bits,
)

IDENTITIES = st.builds(
    OrderIdentity,
    account=st.integers(0, 0xFFF),
    strategy=st.integers(0, 0xFFF),
    epoch=st.integers(0, 0xFFFFF),
    sequence=st.integers(0, (1 << 46) - 1),
    purpose=st.sampled_from(list(Purpose)),
    leg=st.integers(0, 0xF),
    attempt=st.integers(0, 0xFF),
)


@given(IDENTITIES)
def test_decoding_gives_back_what_was_encoded(identity: OrderIdentity) -> None:
    """Every field survives; the form fits the strictest venue."""
    text = encode_order_id(identity)

    assert decode_order_id(text) == identity
    assert len(text) == 32
    assert text == text.lower()


@given(IDENTITIES, st.integers(0, 31), st.sampled_from("0123456789abcdef"))
def test_one_changed_digit_is_not_ours(identity: OrderIdentity, at: int, digit: str) -> None:
    """The check bits notice it."""
    text = encode_order_id(identity)
    changed = text[:at] + digit + text[at + 1 :]

    assert (decode_order_id(changed) is None) == (changed != text)


@given(st.text(max_size=40))
def test_foreign_text_is_not_ours(text: str) -> None:
    """Whatever it is, the answer is None and never an error."""
    assert decode_order_id(text) is None


@pytest.mark.parametrize(
    "spoil",
    [
        str.upper,
        lambda text: "0x" + text[2:],
        lambda text: text[:5] + "_" + text[6:],
        lambda text: " " + text[1:],
        lambda text: "+" + text[1:],
        lambda text: text[:-1],
        lambda text: "2" + text[1:],
    ],
    ids=["upper", "prefix", "underscore", "space", "sign", "short", "version"],
)
def test_other_spellings_of_a_number_are_not_ours(spoil: object) -> None:
    """One order has one id."""
    text = encode_order_id(OrderIdentity(0xABC, 0xDEF, 1, 1, Purpose.OPEN, 0, 0))
    assert callable(spoil)

    assert decode_order_id(spoil(text)) is None


@pytest.mark.parametrize("field", ["account", "strategy", "epoch", "sequence", "leg", "attempt"])
@pytest.mark.parametrize("value", [-1, 1 << 50], ids=["negative", "huge"])
def test_a_field_that_does_not_fit_is_refused_by_name(field: str, value: int) -> None:
    """Bits never run into the next field."""
    fields = {"account": 1, "strategy": 1, "epoch": 1, "sequence": 1, "leg": 1, "attempt": 1}
    fields[field] = value

    with pytest.raises(InvalidValue, match=f"^{field} was {value}"):
        encode_order_id(OrderIdentity(purpose=Purpose.OPEN, **fields))


def test_ids_of_two_runs_never_meet() -> None:
    """The epoch is part of the id; account and strategy bits stay the same."""
    made: set[str] = set()
    for epoch in range(1, 6):
        maker = IdMaker(epoch=epoch)
        for attempt in range(50):
            text = maker.order_id(
                account="main", strategy="arb", purpose=Purpose.HEDGE, leg=1, attempt=attempt
            )
            identity = decode_order_id(text)
            assert identity is not None
            assert (identity.account, identity.strategy) == (
                stable_bits("main"),
                stable_bits("arb"),
            )
            assert (identity.epoch, identity.attempt) == (epoch, attempt)
            made |= {text, maker.pair_id()}

    assert len(made) == 5 * 100


@given(
    st.integers(0, 0xFFFFF),
    st.text(max_size=8),
    st.text(max_size=8),
    st.sampled_from(list(Purpose)),
    st.integers(0, 0xF),
    st.integers(0, 0xFF),
)
def test_a_made_id_is_the_encoded_identity(
    epoch: int, account: str, strategy: str, purpose: Purpose, leg: int, attempt: int
) -> None:
    """The quick way gives what the plain one does, digit for digit, from the first id on."""
    maker = IdMaker(epoch=epoch)
    for sequence in (1, 2):
        identity = OrderIdentity(
            account=stable_bits(account),
            strategy=stable_bits(strategy),
            epoch=epoch,
            sequence=sequence,
            purpose=purpose,
            leg=leg,
            attempt=attempt,
        )
        made = maker.order_id(
            account=account, strategy=strategy, purpose=purpose, leg=leg, attempt=attempt
        )
        assert made == encode_order_id(identity)


@pytest.mark.parametrize("leg", [-1, 16])
def test_a_leg_beyond_its_bits_is_refused(leg: int) -> None:
    """It would run into the purpose."""
    with pytest.raises(InvalidValue, match=f"^leg was {leg}"):
        IdMaker(epoch=1).order_id(
            account="a", strategy="s", purpose=Purpose.OPEN, leg=leg, attempt=0
        )


def test_an_attempt_beyond_its_bits_still_gives_a_fresh_id() -> None:
    """The sequence number makes it unique."""
    maker = IdMaker(epoch=1)
    ids = {
        maker.order_id(account="a", strategy="s", purpose=Purpose.REDUCE, leg=0, attempt=attempt)
        for attempt in (0, 256, 512)
    }

    assert len(ids) == 3


@pytest.mark.parametrize("epoch", [-1, 1 << 20], ids=["negative", "too_many_runs"])
def test_an_epoch_that_would_come_again_is_refused(epoch: int) -> None:
    """Wrapping round would make old ids new."""
    with pytest.raises(InvalidValue, match="epoch"):
        IdMaker(epoch=epoch)


def test_first_epoch_lies_above_those_of_earlier_days() -> None:
    """Whatever chance says; and it leaves room for half a million runs."""
    day_ns = 86_400_000_000_000
    now_ns = 1_790_000_000_000_000_000
    today = {first_epoch(now_ns, random.Random(seed)) for seed in range(500)}
    tomorrow = {first_epoch(now_ns + day_ns, random.Random(seed)) for seed in range(500)}
    assert len(today) == 64
    assert max(today) < min(tomorrow)
    assert first_epoch(0, random.Random(1)) >= 1
    assert first_epoch(1 << 62, random.Random(1)) < 1 << 19


def test_maker_tells_its_run_and_how_far_it_is() -> None:
    """Numbers that it never gave away are not its own."""
    maker = IdMaker(epoch=7)
    assert (maker.epoch, maker.sequence) == (7, 0)
    maker.pair_id()
    assert maker.sequence == 1
