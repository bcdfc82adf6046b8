"""The flood server, in a process of its own: the same frames of OKX quotes to each who subscribes.

Frames are encoded before the first connection. Prints its port, then for each connection the
monotonic time at which the flood began.
"""

from __future__ import annotations

import socket
import sys
import time

from tests.benchmarks.stage import PRICE, TICK, assets, instrument
from tests.benchmarks.wire import accept, frame, read_head

ASSETS = 10
_CHUNK = 1 << 18


def quotes(count: int, now_ms: int) -> list[bytes]:
    """Return quotes of OKX that walk by ticks around one price: real, and never worth a trade."""
    symbols = [instrument("okx", asset).symbol for asset in assets(ASSETS)]
    payloads = []
    for number in range(count):
        bid = PRICE + (number * 7 // ASSETS % 9 - 4) * TICK
        payloads.append(
            f'{{"arg":{{"channel":"bbo-tbt","instId":"{symbols[number % ASSETS]}"}},"data":'
            f'[{{"asks":[["{bid + TICK:.1f}","{150 + number % 77}","0","4"]],'
            f'"bids":[["{bid:.1f}","{90 + number % 53}.5","0","7"]],'
            f'"ts":"{now_ms}","seqId":{1_000_000 + number}}}]}}'.encode()
        )
    return payloads


def main(count: int) -> None:
    """Serve one connection after the other until killed."""
    blob = b"".join(frame(payload) for payload in quotes(count, time.time_ns() // 1_000_000))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(listening.getsockname()[1], flush=True)
        while True:
            connection, _ = listening.accept()
            with connection:
                _serve(connection, blob)


def _serve(connection: socket.socket, blob: bytes) -> None:
    connection.sendall(accept(read_head(connection)))
    if not connection.recv(1 << 16):  # whatever it subscribes to
        return
    print(time.monotonic_ns(), flush=True)
    try:
        for start in range(0, len(blob), _CHUNK):
            connection.sendall(blob[start : start + _CHUNK])
        while connection.recv(1 << 16):
            pass
    except ConnectionError:
        return


if __name__ == "__main__":
    main(int(sys.argv[1]))
