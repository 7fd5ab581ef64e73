"""`winnow up`: the local stack. Each part is a process of its own; Ctrl-C stops all of them, the worker first."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from db.upgrade import ready
from flows.prefect_environment import QUIET, SERVER, running_server, server_database_url, server_log, state_file
from winnow.exceptions import DefinitionError
from winnow.settings import settings

POOL = "winnow"
_PORT = 4200
_HEARTBEAT = "30"  # seconds, the shortest; a run that misses four is marked as Crashed (deployments.automations)
_ROOT = Path(__file__).parent.parent  # where prefect.yaml is
_STARTS_WITHIN = 120.0  # seconds
_STOPS_WITHIN = 45.0  # a worker gives its runs 30 s to end


def start_stack(port: int | None) -> int:
    """Run the stack until Ctrl-C or SIGTERM, or until a part of it dies. Returns the exit status.

    Raises:
        DefinitionError: another stack runs for this home, the port is taken, or a part does not start.
    """
    if not (_ROOT / "prefect.yaml").exists():
        raise DefinitionError(f"There is no prefect.yaml in {_ROOT}. Run `winnow up` from a checkout of Winnow.")
    running = running_server()
    if running:
        raise DefinitionError(f"A stack runs already for this home: {running}. Stop it, or set another WINNOW_HOME.")
    for ending in (signal.SIGINT, signal.SIGTERM):  # a background job of a shell would ignore the first
        signal.signal(ending, _interrupt)
    print("Starting the database", flush=True)
    ready()
    chosen = _free_port(port)
    api = f"http://127.0.0.1:{chosen}/api"
    environment = _environment(api, server_database_url())
    with contextlib.ExitStack() as stack:
        try:
            parts = _start(stack, chosen, api, environment)
            print(_WELCOME.format(ui=f"http://127.0.0.1:{chosen}", api=api), flush=True)
            return _watch(parts)
        except KeyboardInterrupt:
            print("Stopping", flush=True)
            return 0


_WELCOME = """
Winnow is up. Ctrl-C stops it.

  Prefect UI    {ui}
  In another terminal:
    export PREFECT_API_URL={api}
    prefect deployment run 'extract-variables/extract-variables' --param project=NAME --watch
  `winnow run`, `winnow ingest` and the others report to it by themselves.
"""


def _start(
    stack: contextlib.ExitStack, port: int, api: str, environment: Mapping[str, str]
) -> dict[str, subprocess.Popen[bytes]]:
    print("Starting the Prefect server", flush=True)
    server = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]
    log = stack.enter_context(server_log().open("ab"))
    parts = {"the Prefect server": stack.enter_context(_part(server, environment, log))}
    _wait_for(f"{api}/health", parts["the Prefect server"])
    stack.enter_context(_noted(api))
    print("Creating the work pool and the deployments", flush=True)
    _prefect(["work-pool", "create", POOL, "--type", "process", "--overwrite"], environment)
    _prefect(["--no-prompt", "deploy", "--all"], environment)
    _run(["deployments.automations"], environment)
    print("Starting the worker", flush=True)
    worker = ["worker", "start", "--pool", POOL, "--name", f"winnow-{os.getpid()}"]
    parts["the worker"] = stack.enter_context(_part(worker, environment))
    return parts


def _environment(api: str, database: str) -> dict[str, str]:
    """What the stack's processes see: one home, one server, and a UI that looks for the server where it is."""
    return {
        **QUIET,
        **SERVER,
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        "PREFECT_LOGGING_LEVEL": "INFO",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": _HEARTBEAT,
        "PREFECT_WORKER_QUERY_SECONDS": "2",  # a person who presses Run or Resume waits for it; the default is 10
        **os.environ,
        "WINNOW_HOME": str(settings().home),
        "PREFECT_HOME": os.environ.get("PREFECT_HOME", str(settings().home / "prefect")),
        "PREFECT_API_URL": api,
        "PREFECT_SERVER_UI_API_URL": api,
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    }


def _command(arguments: list[str]) -> list[str]:
    return [sys.executable, "-m", *arguments]


@contextlib.contextmanager
def _part(
    arguments: list[str], environment: Mapping[str, str], log: IO[bytes] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A long-running process in a group of its own, so that Ctrl-C reaches it only through us, in order."""
    process = subprocess.Popen(  # noqa: S603 # our own interpreter and words
        _command(["prefect", *arguments]),
        env=environment,
        cwd=_ROOT,
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOPS_WITHIN)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _prefect(arguments: list[str], environment: Mapping[str, str]) -> None:
    _run(["prefect", *arguments], environment)


def _run(arguments: list[str], environment: Mapping[str, str]) -> None:
    done = subprocess.run(  # noqa: S603 # our own interpreter and words
        _command(arguments), env=environment, cwd=_ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-1000:]
        raise DefinitionError(f"`{' '.join(arguments)}` failed: {said}")


def _wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _STARTS_WITHIN
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(address, timeout=2) as reply:  # noqa: S310 # our own server
                if reply.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    raise DefinitionError(f"The Prefect server did not start; its log is {server_log()}.")


def _watch(parts: Mapping[str, subprocess.Popen[bytes]]) -> int:
    while True:
        for name, process in parts.items():
            if process.poll() is not None:
                print(f"winnow: {name} ended with status {process.returncode}; stopping the rest", file=sys.stderr)
                return 1
        time.sleep(0.5)


@contextlib.contextmanager
def _noted(api: str) -> Iterator[None]:
    """Let other commands of this home find the server."""
    state_file().write_text(json.dumps({"api": api, "pid": os.getpid()}))
    try:
        yield
    finally:
        state_file().unlink(missing_ok=True)


def _free_port(wanted: int | None) -> int:
    """The port asked for, or Prefect's usual one where it is free, or any free one."""
    for port in (_PORT, 0) if wanted is None else (wanted,):
        with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
            except OSError:
                continue
    raise DefinitionError(f"Port {wanted} is taken. Name another with --port, or leave it out.")


def _interrupt(signum: int, frame: object) -> None:  # noqa: ARG001 # a signal handler's signature
    raise KeyboardInterrupt
