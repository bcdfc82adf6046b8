"""OKX's server: what is signed, and how."""

from __future__ import annotations

import pytest

from perpbot.simulation.wire.okx.auth import expected_sign
from tests.unit.simulation.wire.okx.rig import Rig, order


@pytest.mark.parametrize(
    ("prehash", "sign"),
    [
        (
            "2020-12-08T09:08:57.715ZGET/api/v5/account/balance",
            "PJ61e1nb2F2Qd7D8SPiaIcx2gjdELc+o0ygzre9z33k=",
        ),
        (
            "2020-12-08T09:08:57.715ZGET/api/v5/account/balance?ccy=BTC",
            "ebNz0sDoc3LoFm1hqjP8LDT0fnRlDERj5C+I4ZqB4Cw=",
        ),
        ("1538054050GET/users/self/verify", "ENpPNQ8mQv8YzDMPhBsB4SrjaKK+FaEh2nozTRW6KU0="),
    ],
    ids=["rest", "query", "login"],
)
def test_expected_sign_equals_known_vectors(prehash: str, sign: str) -> None:
    """The venue's published signatures come out."""
    assert expected_sign("chNOOS4KvNXR_Xq4k4c9qsfoKWvnDecLATCRlcBwyKDYnWgO", prehash) == sign


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"OK-ACCESS-KEY": ""}, "50103"),
        ({"OK-ACCESS-PASSPHRASE": ""}, "50104"),
        ({"OK-ACCESS-SIGN": ""}, "50106"),
        ({"OK-ACCESS-TIMESTAMP": ""}, "50107"),
        ({"OK-ACCESS-KEY": "other"}, "50111"),
        ({"OK-ACCESS-TIMESTAMP": "yesterday"}, "50112"),
        ({"OK-ACCESS-TIMESTAMP": "1Z"}, "50112"),
        ({"OK-ACCESS-TIMESTAMP": "2020-12-08T09:08:57.715Z"}, "50102"),
        ({"OK-ACCESS-PASSPHRASE": "wrong"}, "50105"),
        ({"OK-ACCESS-SIGN": "AAAA"}, "50113"),
    ],
)
async def test_rest_with_a_wrong_header_is_denied(
    rig: Rig, change: dict[str, str], code: str
) -> None:
    """Each header is checked and has its own code; nothing happens."""
    reply = await rig.call("POST", "trade/order", order(), headers=change, status=401)
    assert (reply["code"], reply["data"]) == (code, [])
    assert rig.exchange.open_orders("client") == []


async def test_rest_signature_covers_the_body_and_the_query(rig: Rig) -> None:
    """A signature of something else is no signature."""
    signed = rig.headers("POST", "/api/v5/trade/order", "{}")
    assert (await rig.call("POST", "trade/order", order(), headers=signed, status=401))[
        "code"
    ] == ("50113")
    signed = rig.headers("GET", "/api/v5/account/balance", "")
    reply = await rig.call("GET", "account/balance?ccy=BTC", headers=signed, status=401)
    assert reply["code"] == "50113"


async def test_rest_unknown_paths_and_unreadable_bodies_are_refused(rig: Rig) -> None:
    """404 for what does not exist, 400 and 50002 for what is no JSON, 50002 for a wrong shape."""
    assert (await rig.call("GET", "public/nothing", status=404))["code"] == "404"
    assert (await rig.call("DELETE", "trade/order", status=404))["code"] == "404"
    assert (await rig.call("POST", "trade/order", '{"a"', status=400))["code"] == "50002"
    assert (await rig.call("POST", "trade/order", []))["code"] == "50002"
    assert (await rig.call("POST", "trade/batch-orders", {}))["code"] == "50002"
    assert (await rig.call("POST", "trade/batch-orders", []))["code"] == "51000"
    assert (await rig.call("POST", "trade/batch-orders", [order()] * 21))["code"] == "51000"
    wrong = await rig.call("POST", "trade/order", order(), headers={"expTime": "soon"})
    assert wrong["code"] == "51000"
