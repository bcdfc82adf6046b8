from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from perpbot.domain.errors import AuthFailed, OutcomeUnknown, ProtocolViolation, Unavailable
from perpbot.venues.wire.pending import PendingReplies
from perpbot.venues.wire.websocket import REFUSED_PAUSE_S, Connection

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Frame = Callable[..., bytes]


def _sends(upgrade: Script, *parts: bytes, then_close: bool = False) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await upgrade(reader, writer)
        for part in parts:
            writer.write(part)
            await writer.drain()
        if not then_close:
            await reader.read(-1)

    return script


async def test_text_frames_arrive_in_order(
    serve: Any, listen: Any, upgrade: Script, websocket_frame: Frame
) -> None:
    """Frames reach on_text in order, with the payload only."""
    port = await serve(_sends(upgrade, websocket_frame(b"one"), websocket_frame(b"x" * 300)))

    async with listen(port) as heard:
        await heard.until(lambda: len(heard.texts) == 2 and heard.channel.is_up)

        assert heard.texts == [b"one", b"x" * 300]
        heard.channel.send(b"more")
        statistics = heard.channel.statistics()
        assert (statistics.connects, statistics.frames, statistics.bytes) == (1, 2, 303)
        assert statistics.last_data_ns > 0


async def test_binary_frames_are_handed_over_like_text(
    serve: Any, listen: Any, upgrade: Script, websocket_frame: Frame
) -> None:
    """Some venues mark JSON as binary."""
    port = await serve(_sends(upgrade, websocket_frame(b"{}", 2)))

    async with listen(port) as heard:
        await heard.until(lambda: heard.texts == [b"{}"])


async def test_fragments_are_joined(
    serve: Any, listen: Any, upgrade: Script, websocket_frame: Frame
) -> None:
    """A message in three frames with a ping between arrives once and whole."""
    port = await serve(
        _sends(
            upgrade,
            websocket_frame(b"alpha ", fin=False),
            websocket_frame(b"ping", 9),
            websocket_frame(b"beta ", 0, fin=False),
            websocket_frame(b"gamma", 0),
            websocket_frame(b"next"),
        )
    )

    async with listen(port) as heard:
        await heard.until(lambda: len(heard.texts) == 2)

        assert heard.texts == [b"alpha beta gamma", b"next"]


@pytest.mark.parametrize("whole", [True, False], ids=["one frame", "fragments"])
async def test_oversized_message_closes_with_a_counted_reason(
    serve: Any, listen: Any, upgrade: Script, websocket_frame: Frame, *, whole: bool
) -> None:
    """Neither one large frame nor many small ones may fill the memory."""
    if whole:
        parts = [websocket_frame(b"x" * 200)]
    else:
        parts = [websocket_frame(b"x" * 80, fin=False), websocket_frame(b"x" * 80, 0)]
    port = await serve(_sends(upgrade, *parts))

    async with listen(port, max_frame_bytes=100) as heard:
        await heard.until(lambda: len(heard.downs) >= 2)

        assert heard.texts == []
        assert heard.channel.statistics().reasons["oversize"] >= 2
        assert "100" in heard.downs[0]


async def test_malformed_frame_closes_and_reconnects(
    serve: Any, listen: Any, upgrade: Script, websocket_frame: Frame
) -> None:
    """Reserved bits are a protocol error; the next connection starts clean."""
    calls: list[int] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await upgrade(reader, writer)
        calls.append(1)
        writer.write(b"\xff\xff\xff\xff" if len(calls) == 1 else websocket_frame(b"fine"))
        await writer.drain()
        await reader.read(-1)

    port = await serve(script)

    async with listen(port) as heard:
        await heard.until(lambda: heard.texts == [b"fine"])

        assert len(heard.downs) == 1


