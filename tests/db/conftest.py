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

from db.calls import Order
from db.session import transaction
from tests import factories
from tests.factories import MODEL

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    """A transaction on the test's database, committed after the test."""
    with transaction() as opened:
        yield opened


@pytest.fixture
def job(database: str) -> int:
    """The id of a committed job with one pending cell."""
    with transaction() as connection:
        project = factories.project(connection, "title")
        factories.document(connection, project.id)
        return factories.job(connection, project)


@pytest.fixture
def order(database: str) -> Order:
    """What a running job is about to ask: one document, one variable."""
    with transaction() as connection:
        project = factories.project(connection, "title")
        document = factories.document(connection, project.id)
        job = factories.job(connection, project)
        (prompt,) = factories.projects.prompts(connection, project.id)
    return Order(request_key="k", job_id=job, document_id=document, prompt_ids=(prompt.id,), model=MODEL, parameters={})


@pytest.fixture
def worker(database: str) -> int:
    """The id of a worker with a fresh lease."""
    with transaction() as connection:
        return factories.worker(connection)


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
