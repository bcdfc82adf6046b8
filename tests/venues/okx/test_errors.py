"""What OKX codes mean."""

from __future__ import annotations

import msgspec
import pytest

from perpbot.domain.errors import (
    AuthFailed,
    NonceClash,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    VenueError,
)
from perpbot.venues.okx.errors import error_of, error_of_status
from perpbot.venues.okx.rest import result_of


@pytest.mark.parametrize(
    ("codes", "kind"),
    [
        pytest.param(("50001", "50004", "50013", "50026", "51149"), OutcomeUnknown, id="unknown"),
        pytest.param(("50011", "50061", "60014"), RateLimited, id="rate"),
        pytest.param(("50102", "50112", "60006"), NonceClash, id="time"),
        pytest.param(("50111", "50113", "50105", "50101", "50110", "60024"), AuthFailed, id="key"),
        pytest.param(
            ("51008", "51000", "51020", "51121", "51400", "59000", "x"), Rejected, id="no"
        ),
    ],
)
def test_code_becomes_its_class(codes: tuple[str, ...], kind: type[VenueError]) -> None:
    """Each code has exactly one class; unlisted codes are definite refusals."""
    for code in codes:
        error = error_of("okx", code, "why")

        assert type(error) is kind
        assert (error.code, error.message) == (code, "why")


def test_rate_limit_says_when_to_come_back() -> None:
    """OKX names no time, so it is one window of 2 s; a Retry-After header is taken."""
    by_code = error_of("okx", "50011", "")
    by_header = error_of_status("okx", 429, 7.0)

    assert isinstance(by_code, RateLimited)
    assert by_code.retry_after_s == 2.0
    assert isinstance(by_header, RateLimited)
    assert by_header.retry_after_s == 7.0


@pytest.mark.parametrize(
    ("status", "kind"),
    [(200, OutcomeUnknown), (500, OutcomeUnknown), (502, OutcomeUnknown), (403, AuthFailed)],
)
def test_unreadable_body_is_judged_by_status(status: int, kind: type[VenueError]) -> None:
    """Without a readable body only a door that was closed is definite."""
    assert type(error_of_status("okx", status)) is kind


def raw(text: str) -> msgspec.Raw:
    """Return the data of an answer."""
    return msgspec.Raw(text.encode())


def test_result_of_an_accepted_order() -> None:
    """Code 0 with sCode 0 gives the order id."""
    result = result_of("okx", "0", "", raw('[{"ordId":"77","clOrdId":"a","sCode":"0","sMsg":""}]'))

    assert result.ord_id == "77"


@pytest.mark.parametrize("code", ["0", "1", "2"])
def test_result_follows_the_item(code: str) -> None:
    """Whatever the envelope says, the item's own code decides."""
    data = raw('[{"ordId":"","clOrdId":"a","sCode":"51008","sMsg":"Insufficient margin"}]')

    with pytest.raises(Rejected) as caught:
        result_of("okx", code, "All operations failed", data)

    assert (caught.value.code, caught.value.message) == ("51008", "Insufficient margin")


def test_result_of_a_refused_envelope() -> None:
    """A code of its own refuses the whole request."""
    with pytest.raises(RateLimited):
        result_of("okx", "50011", "Too many", raw("[]"))


@pytest.mark.parametrize(
    ("code", "data"),
    [
        pytest.param("0", "[]", id="no-item"),
        pytest.param("1", "[]", id="failed-without-item"),
        pytest.param("1", '[{"ordId":"1","sCode":"0"}]', id="contradiction"),
        pytest.param("0", '{"ordId":"1"}', id="not-a-list"),
    ],
)
def test_result_that_says_nothing_is_unknown(code: str, data: str) -> None:
    """What cannot be understood may have happened."""
    with pytest.raises(OutcomeUnknown):
        result_of("okx", code, "", raw(data))
