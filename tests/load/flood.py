"""Stands before an exchange in a process of its own: quotes at a pace of ours, all else passes.

Each line is given as JSON on the command line: whose frames, where the real server is, which path
carries quotes, and how many a second. Connections to that path are answered here, with frames that
are made as they leave (their time is now); bytes of every other connection go to the server and
back. Prints the ports, then once a second how many quotes have left.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Callable

import msgspec

from tests.benchmarks.wire import accept, frame, unmasked

BEAT_S = 0.004
_PART = 1 << 16
_PING = 0x9
_PONG_HEAD = 0x8A


class Market(msgspec.Struct, frozen=True):
    """One instrument, and the price around which its quotes walk by ticks."""

    symbol: str
    price: float
    tick: float
    digits: int
    size: int
    """Base coins at the touch, where the venue counts in coins."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange."""

    venue: str
    host: str
    port: int
    path: str
    """Connections to it are flooded."""
    per_s: float
    markets: tuple[Market, ...]


def okx_frame(market: Market, number: int, now_ms: int) -> bytes:
    """Return a quote as the channel bbo-tbt tells it."""
    bid, ask = _touch(market, number)
    return frame(
        f'{{"arg":{{"channel":"bbo-tbt","instId":"{market.symbol}"}},"data":'
        f'[{{"asks":[["{ask}","{150 + number % 77}","0","4"]],'
        f'"bids":[["{bid}","{90 + number % 53}","0","7"]],'
        f'"ts":"{now_ms}","seqId":{1_000_000 + number}}}]}}'.encode()
    )


def binance_frame(market: Market, number: int, now_ms: int) -> bytes:
    """Return a quote as the stream bookTicker tells it."""
    bid, ask = _touch(market, number)
    return frame(
        f'{{"e":"bookTicker","u":{number},"s":"{market.symbol}","b":"{bid}",'
        f'"B":"{market.size + number % 53}","a":"{ask}","A":"{market.size + number % 77}",'
        f'"T":{now_ms},"E":{now_ms}}}'.encode()
    )


def _touch(market: Market, number: int) -> tuple[str, str]:
    bid = market.price + (number * 7 % 9 - 4) * market.tick
    return f"{bid:.{market.digits}f}", f"{bid + market.tick:.{market.digits}f}"


FRAMES: dict[str, Callable[[Market, int, int], bytes]] = {
    "binance": binance_frame,
    "okx": okx_frame,
}


class Front:
    """One listening port before one server."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self.sent = 0

    async def serve(self) -> int:
        """Listen; return the port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            if head.split(b" ", 2)[1].startswith(self._line.path.encode()):
                writer.write(accept(head))
                await self._flood(reader, writer)
            else:
                await self._pass(head, reader, writer)
        writer.close()

    async def _pass(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._line.host, self._line.port)
        far_writer.write(head)
        done, left = await asyncio.wait(
            [
                asyncio.create_task(_pump(reader, far_writer)),
                asyncio.create_task(_pump(far_reader, writer)),
            ],
            return_when=asyncio.FIRST_COMPLETED,
        )
        for task in left:
            task.cancel()
        await asyncio.gather(*done, *left, return_exceptions=True)
        far_writer.close()

    async def _flood(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        listening = asyncio.create_task(_answer_pings(reader, writer))
        line, make = self._line, FRAMES[self._line.venue]
        begun, number, count = time.monotonic(), 0, len(line.markets)
        try:
            while not listening.done():
                await asyncio.sleep(BEAT_S)
                due = int((time.monotonic() - begun) * line.per_s)
                now_ms = time.time_ns() // 1_000_000
                frames = [
                    make(line.markets[index % count], index, now_ms)
                    for index in range(number, due)
                ]
                number = due
                writer.write(b"".join(frames))
                self.sent += len(frames)
                await writer.drain()
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while part := await reader.read(_PART):
        writer.write(part)
        await writer.drain()


async def _answer_pings(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read what the client sends, to the end of the connection; only pings get an answer."""
    data = bytearray()
    while part := await reader.read(_PART):
        data += part
        while (found := unmasked(data)) is not None:
            payload, end = found
            if data[0] & 0x0F == _PING:
                writer.write(bytes([_PONG_HEAD, len(payload)]) + payload)
            del data[:end]


async def serve(lines: list[Line]) -> None:
    """Serve every line until standard input ends."""
    fronts = [Front(line) for line in lines]
    ports = [await front.serve() for front in fronts]
    print(json.dumps(ports), flush=True)
    loop = asyncio.get_running_loop()
    ended = loop.run_in_executor(None, sys.stdin.read)
    while not ended.done():
        await asyncio.wait([ended], timeout=1.0)
        print(json.dumps([front.sent for front in fronts]), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(msgspec.json.decode(sys.argv[1], type=list[Line])))
