"""Where Prefect's server is, and how quiet it is: settled before Prefect is imported, since it reads its settings then.

Whatever the environment sets of Prefect's own settings wins.
"""

import atexit
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO

from db import embedded
from winnow.exceptions import DefinitionError
from winnow.settings import settings

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    # A line per cell is no use to anyone; what failed stands in the cell's task run and in the report.
    "PREFECT_LOGGING_LOGGERS_PREFECT_TASK_RUNS_LEVEL": "ERROR",
    # What a server that is away was not told waits in memory, 13 kB each: without an end unless told otherwise.
    "PREFECT_EVENTS_WORKER_MAX_QUEUE_SIZE": "10000",
}

# A server writes task runs one by one unless told otherwise: half of its work in a large run.
SERVER = {
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "500",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "500",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
}

# What a server has no use for that lives as long as one command.
_NOT_NEEDED = ("TRIGGERS", "EVENT_PERSISTER", "SCHEDULER", "LATE_RUNS", "FOREMAN")


# Its own server is here or gone: the client's tries, over a minute for each request, would only hold up the end.
_TRIES = {"PREFECT_CLIENT_MAX_RETRIES": "2"}


def use_prefect() -> None:
    """Settle where flows of this process report to, and start it where need be.

    That is the server that Prefect's own settings name (the environment, or the active profile), or the server of
    `winnow up`, or else a temporary one, which gets ready while this process goes on and ends with it.
    """
    for name, value in {**QUIET, "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}.items():
        os.environ.setdefault(name, value)
    running = running_server()
    # It takes some seconds to get ready: it begins before it is known that it is needed.
    temporary = None if running or os.environ.get("PREFECT_API_URL") else _temporary_server()
    from prefect.context import refresh_global_settings_context
    from prefect.settings import get_current_settings

    if get_current_settings().api.url:
        if temporary:
            temporary.kill()  # it has touched nothing yet
        return
    os.environ["PREFECT_API_URL"] = running or _address(temporary or _temporary_server())
    refresh_global_settings_context()


def _temporary_server() -> subprocess.Popen[bytes]:
    """Start `flows.temporary_server`, which waits for its database."""
    environment = {
        **SERVER,
        **{f"PREFECT_SERVER_SERVICES_{service}_ENABLED": "false" for service in _NOT_NEEDED},
        "PREFECT_SERVER_EVENTS_STREAM_OUT_ENABLED": "false",
        # Winnow uses no blocks. Memoised, the next server of this database would leave them out as well.
        "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
        "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
        **os.environ,
    }
    with _opened_log() as log:
        process = subprocess.Popen(  # our own interpreter and words
            [sys.executable, "-m", "flows.temporary_server"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    atexit.register(_end, process)
    return process


def _opened_log() -> IO[bytes]:
    try:
        settings().home.mkdir(parents=True, exist_ok=True)
        return server_log().open("ab")
    except OSError as error:
        raise DefinitionError(
            f"{settings().home} cannot be written to: {error}. Set WINNOW_HOME to another folder."
        ) from None


def _address(process: subprocess.Popen[bytes]) -> str:
    """Give a temporary server its database. Returns its API address; requests wait until it is ready."""
    for name, value in _TRIES.items():
        os.environ.setdefault(name, value)
    database = os.environ.get("PREFECT_SERVER_DATABASE_CONNECTION_URL") or server_database_url()
    assert process.stdin and process.stdout  # noqa: S101, PT018 # asked for when it was started
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(f"{database}\n".encode())
        process.stdin.flush()
    port = process.stdout.readline().decode().strip()
    if not port:
        raise DefinitionError(
            f"Prefect's server did not start; its log is {server_log()}. "
            "Set PREFECT_API_URL to use a server of your own."
        )
    return f"http://127.0.0.1:{port}/api"


def end_without_server(status: object) -> None:
    """End this process now where its Prefect server is gone: Prefect would try for minutes to tell it the rest."""
    from tasks.showing import reachable

    if isinstance(status, int | None) and not reachable():
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status or 0)


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin  # noqa: S101 # asked for when it was started
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()


def server_database_url() -> str:
    """A database of the Prefect server's own, on the embedded PostgreSQL: SQLite would lock under many task runs."""
    return embedded.database_url(settings().home, "prefect").replace("postgresql://", "postgresql+asyncpg://", 1)


def state_file() -> Path:
    """Where `winnow up` notes its server."""
    return settings().home / "up.json"


def server_log() -> Path:
    """Where a Prefect server that Winnow starts writes what it has to say."""
    return settings().home / "prefect-server.log"


def running_server() -> str | None:
    """The API address of the server that `winnow up` runs for this home; None where none runs."""
    try:
        noted = json.loads(state_file().read_text())
        os.kill(noted["pid"], 0)
    except (OSError, ValueError, KeyError):
        return None
    return str(noted["api"])
