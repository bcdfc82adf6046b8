"""Order, journal first, isolation, halting, overflow of the event bus."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from perpbot.domain.errors import InvalidValue, JournalFull
from perpbot.domain.events import (
    AlertFired,
    BusOverflow,
    ComponentFailed,
    Event,
    EventKind,
    Heartbeat,
    KillSwitchEngaged,
    OrderFact,
    OrderSent,
    OrderUnknown,
    QueryOrder,
)
from perpbot.kernel.bus import QUARANTINE_AFTER, BusHalted, EventBus
from perpbot.kernel.clock import VirtualTime
from perpbot.kernel.journal.memory import MemoryJournal

KILL = KillSwitchEngaged(level=1, actor="me", reason="test")


def alert(text: str = "a") -> AlertFired:
    """Durable."""
    return AlertFired(name="n", severity="low", text=text)


def beat(component: str = "c", status: str = "ok") -> Heartbeat:
    """Latest, keyed by component."""
    return Heartbeat(component=component, status=status)


def query(client_id: str = "q") -> QueryOrder:
    """Stream."""
    return QueryOrder(client_id=client_id)


def broken(_event: Event) -> None:
    """Fail like any programming error."""
    raise ZeroDivisionError("division by zero")


def a_bus(**more: object) -> tuple[EventBus, MemoryJournal, list[Event]]:
    """Return a bus with a journal, and the list of everything that it handles."""
    journal, seen = MemoryJournal(), list[Event]()
    bus = EventBus(VirtualTime(5), journal, **more)  # type: ignore[arg-type]
    return bus, journal, seen


def test_idle_publish_handles_the_event_before_it_returns() -> None:
    """No queue is in the way of an idle bus."""
    bus, _, seen = a_bus()
    bus.subscribe(Heartbeat, seen.append)

    bus.publish(beat())

    assert seen == [beat()]


def test_urgent_goes_before_durable_before_stream_before_latest() -> None:
    """What waits is handled lane by lane, in order within a lane."""
    bus, _, seen = a_bus()
    bus.subscribe(Event, seen.append)
    waiting = [beat("x"), query("1"), query("2"), alert("1"), alert("2"), KILL]

    def burst(_event: Event) -> None:
        if len(seen) == 1:
            for event in waiting:
                bus.publish(event)

    bus.subscribe(Event, burst)
    bus.publish(beat("start"))

    assert seen[1:] == [KILL, alert("1"), alert("2"), query("1"), query("2"), beat("x")]


def test_a_newer_latest_value_replaces_the_waiting_one_and_is_counted() -> None:
    """Only the newest of a key is handled; the other key is untouched."""
    bus, _, seen = a_bus()
    bus.subscribe(Heartbeat, seen.append)

    def burst(_event: AlertFired) -> None:
        for status in ("1", "2", "3"):
            bus.publish(beat("a", status))
        bus.publish(beat("b"))

    bus.subscribe(AlertFired, burst)
    bus.publish(alert())

    assert seen == [beat("a", "3"), beat("b")]
    assert bus.statistics().replaced == 2


def test_a_durable_event_is_in_the_journal_before_any_handler_sees_it() -> None:
    """Journal order is dispatch order, for events that handlers publish too."""
    bus, journal, _ = a_bus()
    known: list[int] = []
    bus.subscribe(AlertFired, lambda _event: known.append(journal.last_sequence))

    def answer(event: AlertFired) -> None:
        if event.text == "1":
            bus.publish(alert("2"))

    bus.subscribe(AlertFired, answer)

    bus.publish(alert("1"))
    bus.publish(query())
    bus.publish(beat())

    assert known == [1, 2]
    assert [record.event() for record in journal.records()] == [alert("1"), alert("2")]
    assert bus.sequence == bus.statistics().journalled == 2


def test_handlers_of_a_base_class_get_its_subclasses() -> None:
    """In the order of subscription."""
    bus, _, seen = a_bus()
    bus.subscribe(OrderFact, seen.append)
    sent, unknown = OrderSent(client_id="1"), OrderUnknown(client_id="1", reason="r")

    bus.publish(sent)
    bus.publish(unknown)
    bus.publish(alert())

    assert seen == [sent, unknown]


@pytest.mark.parametrize("event", [alert(), beat(), query(), KILL], ids=lambda e: str(e.kind))
def test_a_core_handler_that_raises_halts_the_bus(event: Event) -> None:
    """The reason is journalled, the owner is told, nothing is dispatched any more."""
    told: list[BaseException] = []
    bus, journal, seen = a_bus(on_halt=told.append)
    bus.subscribe(type(event), broken)
    bus.subscribe(type(event), seen.append)

    with pytest.raises(BusHalted, match="ZeroDivisionError"):
        bus.publish(event)
    with pytest.raises(BusHalted, match="has halted"):
        bus.publish(event)

    assert seen == []
    assert [type(error) for error in told] == [ZeroDivisionError]
    assert isinstance(bus.halted, ZeroDivisionError)
    assert bus.statistics().halted
    last = list(journal.records())[-1].event()
    assert isinstance(last, ComponentFailed)
    assert event.kind in last.component
    assert "ZeroDivisionError: division by zero" in last.traceback


def test_a_halt_that_the_journal_cannot_record_is_told_all_the_same() -> None:
    """A full disk does not hide why the bus stopped."""

    class Full:
        def append(self, event: Event) -> int:
            raise JournalFull("no room")

        def rehearse(self, event: Event) -> None:
            raise AssertionError("nobody rehearses here")

    told: list[BaseException] = []
    bus = EventBus(VirtualTime(), Full(), on_halt=told.append)

    with pytest.raises(BusHalted, match="no room"):
        bus.publish(alert())

    assert "could not record" in told[0].__notes__[0]


def test_an_interrupt_in_a_core_handler_halts_and_goes_on() -> None:
    """State may be half applied; the interrupt itself is not swallowed."""

    def interrupted(_event: Event) -> None:
        raise KeyboardInterrupt

    bus, _, _ = a_bus()
    bus.subscribe(AlertFired, interrupted)
    bus.subscribe(Heartbeat, interrupted)

    with pytest.raises(KeyboardInterrupt):
        bus.publish(alert())
    with pytest.raises(BusHalted):
        bus.publish(beat())

    other, _, _ = a_bus()
    other.subscribe(Heartbeat, interrupted)
    with pytest.raises(KeyboardInterrupt):
        other.publish(beat())
    assert isinstance(other.halted, KeyboardInterrupt)


def test_a_handler_that_is_not_core_is_isolated_reported_and_quarantined() -> None:
    """The report is dispatched at once; after some failures in a row nobody calls it any more."""
    bus, journal, seen = a_bus()
    failed: list[ComponentFailed] = []
    calls: list[Event] = []

    def fails(event: Event) -> None:
        calls.append(event)
        raise RuntimeError("broken")

    bus.subscribe(Heartbeat, fails, core=False, name="sink")
    bus.subscribe(Heartbeat, seen.append, core=False)
    bus.subscribe(ComponentFailed, failed.append)

    for count in range(1, QUARANTINE_AFTER + 3):
        bus.publish(beat())
        assert len(failed) == min(count, QUARANTINE_AFTER)

    assert len(calls) == QUARANTINE_AFTER
    assert len(seen) == QUARANTINE_AFTER + 2
    assert [f.quarantined for f in failed] == [False] * (QUARANTINE_AFTER - 1) + [True]
    assert failed[0].component == "sink"
    assert journal.last_sequence == QUARANTINE_AFTER
    assert bus.statistics().quarantined == ("sink",)
    assert bus.statistics().failures == {"sink": QUARANTINE_AFTER}


def test_a_success_starts_the_count_to_quarantine_anew() -> None:
    """Only failures in a row quarantine."""
    bus, _, _ = a_bus()
    calls: list[int] = []

    def flaky(_event: Event) -> None:
        calls.append(1)
        if len(calls) % QUARANTINE_AFTER:
            raise RuntimeError("now and then")

    bus.subscribe(Heartbeat, flaky, core=False)
    for _ in range(4 * QUARANTINE_AFTER):
        bus.publish(beat())

    assert len(calls) == 4 * QUARANTINE_AFTER


def test_a_broken_listener_of_failures_ends_in_quarantine() -> None:
    """Reporting its own failures does not go on for ever."""
    bus, _, _ = a_bus()
    bus.subscribe(Event, broken, core=False, name="broken")

    bus.publish(beat())

    assert bus.statistics().failures == {"broken": QUARANTINE_AFTER}
    assert bus.halted is None


def test_another_thread_leaves_its_event_for_the_owner() -> None:
    """`publish` never handles on a foreign thread; `wake` is called and `drain` takes it."""
    woken: list[int] = []
    bus, _, seen = a_bus(wake=lambda: woken.append(threading.get_ident()))
    handled_on: list[int] = []
    bus.subscribe(AlertFired, lambda _event: handled_on.append(threading.get_ident()))
    bus.subscribe(AlertFired, seen.append)

    thread = threading.Thread(target=bus.publish, args=(alert(),))
    thread.start()
    thread.join()
    assert (len(woken), seen) == (1, [])

    bus.drain()

    assert seen == [alert()]
    assert handled_on == [threading.get_ident()]


def test_the_next_publish_takes_what_other_threads_left() -> None:
    """Also without anybody calling `drain`."""
    bus, _, seen = a_bus()
    bus.subscribe(Event, seen.append)
    thread = threading.Thread(target=bus.publish, args=(alert("foreign"),))
    thread.start()
    thread.join()

    bus.publish(beat())

    assert seen == [beat(), alert("foreign")]


def test_a_halted_bus_refuses_other_threads_too() -> None:
    """Nothing is taken that will never be handled."""
    bus, _, _ = a_bus()
    bus.subscribe(AlertFired, broken)
    with pytest.raises(BusHalted):
        bus.publish(alert())
    caught: list[BaseException] = []

    def publish() -> None:
        try:
            bus.publish(beat())
        except BusHalted as error:
            caught.append(error)

    thread = threading.Thread(target=publish)
    thread.start()
    thread.join()

    assert len(caught) == 1


def test_drain_inside_a_handler_does_nothing() -> None:
    """The dispatcher that runs already takes what waits."""
    bus, _, seen = a_bus()
    bus.subscribe(AlertFired, lambda _event: bus.drain())
    bus.subscribe(Event, seen.append)

    bus.publish(alert())

    assert seen == [alert()]


def burst_of(bus: EventBus, make: Callable[[int], Event], count: int) -> None:
    """Subscribe a handler that publishes `count` events at once, and start it."""

    def burst(event: AlertFired) -> None:
        if event.text == "burst":
            for number in range(count):
                bus.publish(make(number))

    bus.subscribe(AlertFired, burst)
    bus.publish(alert("burst"))


@pytest.mark.parametrize(
    ("lane", "make"),
    [
        ("stream", lambda n: query(str(n))),
        ("durable", lambda n: alert(str(n))),
        ("latest", lambda n: beat(str(n))),
        ("urgent", lambda _n: KILL),
    ],
    ids=["stream", "durable", "latest", "urgent"],
)
def test_a_lane_above_its_high_water_mark_is_told_on_both_edges(
    lane: str, make: Callable[[int], Event]
) -> None:
    """Back-pressure on, once; off when everything is handled; nothing is lost."""
    bus, _, seen = a_bus(high_water=3)
    told: list[BusOverflow] = []
    bus.subscribe(BusOverflow, told.append)
    bus.subscribe(Event, seen.append)

    burst_of(bus, make, 6)

    assert [(o.queue, o.active) for o in told] == [(lane, True), ("all", False)]
    assert told[0].depth == 4
    assert len(seen) == 1 + 6 + 2
    assert bus.statistics().deepest[lane] >= 6
    assert bus.statistics().depth == {"urgent": 0, "durable": 0, "stream": 0, "latest": 0}


def test_back_pressure_comes_back_after_it_ended() -> None:
    """A second flood is told like the first."""
    bus, _, _ = a_bus(high_water=3)
    told: list[bool] = []
    bus.subscribe(BusOverflow, lambda event: told.append(event.active))
    burst_of(bus, lambda n: query(str(n)), 6)
    bus.publish(alert("burst"))

    assert told == [True, False, True, False]


def test_events_published_when_back_pressure_ends_are_handled() -> None:
    """Nothing stays behind in a queue of an idle bus."""
    bus, _, seen = a_bus(high_water=3)

    def ended(event: BusOverflow) -> None:
        if not event.active:
            bus.publish(query("after"))

    bus.subscribe(BusOverflow, ended)
    bus.subscribe(QueryOrder, seen.append)

    burst_of(bus, lambda n: query(str(n)), 6)

    assert seen[-1] == query("after")


def test_the_hard_limit_halts() -> None:
    """A queue that only grows is an error; nothing is dropped quietly."""
    bus, _, _ = a_bus(high_water=3, hard_limit=5)

    with pytest.raises(BusHalted, match="stream lane holds 6 events"):
        burst_of(bus, lambda n: query(str(n)), 10)


def test_an_async_handler_is_refused() -> None:
    """It would never be awaited."""

    async def handler(_event: Event) -> None:
        """Do nothing."""

    bus, _, _ = a_bus()

    with pytest.raises(InvalidValue, match="Mailbox"):
        bus.subscribe(Event, handler)  # type: ignore[arg-type]


def test_no_fill_is_lost_behind_a_flood_of_quotes() -> None:
    """A thousand durable events among a hundred thousand latest ones: all, in order."""
    bus, journal, _ = a_bus()
    order: list[str] = []
    bus.subscribe(AlertFired, lambda event: order.append(event.text))

    def flood(_event: KillSwitchEngaged) -> None:
        for number in range(100_000):
            bus.publish(beat(str(number % 50)))
            if number % 100 == 0:
                bus.publish(alert(str(number)))

    bus.subscribe(KillSwitchEngaged, flood)
    bus.publish(KILL)

    assert order == [str(number) for number in range(0, 100_000, 100)]
    assert journal.last_sequence == 1 + 1_000
    assert bus.statistics().replaced == 100_000 - 50


def test_a_bus_without_a_journal_handles_durable_events() -> None:
    """For the simulator's own worlds."""
    bus = EventBus(VirtualTime())
    seen: list[Event] = []
    bus.subscribe(AlertFired, seen.append)

    bus.publish(alert())

    assert seen == [alert()]
    assert (bus.sequence, bus.statistics().journalled) == (1, 0)
    assert EventKind.ALERT_FIRED in alert().kind


def test_a_halt_from_outside_is_recorded_and_told_once() -> None:
    """The first error stands; nothing is dispatched after it."""
    told: list[BaseException] = []
    bus, journal, _ = a_bus(on_halt=told.append)
    first = RuntimeError("taken over")

    bus.halt(first)
    bus.halt(RuntimeError("again"))

    assert bus.halted is first
    assert told == [first]
    (failed,) = [record.event() for record in journal.records()]
    assert isinstance(failed, ComponentFailed)
    assert failed.error == "RuntimeError: taken over"
    with pytest.raises(BusHalted):
        bus.publish(failed)


def test_late_handlers_come_after_the_others_of_the_core() -> None:
    """However early they subscribed; those that are not core come last all the same."""
    bus = EventBus(VirtualTime())
    called: list[str] = []
    bus.subscribe(AlertFired, lambda _event: called.append("late"), late=True)
    bus.subscribe(AlertFired, lambda _event: called.append("sink"), core=False)
    bus.subscribe(AlertFired, lambda _event: called.append("first"))
    bus.subscribe(Event, lambda _event: called.append("second"))

    bus.publish(alert())

    assert called == ["first", "second", "late", "sink"]
