"""A connection for tests of one transaction, and child processes that a test cannot leave behind."""

import contextlib
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    """A transaction on the test's database, committed after the test."""
    from db.session import transaction

    with transaction() as opened:
        yield opened


class Child:
    """A Python process: it prints lines, and waits where it calls `input()`."""

    def __init__(self, command: list[str], **options: object) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(command, text=True, cwd=REPOSITORY, **pipes, **options)  # type: ignore

    def line(self) -> str:
        """The next line that it prints; what went wrong, where it ended instead."""
        printed = self.process.stdout.readline()
        if not printed:
            pytest.fail(f"the process ended without a line: {self.process.communicate()[1]}")
        return printed.rstrip("\n")

    def go_on(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> str:
        """Let it run to its end, which has to be a good one. Returns what it still prints."""
        printed, problems = self.process.communicate("\n" * 9, timeout=60)
        assert self.process.returncode == 0, problems
        return printed.strip()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def python() -> Iterator[Callable[..., Child]]:
    """Start a Python process: `python("print(1)", WINNOW_HOME="...")`. A variable that is None is taken away.

    Warnings are errors there too.
    """
    started: list[Child] = []

    def start(code: str, *, interpreter: str = sys.executable, user: str | None = None, **given: object) -> Child:
        environment = {name: str(value) for name, value in (os.environ | given).items() if value is not None}
        options = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}
        child = Child([interpreter, "-W", "error", "-c", code], env=environment, **options)
        started.append(child)
        return child

    yield start
    for child in started:
        with contextlib.suppress(ProcessLookupError):
            child.process.kill()
        child.process.communicate()