async def test_silence_of_data_reconnects_although_pongs_come(
    serve: Any, listen: Any, upgrade: Script, websocket_frame: Frame
) -> None:
    """The venue's text pong and protocol pongs are no data."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await upgrade(reader, writer)
        while True:
            writer.write(websocket_frame(b"pong") + websocket_frame(b"", 10))
            await writer.drain()
            await asyncio.sleep(0.004)

    port = await serve(script)

    async with listen(
        port, silence_s=0.03, ping=b"ping", pong=b"pong", ping_interval_s=0.01
    ) as heard:
        await heard.until(lambda: len(heard.downs) >= 2)

        assert heard.texts == []
        assert heard.channel.statistics().reasons["silence"] >= 2
        assert "no data for 0.03 s" in heard.downs[0]


async def test_venue_ping_is_sent_on_its_interval(
    serve: Any, listen: Any, upgrade: Script, websocket_frame: Frame
) -> None:
    """The server sees the masked text ping after the first message."""
    received = bytearray()
    enough = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await upgrade(reader, writer)
        while chunk := await reader.read(100):
            received.extend(chunk)
            if len(received) >= 3 * (2 + 4 + 4):
                enough.set()

    port = await serve(script)

    async with listen(port, ping=b"ping", ping_interval_s=0.005) as heard:
        heard.first = None
        async with asyncio.timeout(20):
            await enough.wait()

    assert received[0] == 0x81
    mask, body = received[2:6], received[6:10]
    assert bytes(b ^ m for b, m in zip(body, mask, strict=True)) == b"ping"


async def test_down_is_told_once_per_loss_and_send_raises_while_down(
    serve: Any, listen: Any, upgrade: Script, websocket_frame: Frame
) -> None:
    """Every loss is one call; the channel refuses to send until it is open again."""
    port = await serve(_sends(upgrade, websocket_frame(b"data"), then_close=True))

    async with listen(port) as heard:
        with pytest.raises(Unavailable):
            heard.channel.send(b"early")
        await heard.until(lambda: len(heard.downs) >= 3)

        statistics = heard.channel.statistics()
        assert statistics.connects - len(heard.downs) in (0, 1)
        assert statistics.losses <= len(heard.downs)


async def test_refused_connection_is_told_once_and_retried_without_end(listen: Any) -> None:
    """Attempt after attempt fails, and observers hear of it once."""
    with_server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port = with_server.sockets[0].getsockname()[1]
    with_server.close()
    await with_server.wait_closed()
    attempts = 0
    many = asyncio.Event()

    async def url() -> str:
        nonlocal attempts
        attempts += 1
        if attempts >= 8:
            many.set()
        return f"ws://127.0.0.1:{port}/"

    async with listen(port, url=url) as heard:
        async with asyncio.timeout(20):
            await many.wait()

        assert len(heard.downs) == 1
        assert "cannot connect" in heard.downs[0]
        assert not heard.channel.is_up


async def test_connection_lost_in_the_handshake_is_retried(
    serve: Any, listen: Any, upgrade: Script, websocket_frame: Frame
) -> None:
    """A socket that closes before it answers is no fault of ours: the next attempt counts."""
    calls: list[int] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(1)
        if len(calls) == 1:
            await reader.readuntil(b"\r\n\r\n")
            return
        await upgrade(reader, writer)
        writer.write(websocket_frame(b"fine"))
        await writer.drain()
        await reader.read(-1)

    port = await serve(script)

    async with listen(port) as heard:
        await heard.until(lambda: heard.texts == [b"fine"])

        assert heard.downs == ["cannot connect: the connection was lost in the handshake"]


@pytest.mark.parametrize("late", [False, True], ids=["answered", "answered later"])
async def test_stopped_in_the_handshake_leaves_no_socket(
    serve: Any, listen: Any, upgrade: Script, websocket_frame: Frame, *, late: bool
) -> None:
    """Whether the answer has just come or comes when nobody waits any more."""
    stopped, ended = asyncio.Event(), asyncio.Event()
    asked = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if late:
            asked.set()
            await stopped.wait()
        await upgrade(reader, writer)
        writer.write(websocket_frame(b"unheard"))
        with contextlib.suppress(ConnectionError):
            await reader.read(-1)
        ended.set()

    heard = listen(await serve(script))
    run = asyncio.create_task(heard.channel.run())
    before = asyncio.all_tasks()
    if late:
        async with asyncio.timeout(20):
            await asked.wait()
    else:
        # The answer is read, and whoever waits for it has not gone on.
        made = heard.channel._new_socket

        def cancel_now() -> Any:
            run.cancel()
            return made()

        heard.channel._new_socket = cancel_now
    async with asyncio.timeout(20):
        if late:
            run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        stopped.set()
        await ended.wait()

        assert heard.opened == 0
        assert not heard.channel.is_up
        assert not [task for task in asyncio.all_tasks() - before if "ping" in repr(task)]


async def test_failing_url_and_failing_open_are_retried(
    serve: Any, listen: Any, upgrade: Script, websocket_frame: Frame
) -> None:
    """A listen key that is not granted, then a login that is refused, then success."""
    port = await serve(_sends(upgrade, websocket_frame(b"data")))
    steps = ["url", "open", "fine"]

    async def url() -> str:
        if steps[0] == "url":
            steps.pop(0)
            raise Unavailable("venue", "no listen key")
        return f"ws://127.0.0.1:{port}/"

    async def on_open(connection: Connection) -> None:
        if steps[0] == "open":
            steps.pop(0)
            raise ProtocolViolation("venue", "login refused")
        connection.send(b"subscribe")

    async with listen(port, url=url, on_open=on_open) as heard:
        await heard.until(lambda: heard.channel.is_up)

        assert heard.channel.statistics().reasons == {"connect": 1, "open": 1}
        assert heard.downs == [
            "cannot connect: venue: no listen key",
            "opening failed: venue: login refused",
        ]


async def test_refused_logins_come_slowly_and_slower(
    serve: Any,
    listen: Any,
    upgrade: Script,
    websocket_frame: Frame,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The words of the refusal are data, and prove nothing: the ceiling of the delay grows."""
    port = await serve(_sends(upgrade, websocket_frame(b"60005 invalid key")))
    slept: list[float] = []
    ceilings: list[float] = []
    enough = asyncio.Event()

    class Recorder(random.Random):
        def uniform(self, a: float, b: float) -> float:
            ceilings.append(b)
            return 0.0

    sleep_really = asyncio.sleep

    async def sleep(delay_s: float) -> None:
        if delay_s != REFUSED_PAUSE_S:
            await sleep_really(delay_s)  # somebody's pings
            return
        slept.append(delay_s)
        if len(slept) == 3:
            enough.set()
            await asyncio.Event().wait()

    async def on_open(connection: Connection) -> None:
        connection.send(b"login")
        raise AuthFailed("venue", "invalid key")

    monkeypatch.setattr("perpbot.venues.wire.websocket.asyncio.sleep", sleep)
    async with listen(
        port, on_open=on_open, rng=Recorder(), backoff_base_s=1.0, backoff_cap_s=60.0
    ):
        async with asyncio.timeout(20):
            await enough.wait()

    assert slept == [REFUSED_PAUSE_S] * 3
    assert ceilings == [1.0, 2.0, 4.0]


