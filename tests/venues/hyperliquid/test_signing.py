"""The venue's own vectors: hashes, signatures and the address of the known key."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpbot.domain.errors import InvalidValue
from perpbot.venues.hyperliquid.actions import (
    Action,
    CancelByCloid,
    CancelItem,
    CancelOrders,
    CloidItem,
    Limit,
    LimitType,
    Noop,
    OrderItem,
    PlaceOrders,
    ScheduleCancel,
    Trigger,
    TriggerType,
    UpdateLeverage,
    post_frame,
    request_bytes,
)
from perpbot.venues.hyperliquid.credentials import HyperliquidCredentials
from perpbot.venues.hyperliquid.signing import ActionSigner, Signature, action_hash
from tests.venues.hyperliquid.loopback import KEY, SIGNER

IOC_ORDER = PlaceOrders((OrderItem(4, True, "1670.1", "0.0147", False, LimitType(Limit("Ioc"))),))
GTC_ORDER = PlaceOrders((OrderItem(1, True, "100", "100", False, LimitType(Limit("Gtc"))),))
CANCEL = CancelByCloid((CloidItem(0, "0x00000000000000000000000000000001"),))


def test_address_of_known_key() -> None:
    """The signer's address is the Ethereum address of its key."""
    assert ActionSigner(KEY, mainnet=True).address == SIGNER
    assert ActionSigner(KEY.removeprefix("0x"), mainnet=False).address == SIGNER


def test_action_hash_of_known_order() -> None:
    """The packed bytes and their hash are the venue's."""
    packed = msgspec.msgpack.encode(IOC_ORDER)
    start = "83a474797065a56f72646572a66f7264657273" + "91" + "86" + "a16104"
    assert packed.hex().startswith(start)
    assert (
        action_hash(packed, 1677777606040).hex()
        == "0fcbeda5ae3c4950a548021552a4fea2226858c4453571bf3f24ba017eac2908"
    )


@pytest.mark.parametrize(
    ("action", "mainnet", "nonce", "expires_ms", "r", "s", "v"),
    [
        pytest.param(
            IOC_ORDER,
            True,
            1677777606040,
            1677777666040,
            "4c29171c51e709f64856e9051bac8fe8d53d01905496cb8a3f5d13f2df74c276",
            "516eb3d1446e567d130e2b63a6dd9fa7261d369d214dde34fd3904323afca76a",
            28,
            id="order-that-expires",
        ),
        pytest.param(
            CANCEL,
            True,
            1700000000000,
            None,
            "80bc61ec5a6bd1931885c88ccb664ac5543ba861475262636445d21263b97318",
            "6bbfac7cec115672a533ce377a822433f48a320f1e3c3ce09d2f38184f82979c",
            27,
            id="cancel-by-cloid",
        ),
        pytest.param(
            GTC_ORDER,
            True,
            0,
            None,
            "d65369825a9df5d80099e513cce430311d7d26ddf477f5b3a33d2806b100d78e",
            "2b54116ff64054968aa237c20ca9ff68000f977c93289157748a3162b6ea940e",
            28,
            id="order-mainnet",
        ),
        pytest.param(
            GTC_ORDER,
            False,
            0,
            None,
            "82b2ba28e76b3d761093aaded1b1cdad4960b3af30212b343fb2e6cdfa4e3d54",
            "6b53878fc99d26047f4d7e8c90eb98955a109f44209163f52d8dc4278cbbd9f5",
            27,
            id="order-testnet",
        ),
        pytest.param(
            ScheduleCancel(),
            True,
            0,
            None,
            "6cdfb286702f5917e76cd9b3b8bf678fcc49aec194c02a73e6d4f16891195df9",
            "6557ac307fa05d25b8d61f21fb8a938e703b3d9bf575f6717ba21ec61261b2a0",
            27,
            id="schedule-cancel",
        ),
    ],
)
def test_signature_equals_vector(
    action: Action,
    mainnet: bool,
    nonce: int,
    expires_ms: int | None,
    r: str,
    s: str,
    v: int,
) -> None:
    """Every known signature comes out bit for bit."""
    signer = ActionSigner(KEY, mainnet=mainnet)
    signature = signer.sign(action, nonce, expires_ms=expires_ms)
    assert signature == Signature(bytes.fromhex(r), bytes.fromhex(s), v)


