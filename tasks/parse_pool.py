"""Documents are parsed in child processes: one that crashes, hangs or wants too much memory fails alone."""

import atexit
import os
import pickle
import signal
import threading
import time
from functools import cache
from pathlib import Path

from tasks.child import Child, CrashedError
from tasks.parse_child import Reply, too_large
from winnow.documents import ParsedDocument
from winnow.exceptions import DocumentError
from winnow.settings import settings

_LOOK_AGAIN = 0.5  # seconds after which one that waits sees whether another child pays

# How the system ends a process when its memory runs out, and how PDFium and other C++ code end when they get no more.
_OUT_OF_MEMORY = (signal.SIGKILL, signal.SIGABRT)

# Nothing here computes with matrices, and each thread of such a library takes memory from the document.
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def _parsed(child: Child, path: Path, name: str) -> Reply:
    try:
        reply: Reply = pickle.loads(child.ask((str(path), name), settings().parse_seconds))  # noqa: S301 # our child's
    except TimeoutError:
        return _too_slow(settings().parse_seconds), False
    except CrashedError as crash:
        if -crash.status in _OUT_OF_MEMORY:
            return too_large(settings().parse_memory_mb), False
        error = f"its parser crashed ({crash.how}); save the file anew, or in another format"
        return DocumentError("crashed", error), False
    return reply


def _too_slow(seconds: float) -> DocumentError:
    return DocumentError(
        "too_slow", f"reading it takes longer than {seconds:g} s; raise WINNOW_PARSE_SECONDS to read it"
    )


class ParsePool:
    """At most one child for each processor, kept for the next document.

    Args:
        parser: what the children run, as "module:function".
        patience: after how many seconds of work one more child pays: each loads its libraries anew.
    """

    def __init__(self, parser: str = "tasks.parsers:parse_document", patience: float = 3.0) -> None:
        self._parser = parser
        self._patience = patience
        self._changed = threading.Condition()  # guards what stands below
        self._idle: list[Child] = []  # taken from its end: who parsed last has its libraries loaded
        self._busy = 0
        self._most = 1  # children at once, for now
        self._grown: float | None = None  # when that was settled

    def parse(self, path: Path, name: str) -> ParsedDocument:
        """Parse a file in a child, within the limits of the settings.

        Raises:
            DocumentError: the file gives no text; of its reasons, `too_slow`, `too_large` and `crashed` come from here.
        """
        child, reusable = self._take(), False
        try:
            if child and not child.alive:
                child.end()
                child = None
            if not child:
                memory = str(settings().parse_memory_mb)
                child = Child("tasks.parse_child", self._parser, memory, environment=_ONE_THREAD)
                child.wait_until_ready()
            outcome, reusable = _parsed(child, path, name)
        finally:
            self._give_back(child, reusable)
        if isinstance(outcome, ParsedDocument):
            return outcome
        raise outcome

    def end_idle(self) -> None:
        """End the children that have nothing to do. All end with this process in any case, however it ends."""
        with self._changed:
            idle, self._idle = self._idle, []
            self._most, self._grown = 1, None
        for child in idle:
            child.end()

    def _take(self) -> Child | None:
        """Wait for one's turn, and take a child with nothing to do; None where a new one is to be started."""
        with self._changed:
            while not self._idle and self._busy >= self._room():
                self._changed.wait(_LOOK_AGAIN)
            self._busy += 1
            return self._idle.pop() if self._idle else None

    def _room(self) -> int:
        now = time.monotonic()
        if self._grown is None:
            self._grown = now
        elif self._most < (os.cpu_count() or 1) and now - self._grown >= self._patience:
            self._most, self._grown = self._most + 1, now
        return self._most

    def _give_back(self, child: Child | None, reusable: bool) -> None:
        if child and not reusable:
            child.end()
        with self._changed:
            self._busy -= 1
            if child and reusable:
                self._idle.append(child)
            self._changed.notify()


@cache
def parse_pool() -> ParsePool:
    """The pool of this process, which ends with it."""
    pool = ParsePool()
    atexit.register(pool.end_idle)
    return pool
