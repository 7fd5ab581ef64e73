"""What is shown in the Prefect UI is told to its server, which may be away: the work goes on without."""

import contextlib
import logging
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import httpx
from prefect.events.worker import EventsWorker, should_emit_events
from prefect.exceptions import PrefectException
from prefect.settings import get_current_settings

logger = logging.getLogger(__name__)

AWAY = (httpx.HTTPError, PrefectException, OSError)
"""How a call to Prefect's server fails where it is away, or refuses."""


@contextlib.contextmanager
def shown(what: str) -> Iterator[None]:
    """Tell Prefect's server something in the block; where it cannot be told, that is noted and no more."""
    try:
        yield
    except AWAY:
        logger.warning("Prefect's server could not be told of %s", what)


def reachable() -> bool:
    """Whether Prefect's server answers, asked once: its client would try for a minute."""
    url = get_current_settings().api.url
    try:
        return url is None or httpx.get(f"{url}/health", timeout=5).status_code < httpx.codes.INTERNAL_SERVER_ERROR
    except httpx.HTTPError:
        return False


class Pace:
    """Holds work back that is faster than Prefect's server, or what it is still to be told would fill the memory.

    A server that takes nothing is not waited for. What then comes to more than PREFECT_EVENTS_WORKER_MAX_QUEUE_SIZE is
    lost, and with it what the Prefect UI would show of those task runs.
    """

    MOST = 500  # events that wait, of some 13 kB each
    PATIENCE = 1.0  # seconds in which the server takes at least one
    _LOOK = 0.02

    def __init__(self) -> None:
        self._stuck_at: Any = None

    def keep(self) -> None:
        """Wait while much is left to be told, and some of it is taken."""
        untold = _untold()
        with contextlib.suppress(IndexError):  # all was taken meanwhile
            while len(untold) > self.MOST and (first := untold[0]) is not self._stuck_at:
                given_up = time.monotonic() + self.PATIENCE
                while untold[0] is first:
                    if time.monotonic() > given_up:
                        self._stuck_at = first
                        return
                    time.sleep(self._LOOK)


def _untold() -> deque[Any]:
    """The events that wait in this process for Prefect's server. Prefect tells nobody how many there are."""
    worker = EventsWorker.instance() if should_emit_events() else None
    return getattr(getattr(worker, "_queue", None), "queue", deque())


class _FullOnce(logging.Filter):
    """Lets Prefect say once that its queue is full: it would for each event that it drops."""

    _said = False

    def filter(self, record: logging.LogRecord) -> bool:
        full = "queue is full" in str(record.msg)
        again, self._said = full and self._said, full or self._said
        return not again


logging.getLogger(EventsWorker.__name__).addFilter(_FullOnce())
