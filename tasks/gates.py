"""What stands between a cell and its call: so many calls at once, a pause when the provider asks for one, and a stop.

A gate belongs to one job in one process (`tasks.job_context`). Preparing and storing happen outside of it, so that a
slot is taken only while a call is in flight.
"""

import contextlib
import threading
import time
from collections.abc import Iterator

from winnow.exceptions import JobStoppedError


class Gate:
    """Lets at most `slots` calls through at once."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._held_until = 0.0
        self._closed: str | None = None
        self._changed = threading.Condition()

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

    def hold(self, seconds: float) -> None:
        """Let nobody in for so long: the provider asked everyone who uses the key to wait."""
        with self._changed:
            self._held_until = max(self._held_until, time.monotonic() + seconds)
            self._changed.notify_all()

    def close(self, reason: str) -> None:
        """Let nobody in any more. Calls in flight go on."""
        with self._changed:
            self._closed = self._closed or reason
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether the gate was closed."""
        return self._closed is not None
