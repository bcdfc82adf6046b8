"""How one account of one venue is reached; the settings room fills it in."""

from __future__ import annotations

import msgspec

from perpbot.venues.wire.limits import Window


class VenueConnection(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses and timing of a venue. Empty addresses mean the venue's own."""

    rest_url: str = ""
    """Base of the REST paths, such as http://127.0.0.1:8101."""
    ws_url: str = ""
    """Base of the websocket paths, such as ws://127.0.0.1:8101."""
    testnet: bool = False
    account_name: str = "main"
    request_timeout_s: float = 5.0
    dials: Window | None = None
    """How many websockets may be opened in a period. None means the venue's own limit."""
