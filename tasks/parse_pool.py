"""Documents are parsed in child processes: one that crashes, hangs or wants too much memory fails alone."""

import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from functools import cache
from multiprocessing import Pipe
from pathlib import Path

from tasks.parse_child import Reply, too_large
from winnow.documents import ParsedDocument
from winnow.exceptions import DefinitionError, DocumentError
from winnow.settings import settings

_READY_WITHIN = 60.0  # seconds for a child's start
_ENDS_WITHIN = 5.0  # seconds for its end, once it has closed its channel
_LOOK_AGAIN = 0.5  # seconds after which one that waits sees whether another child pays

# How the system ends a process when its memory runs out, and how PDFium and other C++ code end when they get no more.
_OUT_OF_MEMORY = (signal.SIGKILL, signal.SIGABRT)

# Nothing here computes with matrices, and each thread of such a library takes memory from the document.
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class _Child:
    """A process that parses one document after the other."""

    def __init__(self, parser: str, memory_mb: int) -> None:
        self._memory_mb = memory_mb
        self._channel, theirs = Pipe()
        lifeline, self._lifeline = os.pipe()
        numbers = [str(number) for number in (theirs.fileno(), lifeline, memory_mb)]
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 # our own interpreter and words
                [sys.executable, "-P", "-m", "tasks.parse_child", parser, *numbers],
                env={**os.environ, **_ONE_THREAD, "PYTHONPATH": os.pathsep.join(sys.path)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), lifeline),
                process_group=0,  # Ctrl-C is for the parent
            )
        os.close(lifeline)

    def wait_until_ready(self) -> None:
        with suppress(EOFError, OSError):
            if self._channel.poll(_READY_WITHIN):
                self._channel.recv()
                return
        raise DefinitionError(
            "The process that reads documents did not start. What it said stands above; if that does not help, "
            "install Winnow anew."
        )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def parse(self, path: Path, name: str, seconds: float) -> Reply:
        try:
            self._channel.send((str(path), name))
            if self._channel.poll(seconds):
                reply: Reply = self._channel.recv()
                return reply
        except (EOFError, OSError):
            return self._crashed(), False
        return _too_slow(seconds), False

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._channel.close()
        os.close(self._lifeline)

    def _crashed(self) -> DocumentError:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_ENDS_WITHIN)
        status = self._process.poll() or 0
        if -status in _OUT_OF_MEMORY:
            return too_large(self._memory_mb)
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return DocumentError("crashed", f"its parser crashed ({how}); save the file anew, or in another format")


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
        self._idle: list[_Child] = []  # taken from its end: who parsed last has its libraries loaded
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
                child = _Child(self._parser, settings().parse_memory_mb)
                child.wait_until_ready()
            outcome, reusable = child.parse(path, name, settings().parse_seconds)
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

    def _take(self) -> _Child | None:
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

    def _give_back(self, child: _Child | None, reusable: bool) -> None:
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
