"""What stands between a cell and its call: so many calls at once, a pause when the provider asks for one, and a stop.

A gate belongs to one job in one process (`tasks.job_context`); what processes share of a provider is in
`tasks.limits`. Preparing and storing happen outside of it, so that a slot is taken only while a call is in flight, or
waits for its provider.
"""

import contextlib
import threading
import time
from collections.abc import Iterator

from winnow.exceptions import JobStoppedError

_LINGERS = 60.0  # seconds after the stop for which what was bought may still be stored


class Gate:
    """Lets at most `slots` calls through at once."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._held_until = 0.0
        self._closed: str | None = None
        self._closed_at = 0.0
        self._changed = threading.Condition()
        self._shut = threading.Event()
        self._turn = threading.Condition()
        self._turn_taken = False

    @contextlib.contextmanager
    def slot(self) -> Iterator[None]:
        """Wait for a slot and take it for the block.

        Raises:
            JobStoppedError: the gate was closed; no new call may start.
        """
        self._enter()
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify()

    def _enter(self) -> None:
        with self._changed:
            while self._closed is None:
                wait = self._held_until - time.monotonic()
                if wait <= 0 and self._free:
                    self._free -= 1
                    return
                self._changed.wait(wait if wait > 0 else None)
            raise JobStoppedError(self._closed)

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until it is one's turn, in about the order of asking. For those who have a slot.

        Raises:
            JobStoppedError: the gate was closed.
        """
        with self._turn:
            while self._turn_taken and not self._shut.is_set():
                self._turn.wait()
            self._check()
            self._turn_taken = True
        try:
            yield
        finally:
            with self._turn:
                self._turn_taken = False
                self._turn.notify()

    def wait(self, seconds: float) -> None:
        """Wait so long, and for as long as the gate is held.

        Raises:
            JobStoppedError: the gate was closed; at once, not when the time is over.
        """
        until = time.monotonic() + seconds
        while not self._shut.is_set() and (left := max(until, self._held_until) - time.monotonic()) > 0:
            self._shut.wait(left)
        self._check()

    def linger(self, seconds: float) -> None:
        """Wait so long, also when the gate was closed, but not for ever then: for those who have a reply to store.

        Raises:
            JobStoppedError: the gate was closed a minute ago.
        """
        if self._closed is not None and time.monotonic() - self._closed_at > _LINGERS:
            raise JobStoppedError(self._closed)
        time.sleep(seconds)

    def _check(self) -> None:
        if self._closed is not None:
            raise JobStoppedError(self._closed)

    def hold(self, seconds: float) -> None:
        """Let nobody in for so long: the provider asked everyone who uses the key to wait."""
        with self._changed:
            self._held_until = max(self._held_until, time.monotonic() + seconds)
            self._changed.notify_all()

    def close(self, reason: str) -> None:
        """Let nobody in any more. Calls in flight go on."""
        with self._changed:
            if self._closed is None:
                self._closed, self._closed_at = reason, time.monotonic()
            self._shut.set()
            self._changed.notify_all()
        with self._turn:
            self._turn.notify_all()

    @property
    def closed(self) -> bool:
        """Whether the gate was closed."""
        return self._closed is not None
