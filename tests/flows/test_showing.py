"""Work that is faster than Prefect's server: over the real events worker, and a client that is slow or stuck."""

import asyncio
import logging
import threading
import time
from collections.abc import Iterator

import pytest
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.events.clients import PrefectEventsClient
from prefect.events.schemas.events import Event
from prefect.events.worker import EventsWorker
from prefect.task_runners import ThreadPoolTaskRunner

from flows.map_windows import map_windows
from tasks import showing
from tasks.showing import Pace

WINDOW = 8
EVENTS = 3
"""Of a task run: pending, running, completed."""


_stuck = threading.Event()
_emit = PrefectEventsClient._emit


async def _slowly(client: PrefectEventsClient, event: Event) -> None:
    """As to a server that takes at most 200 events a second, or none while it is stuck."""
    await asyncio.sleep(0.005)
    while _stuck.is_set():
        await asyncio.sleep(0.005)
    await _emit(client, event)


@pytest.fixture(autouse=True)
def _slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    EventsWorker.instance().wait_until_empty()
    monkeypatch.setattr(Pace, "MOST", 20)
    monkeypatch.setattr(PrefectEventsClient, "_emit", _slowly)
    try:
        yield
    finally:
        _stuck.clear()
        EventsWorker.instance().wait_until_empty()


@task(cache_policy=NO_CACHE, log_prints=False)
def work(number: int) -> int:
    return number


def mapped(items: int) -> tuple[int, int]:
    """How many task runs ended, and the most events that were seen waiting."""
    most = 0

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=100))  # type: ignore[arg-type]
    def fan_out() -> int:
        nonlocal most
        ended = 0
        for _ in map_windows(work.map, ([[number]] for number in range(items)), window=WINDOW):
            ended += 1
            most = max(most, len(showing._untold()))
        return ended

    return fan_out(), most


def test_work_is_held_back_while_the_server_has_much_left_to_be_told() -> None:
    ended, most = mapped(100)

    assert ended == 100
    assert Pace.MOST < most <= Pace.MOST + EVENTS * WINDOW


def test_a_server_that_takes_nothing_is_not_waited_for() -> None:
    _stuck.set()
    began = time.monotonic()
    ended, most = mapped(100)

    assert ended == 100
    assert most > Pace.MOST + EVENTS * WINDOW
    assert time.monotonic() - began < 30 * Pace.PATIENCE  # a patience for each of the runs would be 100


def test_that_events_are_dropped_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("EventsWorker")
    for _ in range(3):
        log.warning("Service %r queue is full (%d items), dropping item", "EventsWorker", 10)
        log.warning("Still processing items")

    said = [record.getMessage() for record in caplog.records]
    assert sum("queue is full" in line for line in said) <= 1
    assert said.count("Still processing items") == 3
