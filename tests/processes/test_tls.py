"""Certificates that nobody vouches for, and names that lead nowhere."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import random
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from perpbot.app.venues import make_venue
from perpbot.domain.errors import Unavailable
from perpbot.kernel.clock import RealClock
from perpbot.venues.options import VenueConnection
from perpbot.venues.wire.dials import Dials
from perpbot.venues.wire.limits import Window
from perpbot.venues.wire.websocket import Connection, WebSocketChannel

pytestmark = [pytest.mark.timeout(30)]

VENUES = ("binance", "hyperliquid", "okx")
NOWHERE = "exchange.invalid"
"""A name that can never be found (RFC 6761)."""


def self_signed(directory: Path) -> tuple[Path, Path]:
    """Write a certificate for 127.0.0.1 that only its own key vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    places = directory / "certificate.pem", directory / "key.pem"
    places[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    places[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return places


class Impostor:
    """A server with such a certificate; what it is told inside of TLS is `heard`."""

    def __init__(self) -> None:
        self.connections = 0
        self.heard = b""
        self.place = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heard += await reader.read(65536)
        writer.close()


@pytest.fixture
async def impostor(tmp_path: Path) -> AsyncIterator[Impostor]:
    """One that listens."""
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    found = Impostor()
    # The server's loop reports every handshake that its client breaks off.
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0, ssl=context)
    host, port = server.sockets[0].getsockname()
    found.place = f"{host}:{port}"
    try:
        yield found
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("name", VENUES)
async def test_self_signed_certificate_is_refused(name: str, impostor: Impostor) -> None:
    """Nothing is asked behind it, and the reason is told."""
    url = f"https://{impostor.place}"
    connection = VenueConnection(rest_url=url, ws_url=url.replace("https", "wss"))
    venue = make_venue(name, connection, {}, RealClock(), random.Random(1))
    try:
        with pytest.raises(Unavailable, match=r"(?i)certificate"):
            await venue.market_data.instruments()
    finally:
        await venue.close()
    assert impostor.heard == b""


@pytest.mark.parametrize("name", VENUES)
async def test_name_that_leads_nowhere_is_told(name: str) -> None:
    """As a venue that cannot be reached; nothing was sent."""
    connection = VenueConnection(rest_url=f"https://{NOWHERE}", ws_url=f"wss://{NOWHERE}")
    venue = make_venue(name, connection, {}, RealClock(), random.Random(1))
    try:
        with pytest.raises(Unavailable):
            await venue.market_data.instruments()
    finally:
        await venue.close()


@pytest.mark.parametrize("host", ["impostor", NOWHERE])
async def test_websocket_never_opens(host: str, impostor: Impostor) -> None:
    """It tries again with the same care; no frame and no login is ever sent."""
    opened: list[Connection] = []
    place = impostor.place if host == "impostor" else host

    async def url() -> str:
        return f"wss://{place}/ws"

    async def on_open(connection: Connection) -> None:
        opened.append(connection)

    channel = WebSocketChannel(
        venue="okx",
        name="public",
        url=url,
        on_open=on_open,
        on_text=lambda _frame, _received_ns: None,
        on_down=lambda _reason: None,
        clock=RealClock(),
        rng=random.Random(1),
        dials=Dials(Window("dials", 100, 1.0), clock=RealClock()),
        backoff_cap_s=0.1,
    )
    running = asyncio.create_task(channel.run())
    try:
        async with asyncio.timeout(60):
            while not channel.statistics().last_reason:  # noqa: ASYNC110 - a count of another
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    assert not opened
    assert not channel.is_up
    assert impostor.heard == b""