async def test_open_that_takes_too_long_closes_the_socket(
    serve: Any, listen: Any, upgrade: Script
) -> None:
    """A login that is never answered does not hang the stream."""
    port = await serve(_sends(upgrade))

    async def on_open(connection: Connection) -> None:
        await asyncio.Event().wait()

    async with listen(port, on_open=on_open, open_timeout_s=0.02) as heard:
        await heard.until(lambda: bool(heard.downs))

        assert heard.downs[0] == "not ready within 0.02 s"


async def test_a_loss_right_after_opening_is_told(
    serve: Any, listen: Any, upgrade: Script
) -> None:
    """What `on_open` announced in its last step is taken back, each time."""
    port = await serve(_sends(upgrade))
    announced: list[str] = []

    async def on_open(connection: Connection) -> None:
        announced.append("up")
        connection.close()

    async with listen(port, on_open=on_open) as heard:
        await heard.until(lambda: len(heard.downs) >= 3)

        assert len(announced) - len(heard.downs) in (0, 1)


async def test_close_by_the_venue_gives_its_code(
    serve: Any, listen: Any, upgrade: Script, websocket_frame: Frame
) -> None:
    """The reason names code and text."""
    close = (1012).to_bytes(2, "big") + b"restarting"
    port = await serve(_sends(upgrade, websocket_frame(close, 8)))

    async with listen(port) as heard:
        await heard.until(lambda: bool(heard.downs))

        assert heard.downs[0] == "closed by the venue: 1012 restarting"