def test_vault_changes_the_hash_by_its_twenty_bytes() -> None:
    """The vault stands between nonce and expiry, marked by 01; without one 00 stands there."""
    packed = msgspec.msgpack.encode(Noop())
    vault = bytes(range(20))
    plain = action_hash(packed, 5, expires_ms=9)
    assert action_hash(packed, 5, vault=vault, expires_ms=9) != plain
    by_signer = ActionSigner(KEY, mainnet=True, vault_address="0x" + vault.hex().upper())
    by_hand = ActionSigner(KEY, mainnet=True).sign_hash(action_hash(packed, 5, vault=vault))
    assert by_signer.sign(Noop(), 5) == by_hand


TEXT = st.text("0123456789.", min_size=1, max_size=40)
NUMBER = st.integers(0, 2**63 - 1)
ITEM = st.builds(
    OrderItem,
    a=NUMBER,
    b=st.booleans(),
    p=TEXT,
    s=TEXT,
    r=st.booleans(),
    t=st.one_of(
        st.builds(LimitType, st.builds(Limit, st.sampled_from(["Gtc", "Ioc", "Alo"]))),
        st.builds(
            TriggerType,
            st.builds(Trigger, st.booleans(), TEXT, st.sampled_from(["tp", "sl"])),
        ),
    ),
    c=st.one_of(st.just(msgspec.UNSET), TEXT),
)
ACTION = st.one_of(
    st.builds(PlaceOrders, st.lists(ITEM, min_size=1, max_size=20).map(tuple)),
    st.builds(CancelOrders, st.lists(st.builds(CancelItem, NUMBER, NUMBER)).map(tuple)),
    st.builds(UpdateLeverage, NUMBER, st.booleans(), NUMBER),
    st.builds(ScheduleCancel, NUMBER),
)


@given(ACTION)
def test_packing_equals_the_reference_library(action: Action) -> None:
    """Our msgpack is what the library of the venue's SDK makes of the same JSON."""
    msgpack = pytest.importorskip("msgpack")
    as_json = msgspec.json.decode(msgspec.json.encode(action))
    assert msgspec.msgpack.encode(action) == msgpack.packb(as_json)


def test_request_is_json_with_signature_vault_and_expiry() -> None:
    """The request carries the action in hashed order, and r and s as 32 bytes."""
    signature = Signature(b"\x00" * 31 + b"\x01", b"\xff" * 32, 27)
    vault = "0x" + "AB" * 20
    body = request_bytes(IOC_ORDER, 5, signature, vault_address=vault, expires_ms=7)
    assert body == (
        b'{"action":{"type":"order","orders":[{"a":4,"b":true,"p":"1670.1","s":"0.0147",'
        b'"r":false,"t":{"limit":{"tif":"Ioc"}}}],"grouping":"na"},"nonce":5,"signature":'
        b'{"r":"0x' + b"0" * 63 + b'1","s":"0x' + b"f" * 64 + b'","v":27},'
        b'"vaultAddress":"0x' + b"ab" * 20 + b'","expiresAfter":7}'
    )
    short = request_bytes(Noop(), 5, signature)
    assert short.endswith(b'"vaultAddress":null}')
    frame = msgspec.json.decode(post_frame(3, short))
    assert frame["method"] == "post"
    assert frame["id"] == 3
    assert frame["request"]["type"] == "action"
    assert frame["request"]["payload"]["action"] == {"type": "noop"}


@pytest.mark.parametrize("key", ["", "0x12", "zz" * 32, "00" * 32], ids=str)
def test_bad_key_is_refused_without_being_shown(key: str) -> None:
    """What is not a key is refused; the text does not repeat it."""
    with pytest.raises(InvalidValue, match="private_key") as caught:
        ActionSigner(key, mainnet=True)
    assert key == "" or key not in str(caught.value)


def test_bad_vault_address_is_refused() -> None:
    """An address has 20 bytes."""
    with pytest.raises(InvalidValue, match="vault_address"):
        ActionSigner(KEY, mainnet=True, vault_address="0x12")


def test_credentials_hide_the_key() -> None:
    """No way of printing credentials shows the key."""
    credentials = HyperliquidCredentials(private_key=KEY, account_address=SIGNER)
    for text in (repr(credentials), str(credentials), f"{credentials}"):
        assert KEY not in text
        assert SIGNER in text
