"""A process of its own for work that may crash, hang or want too much memory; it ends with the one that started it.

Its side: `serve`. Messages and replies are pickled, so they are between our own processes alone.
"""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from winnow.exceptions import DefinitionError

_READY_WITHIN = 60.0  # seconds for its start
_ENDS_WITHIN = 5.0  # seconds for its end, once it has closed its channel


class CrashedError(Exception):
    """The child is gone. `status` is its exit status, or minus the number of the signal that ended it."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        super().__init__(self.how)


class Child:
    """A child process that answers one message after the other.

    Args:
        module: run as a program; it gets the arguments, and then what `serve` takes.
        environment: variables beside those of this process.
    """

    def __init__(self, module: str, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self._what = module
        self._channel, theirs = Pipe()
        lifeline, self._lifeline = os.pipe()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 # our own interpreter and words
                [sys.executable, "-P", "-m", module, *arguments, str(theirs.fileno()), str(lifeline)],
                env={**os.environ, **(environment or {}), "PYTHONPATH": os.pathsep.join(sys.path)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), lifeline),
                process_group=0,  # Ctrl-C is for the parent
            )
        os.close(lifeline)

    def wait_until_ready(self) -> None:
        """Wait until it can take a message.

        Raises:
            DefinitionError: it does not start.
        """
        with suppress(EOFError, OSError):
            if self._channel.poll(_READY_WITHIN):
                self._channel.recv()
                return
        raise DefinitionError(
            f"The process {self._what} did not start. What it said stands above; if that does not help, "
            "install Winnow anew."
        )

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def ask(self, message: Any, seconds: float | None = None) -> Any:
        """Its reply.

        Raises:
            CrashedError: it ended instead.
            TimeoutError: there was none in so many seconds.
        """
        try:
            self._channel.send(message)
            if self._channel.poll(seconds):
                return self._channel.recv()
        except (EOFError, OSError):
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_ENDS_WITHIN)
            raise CrashedError(self._process.poll() or 0) from None
        raise TimeoutError

    def end(self) -> None:
        """End it at once, whatever it does."""
        self._process.kill()
        self._process.wait()
        self._channel.close()
        os.close(self._lifeline)


def serve(channel: int, lifeline: int, answer: Callable[[Any], Any]) -> None:
    """Answer what comes through the channel until its other end is closed."""
    _end_with_parent(lifeline)
    with Connection(channel) as parent:
        parent.send(None)  # ready: only now the time of a message begins
        while True:
            try:
                message = parent.recv()
            except EOFError:
                return
            parent.send(answer(message))


def _end_with_parent(lifeline: int) -> None:
    """Let the kernel end this process when the pipe's other end is closed, even in the midst of C code.

    PR_SET_PDEATHSIG would do so when the thread ends that started this process, and knows Linux alone.
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