async def test_reader_that_refuses_a_frame_reconnects(
    serve: Any, listen: Any, upgrade: Script, websocket_frame: Frame
) -> None:
    """A PerpbotError out of on_text is a broken stream, not a crash."""
    port = await serve(_sends(upgrade, websocket_frame(b"data")))

    def on_text(payload: memoryview, recv_ns: int) -> None:
        raise ProtocolViolation("venue", "subscription refused")

    async with listen(port, on_text=on_text) as heard:
        await heard.until(lambda: len(heard.downs) >= 1)

        assert "subscription refused" in heard.channel.statistics().last_reason


async def test_reader_with_a_fault_ends_run(
    serve: Any, listen: Any, upgrade: Script, websocket_frame: Frame
) -> None:
    """A programming error is raised to the supervisor, never swallowed."""
    port = await serve(_sends(upgrade, websocket_frame(b"data")))

    def on_text(payload: memoryview, recv_ns: int) -> None:
        raise KeyError("fault")

    heard = listen(port, on_text=on_text)
    with pytest.raises(KeyError, match="fault"):
        async with asyncio.timeout(20):
            await heard.channel.run()
    assert not heard.channel.is_up


async def test_reconnect_on_request(
    serve: Any, listen: Any, upgrade: Script, websocket_frame: Frame
) -> None:
    """An expired session asks for a new socket."""
    port = await serve(_sends(upgrade, websocket_frame(b"data")))

    async with listen(port) as heard:
        await heard.until(lambda: heard.channel.is_up and bool(heard.texts))
        heard.channel.reconnect("key expired")
        await heard.until(lambda: heard.opened == 2)

        assert heard.downs == ["key expired"]


async def test_lost_connection_makes_waiting_writes_unknown(
    serve: Any, listen: Any, upgrade: Script
) -> None:
    """The server dies between request and reply."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await upgrade(reader, writer)
        await reader.read(100)

    port = await serve(script)
    pending: PendingReplies[int, bytes] = PendingReplies()
    waiting: list[asyncio.Future[bytes]] = []

    async def on_open(connection: Connection) -> None:
        waiting.append(pending.new(1))
        connection.send(b"order")

    async with listen(port, on_open=on_open) as heard:
        await heard.until(lambda: bool(heard.downs))
        pending.fail_all(lambda: OutcomeUnknown("venue", heard.downs[0]))

        with pytest.raises(OutcomeUnknown):
            await waiting[0]


async def test_delays_come_from_the_injected_randomness(listen: Any) -> None:
    """Full jitter: each delay is the rng's draw under a doubling ceiling."""
    drawn: list[tuple[float, float]] = []
    enough = asyncio.Event()

    class Recorder(random.Random):
        def uniform(self, a: float, b: float) -> float:
            drawn.append((a, b))
            if len(drawn) == 5:
                enough.set()
            return 0.0

    async def url() -> str:
        raise Unavailable("venue", "no")

    async with listen(0, url=url, rng=Recorder(), backoff_base_s=1.0, backoff_cap_s=8.0):
        async with asyncio.timeout(20):
            await enough.wait()

    assert drawn[:5] == [(0.0, 1.0), (0.0, 2.0), (0.0, 4.0), (0.0, 8.0), (0.0, 8.0)]
