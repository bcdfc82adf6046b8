"""An order whose outcome nobody told, and systems that sent it again.

Each test is named after the public incident that it keeps from happening here.
"""

from __future__ import annotations

import asyncio
import random

import pytest

from perpbot.domain.capabilities import Lookup
from perpbot.domain.errors import OutcomeUnknown
from perpbot.domain.events import (
    OrderCancelled,
    OrderExpired,
    OrderFailed,
    OrderFilled,
    OrderIntent,
    OrderProvenAbsent,
    OrderUnknown,
)
from perpbot.domain.sides import Purpose
from perpbot.kernel.clock import SECOND, RealClock
from perpbot.simulation.fates import Fate, Message
from perpbot.venues.wire.http import HttpClient
from tests.unit.execution.stand import LONG, SHORT, Stand, d

ENDS = (OrderFilled, OrderCancelled, OrderExpired, OrderFailed, OrderProvenAbsent)
PURPOSES = [Purpose.OPEN, Purpose.HEDGE, Purpose.REDUCE]


def _life(stand: Stand) -> None:
    """One pair from its opportunity to its end."""
    stand.run(2_500)
    stand.open()
    stand.run(6_000)
    stand.close()
    stand.settle(90)


def _executed(stand: Stand, venue: str) -> list[str]:
    """Return the ids of the orders that executed at a venue, once for each order."""
    return [
        view.ticket.client_id
        for view in stand.exchanges[venue].order_history("main")
        if view.filled > 0
    ]


@pytest.mark.parametrize("purpose", PURPOSES)
def test_hummingbot_493_timeout_of_an_order_that_executed(purpose: Purpose) -> None:
    """The answer is lost after the execution: the stream tells it, nothing is sent again."""
    stand = Stand()
    if purpose is Purpose.HEDGE:
        stand.faults.add("request", Message.SUBMIT, fate=Fate(reject="no"), venue=SHORT, times=1)
    stand.faults.add("response", Message.SUBMIT, purpose=purpose)
    _life(stand)

    stand.check_settled()
    assert stand.faults.used, "no answer was lost"
    assert not stand.pairs
    for venue in (LONG, SHORT):
        bought, sold = d(0), d(0)
        for view in stand.exchanges[venue].order_history("main"):
            bought += view.filled if view.ticket.side.sign > 0 else d(0)
            sold += view.filled if view.ticket.side.sign < 0 else d(0)
        assert bought == sold == d(2), "executed more than the one pair"


def test_catalyst_317_no_answer_no_stream() -> None:
    """Answer and stream are both lost: the fill is found by the question alone."""
    stand = Stand()
    stand.faults.add("response", Message.SUBMIT)
    stand.faults.add("stream")
    _life(stand)

    stand.check_settled()
    assert stand.told(OrderUnknown), "no answer was lost"
    assert not stand.pairs
    assert len(_executed(stand, LONG)) == len(_executed(stand, SHORT)) == 2


def test_bitbot_27_questions_are_lost_too() -> None:
    """While not even questions are answered, the leg waits; it is not sent anew."""
    stand = Stand()
    stand.run(2_500)
    stand.faults.add("response", Message.SUBMIT, venue=LONG)
    stand.faults.add("response", Message.QUERY, venue=LONG)
    stand.faults.add("response", Message.RECONCILE, venue=LONG)
    stand.faults.add("stream", venue=LONG)
    stand.open()
    stand.run(4_000)
    opens = [order for order in stand.orders(Purpose.OPEN) if order.venue == LONG]
    assert len(opens) == 1
    assert not [order for order in stand.orders(Purpose.HEDGE) if order.venue == LONG]

    stand.faults.heal()
    stand.close()
    stand.settle(90)
    stand.check_settled()
    assert not stand.pairs


def test_crypto_trading_bot_53_instant_fill_is_not_among_open_orders() -> None:
    """A venue that lists open orders only cannot find what filled at once: no resend."""
    stand = Stand(capabilities={"lookup": Lookup.OPEN_ONLY})
    stand.faults.add("response", Message.SUBMIT, purpose=Purpose.OPEN)
    stand.faults.add("stream")
    _life(stand)

    stand.check_settled()
    assert not stand.pairs
    assert not stand.told(OrderProvenAbsent)
    assert len([order for order in stand.orders(Purpose.OPEN) if order.venue == LONG]) == 1


def test_openalice_91_restart_while_an_order_is_under_way() -> None:
    """The process ends between request and answer; the next one asks and sends nothing."""
    stand = Stand()
    stand.run(2_500)
    stand.open()
    stand.crash()
    stand.time.run_until(stand.time.now_ns() + SECOND)
    stand.boot()
    stand.run(5_000)

    assert not stand.orders(Purpose.OPEN)
    assert stand.held(LONG) == d(2)
    assert stand.held(SHORT) == d(-2)
    stand.close()
    stand.settle()
    stand.check_settled()


async def test_trading_signals_1178_the_http_client_never_repeats_a_request() -> None:
    """The peer takes the request and hangs up: an unknown outcome, one request on the wire."""
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        requests.append(head.split(b"\r\n")[0])
        if len(requests) == 1:
            # A connection that has worked before is the one that libraries like to retry on.
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            requests.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = HttpClient(venue="okx", base_url=f"http://127.0.0.1:{port}", clock=RealClock())
    try:
        await client.request("GET", "/warm")
        with pytest.raises(OutcomeUnknown):
            await client.request("POST", "/order?id=1")
    finally:
        await client.close()
        server.close()
        await server.wait_closed()
    assert requests == [b"GET /warm HTTP/1.1", b"POST /order?id=1 HTTP/1.1"]


def test_reya_55_no_second_signature_for_an_unanswered_order() -> None:
    """Five lost answers in a row are five different intents, never one that is signed again."""
    stand = Stand()
    stand.faults.add("request", Message.SUBMIT, purpose=Purpose.REDUCE, times=5)
    _life(stand)

    stand.check_settled()
    assert not stand.pairs
    assert len(stand.told(OrderProvenAbsent)) == 5
    proven = [event.client_id for event in stand.told(OrderProvenAbsent)]
    named = [order.replaces for order in stand.orders(Purpose.REDUCE) if order.replaces]
    assert sorted(named) == sorted(proven), "what stands in for an absent order names it"
    unsettled: dict[tuple[str, int], str] = {}
    for event in stand.events:
        if isinstance(event, OrderIntent):
            for order in event.orders:
                place = (order.owner, order.leg)
                assert place not in unsettled, "sent anew before the fate of the last was known"
                unsettled[place] = order.client_id
        elif isinstance(event, ENDS):
            unsettled = {k: v for k, v in unsettled.items() if v != event.client_id}


def test_ids_of_a_new_process_never_repeat_those_of_an_old_one() -> None:
    """OctoBot and others lost track after restarts because counters began anew."""
    seen: set[str] = set()
    stand = Stand(seed=random.Random(3).randrange(100))
    for _ in range(3):
        stand.run(2_500)
        stand.open()
        stand.run(1_500)
        stand.close()
        stand.settle()
        sent = {order.client_id for purpose in PURPOSES for order in stand.orders(purpose)}
        assert sent
        assert not sent & seen
        seen |= sent
        stand.crash()
        stand.boot()
