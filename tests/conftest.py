"""What all tests stand on: a clean environment, one PostgreSQL for the run, and a database of its own for each test.

Nothing outlives the run: all temporary files lie in one folder, the server's data too, and it is removed at the end.
"""

import atexit
import contextlib
import itertools
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from hypothesis import settings as hypothesis_settings

# CI looks at the same examples in every run, so that red means a change; whoever works on the code gets new ones.
hypothesis_settings.register_profile("repeatable", derandomize=True)
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

_FOREIGN = ("WINNOW_", "OPENAI_", "PREFECT_", "LANGCHAIN_", "LANGSMITH_", "PG", "XDG_RUNTIME_DIR")

FOLDER = Path(tempfile.mkdtemp(prefix="winnow-tests-"))


@atexit.register
def _remove_folder(maker: int = os.getpid()) -> None:
    if os.getpid() == maker:  # a forked process does not clean up for its parent
        shutil.rmtree(FOLDER, ignore_errors=True)


def _clean_environment() -> None:
    for name in [name for name in os.environ if name.startswith(_FOREIGN)]:
        del os.environ[name]
    os.environ |= {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_HOME": str(FOLDER / "prefect"),  # not the profile of who runs the tests
        "PYTHON_DOTENV_DISABLED": "1",  # nor the settings and keys in a .env here
        "TMPDIR": str(FOLDER),
    }
    tempfile.tempdir = str(FOLDER)


_clean_environment()


_CACHES = {
    "winnow.settings": ["settings"],
    "db.session": ["_engine", "database_url"],
    "db.upgrade": ["ready"],
    "tasks.models": ["_asker"],
    "tasks.sources": ["_read", "_chunks", "prompt"],
}


def forget() -> None:
    """Close the pool, and empty every cache that knows the settings or the rows of a database."""
    session = sys.modules.get("db.session")
    if session and session._engine.cache_info().currsize:
        session.engine().dispose()
    for module, names in _CACHES.items():
        for name in names if module in sys.modules else ():
            getattr(sys.modules[module], name).cache_clear()


@contextlib.contextmanager
def winnow_at(url: str, home: Path) -> Iterator[None]:
    """Point Winnow of this process, and of its children, at a database and a home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WINNOW_HOME", str(home))
        patch.setenv("WINNOW_DATABASE_URL", url)
        forget()
        try:
            yield
        finally:
            forget()


class Server:
    """The run's PostgreSQL, which makes and drops databases. A copy of the template takes about 20 ms."""

    template = "winnow_template"  # with all tables, and no rows

    def __init__(self, embedded: Any) -> None:
        self._embedded = embedded
        self._connection = psycopg.connect(self.url("postgres"), autocommit=True)
        self._numbers = itertools.count(1)

    def close(self) -> None:
        self._connection.close()

    def url(self, database: str) -> str:
        return str(self._embedded.get_uri(database=database))

    def execute(self, *statements: str) -> None:
        for statement in statements:
            self._connection.execute(statement)

    @contextlib.contextmanager
    def database(self, template: str) -> Iterator[str]:
        """The URL of a new copy of a database, dropped when the block ends, whoever is still connected."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        try:
            yield self.url(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The PostgreSQL of this test run. Tests want `database` or `empty_database`."""
    from db import embedded, upgrade

    started = embedded.server(FOLDER / "server")
    made = Server(started)
    slow = ("fsync", "full_page_writes", "synchronous_commit", "autovacuum")
    try:
        made.execute(
            *(f"ALTER SYSTEM SET {name} = off" for name in slow),
            "SELECT pg_reload_conf()",
            f"CREATE DATABASE {Server.template}",
        )
        with winnow_at(made.url(Server.template), FOLDER):
            upgrade.upgrade()
        yield made
    finally:
        made.close()
        started.cleanup()
        atexit.unregister(started._cleanup)  # it would make its run-time folder again
        embedded.server.cache_clear()


@pytest.fixture
def database(server: Server, tmp_path: Path) -> Iterator[str]:
    """A database of the test's own with all tables, empty, at which Winnow points. Its value is the URL."""
    with server.database(Server.template) as url, winnow_at(url, tmp_path):
        yield url


@pytest.fixture
def database_url(database: str) -> str:
    """The URL of `database`, for `WINNOW_DATABASE_URL` of a child process."""
    return database


@pytest.fixture
def empty_database(server: Server, tmp_path: Path) -> Iterator[str]:
    """As `database`, but without tables."""
    with server.database("template1") as url, winnow_at(url, tmp_path):
        yield url


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder for an embedded server of the test's own, which does not outlive the test."""
    folder = Path(tempfile.mkdtemp(prefix="home-"))
    yield folder
    stop_servers(folder)


def stop_servers(folder: Path) -> None:
    """Stop every PostgreSQL whose data lies in a folder, if a test has left one running."""
    for noted in folder.rglob("postmaster.pid"):
        with contextlib.suppress(psutil.NoSuchProcess):
            postmaster = psutil.Process(int(noted.read_text().split()[0]))
            if "postgres" in postmaster.name():
                postmaster.send_signal(signal.SIGQUIT)
                postmaster.wait(timeout=10)
