"""A stub of OKX that stamps, in a process of its own: quotes out, orders in, nanoseconds between.

It speaks REST, the public and the private websocket as far as the adapter asks, on one port. Each
connection that subscribes to quotes gets the same schedule: a quote each interval, and each so
many quotes one that is worth an order. An order is acknowledged, and cancelled by the venue at
once. When the schedule of a connection ends, it prints the times from a quote's send to the
arrival of its order as one JSON list (ns). Given a processor of its own it does not sleep while it
waits for an order.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import sys
import time

from tests.benchmarks.stage import PRICE, TICK, assets, instrument
from tests.benchmarks.wire import accept, frame, unmasked

SYMBOL = instrument("okx", assets(1)[0]).symbol
TRIGGER = 60.0
"""How far the quote that is worth an order lies above the others."""
_SETTLE_S = 2.5
"""Between the subscription and the first trigger: the node compares its books meanwhile."""


def quote(bid: float, sequence: int) -> bytes:
    """Return one frame of channel `bbo-tbt`."""
    return frame(
        f'{{"arg":{{"channel":"bbo-tbt","instId":"{SYMBOL}"}},"data":'
        f'[{{"asks":[["{bid + TICK:.1f}","150","0","4"]],"bids":[["{bid:.1f}","90","0","7"]],'
        f'"ts":"{time.time_ns() // 1_000_000}","seqId":{sequence}}}]}}'.encode()
    )


_BALANCE = '{"details":[{"ccy":"USDT","eq":"100000","cashBal":"100000","availEq":"100000"}]}'
_REST = {
    "/api/v5/account/config": '{"posMode":"net_mode","acctLv":"2","uid":"1"}',
    "/api/v5/account/balance": _BALANCE,
}


class Client:
    """One connection: HTTP first, perhaps a websocket later."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.path = ""
        self.data = bytearray()

    def send(self, text: str) -> None:
        """Send a text frame."""
        self.connection.sendall(frame(text.encode()))


class Exchange:
    """See the module."""

    def __init__(self, interval_s: float, every: int, triggers: int, *, awake: bool) -> None:
        self._awake = awake
        self._interval_ns = int(interval_s * 1e9)
        self._every = every
        self._triggers = triggers
        self._selector = selectors.DefaultSelector()
        self._feed: Client | None = None
        self._sequence = 0
        self._next_ns = 0
        self._sent_ns = 0
        self._taken: list[int] = []
        self._count = 0

    def serve(self) -> None:
        """Serve until killed."""
        listening = socket.create_server(("127.0.0.1", 0))
        print(listening.getsockname()[1], flush=True)
        self._selector.register(listening, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select(self._wait_s()):
                if key.fileobj is listening:
                    connection, _address = listening.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    client = Client(connection)
                    self._selector.register(connection, selectors.EVENT_READ, client)
                else:
                    self._read(key.data)
            if self._feed is not None and time.monotonic_ns() >= self._next_ns:
                self._tick(self._feed)

    def _wait_s(self) -> float | None:
        """Return how long it may sleep, None until a client comes."""
        if self._feed is None:
            return None
        if self._awake and self._sent_ns:
            return 0.0
        return max(self._next_ns - time.monotonic_ns(), 0) / 1e9

    # --- quotes ---

    def _begin(self, client: Client) -> None:
        self._feed = client
        self._sequence = self._count = 0
        self._taken = []
        self._next_ns = time.monotonic_ns()

    def _tick(self, client: Client) -> None:
        self._next_ns += self._interval_ns
        self._sequence += 1
        settled = self._sequence * self._interval_ns > _SETTLE_S * 1e9
        triggers = settled and self._sequence % self._every == 0
        if triggers and self._count == self._triggers:
            print(json.dumps(self._taken), flush=True)
            self._feed = None
            return
        try:
            if triggers:
                self._count += 1
                payload = quote(PRICE + TRIGGER, self._sequence)
                self._sent_ns = time.monotonic_ns()
                client.connection.sendall(payload)
            else:
                client.connection.sendall(quote(PRICE, self._sequence))
        except ConnectionError:
            self._feed = None

    # --- what clients send ---

    def _read(self, client: Client) -> None:
        try:
            part = client.connection.recv(1 << 16)
        except ConnectionError:
            part = b""
        arrived_ns = time.monotonic_ns()
        if not part:
            self._selector.unregister(client.connection)
            client.connection.close()
            if self._feed is client:
                self._feed = None
            return
        client.data += part
        if not client.path.startswith("/ws"):
            self._http(client)
            return
        while (found := unmasked(client.data)) is not None:
            payload, size = found
            del client.data[:size]
            self._message(client, payload, arrived_ns)

    def _http(self, client: Client) -> None:
        if b"\r\n\r\n" not in client.data:
            return
        head = bytes(client.data)
        client.data.clear()
        path = head.split(b" ", 2)[1].decode()
        if path.startswith("/ws"):
            client.path = path
            client.connection.sendall(accept(head))
            return
        row = _REST.get(path.split("?", 1)[0], "")
        body = f'{{"code":"0","msg":"","data":[{row}]}}'
        client.connection.sendall(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )

    def _message(self, client: Client, payload: bytes, arrived_ns: int) -> None:
        if b'"op":"order"' in payload:
            if self._sent_ns:
                self._taken.append(arrived_ns - self._sent_ns)
                self._sent_ns = 0
            if client.path.endswith("/private"):
                self._take_order(client, payload)
        elif payload == b"ping":
            client.send("pong")
        elif payload.startswith(b'{"op":"login"'):
            client.send('{"event":"login","code":"0","msg":"","connId":"1"}')
        elif b'"subscribe"' in payload and client.path.endswith("/private"):
            for channel in ("orders", "positions", "account"):
                client.send(f'{{"event":"subscribe","arg":{{"channel":"{channel}"}}}}')
        elif b"bbo-tbt" in payload:
            self._begin(client)

    def _take_order(self, client: Client, payload: bytes) -> None:
        request = json.loads(payload)
        order = request["args"][0]
        number = f"{self._sequence}{self._count}"
        client.send(
            f'{{"id":"{request["id"]}","op":"order","code":"0","msg":"","data":[{{"ordId":"{number}",'
            f'"clOrdId":"{order["clOrdId"]}","sCode":"0","sMsg":""}}]}}'
        )
        row = {
            "instId": SYMBOL,
            "ordId": number,
            "clOrdId": order["clOrdId"],
            "state": "canceled",
            "side": order["side"],
            "ordType": order["ordType"],
            "px": order["px"],
            "sz": order["sz"],
            "accFillSz": "0",
            "posSide": "net",
            "uTime": str(time.time_ns() // 1_000_000),
        }
        arg = {"channel": "orders", "instType": "SWAP"}
        client.send(json.dumps({"arg": arg, "data": [row]}))


if __name__ == "__main__":
    _interval, _every, _triggers, *_bound = sys.argv[1:]
    if _bound:
        os.sched_setaffinity(0, {int(_bound[0])})
    Exchange(float(_interval), int(_every), int(_triggers), awake=bool(_bound)).serve()
