"""Where Prefect's server is, and how quiet it is: settled before Prefect is imported, since it reads its settings then.

Whatever the environment sets of Prefect's own settings wins.
"""

import atexit
import json
import os
import subprocess
import sys
from pathlib import Path

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
    from prefect.context import refresh_global_settings_context
    from prefect.settings import get_current_settings

    if get_current_settings().api.url:
        return
    os.environ["PREFECT_API_URL"] = running_server() or _start_temporary_server()
    refresh_global_settings_context()


def _start_temporary_server() -> str:
    """Start `flows.temporary_server` and give its API address. Requests wait until it is ready."""
    for name, value in _TRIES.items():
        os.environ.setdefault(name, value)
    environment = {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": server_database_url(),
        **SERVER,
        **{f"PREFECT_SERVER_SERVICES_{service}_ENABLED": "false" for service in _NOT_NEEDED},
        "PREFECT_SERVER_EVENTS_STREAM_OUT_ENABLED": "false",
        **os.environ,
    }
    with server_log().open("ab") as log:
        process = subprocess.Popen(  # our own interpreter and words
            [sys.executable, "-m", "flows.temporary_server"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    atexit.register(_end, process)
    assert process.stdout is not None  # noqa: S101 # asked for above
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
    assert process.stdin is not None  # noqa: S101 # asked for when it was started
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
