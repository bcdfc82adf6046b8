"""What each venue lets people set. Where nothing is set, the venue's declared value holds."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from perpbot.settings import SettingsModel, setting


def _address(*schemes: str) -> AfterValidator:
    def check(url: str) -> str:
        problem = f"an address such as {schemes[-1]}://host:port was expected"
        try:
            parts = urlsplit(url)
            _ = parts.port
        except ValueError:
            raise ValueError(problem) from None
        if parts.scheme not in schemes or not parts.hostname:
            raise ValueError(problem)
        if parts.username or parts.password:
            raise ValueError("an address without user or password was expected")
        return url.rstrip("/")

    return AfterValidator(check)


RestUrl = Annotated[str, _address("http", "https")]
WsUrl = Annotated[str, _address("ws", "wss")]


class VenueMarketSettings(SettingsModel):
    """One market of a venue, where it differs from the venue's other markets."""

    enabled: bool | None = setting(None, "Whether this market is traded; nothing: as the venue.")
    maker_fee_bps: Decimal | None = setting(
        None, "Maker fee of this market; negative is a rebate.", ge=-10, le=100
    )
    taker_fee_bps: Decimal | None = setting(None, "Taker fee of this market.", ge=-10, le=100)


class VenueSettings(SettingsModel):
    """One venue."""

    enabled: bool = setting(default=True, description="Whether this venue is used.")
    account_label: str = setting(
        "main", "Name of the account in the journal and in logs.", pattern=r"^[a-z0-9_-]{1,24}$"
    )
    account_dedicated: bool = setting(
        default=False,
        description="Whether only this node trades on the account: dead man's switches are armed"
        " on dedicated accounts only.",
    )
    credentials: str = setting(
        "",
        "Name of a second set of credentials: `sub1` reads `OKX__SUB1__API_KEY` instead of"
        " `OKX_API_KEY`.",
        pattern=r"^[a-z0-9]{0,16}$",
    )
    maker_fee_bps: Decimal | None = setting(
        None,
        "Maker fee of the account; negative is a rebate. Nothing: the venue's base tier.",
        ge=-10,
        le=100,
    )
    taker_fee_bps: Decimal | None = setting(
        None, "Taker fee of the account. Nothing: the venue's base tier.", ge=-10, le=100
    )
    rest_url: RestUrl | None = setting(
        None, "Address of the REST interface instead of the venue's. Refused in live."
    )
    ws_url: WsUrl | None = setting(
        None, "Address of the websockets instead of the venue's. Refused in live."
    )
    quote_interval_s: float | None = setting(
        None,
        "Longest silence of a healthy quote channel. Nothing: the venue's declared.",
        gt=0,
        le=600,
    )
    request_timeout_s: float = setting(
        5.0, "Time that an answer may take before its outcome is unknown.", ge=0.1, le=60
    )
    heartbeat_interval_s: float = setting(
        0.5, "Time between two checks of a connection.", ge=0.1, le=60
    )
    data_silence_s: float = setting(
        30.0, "Silence of a connection after which it is opened anew.", ge=1, le=600
    )
    poll_interval_s: float = setting(
        5.0, "Time between two polls while websockets are down.", ge=0.5, le=300
    )
