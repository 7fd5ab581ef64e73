"""Workers of one work pool that share a job, against one worker alone; and what the death of one of them costs.

`python -m benchmarks.sharing` starts a Prefect server and several workers, each of which takes one run at a time, runs
the deployment `extract-variables` over the same number of cells, and prints lines for docs/benchmarks.md. Each line has
a database of its own, so that nothing was answered before.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast

from benchmarks.command import ROOT, head, line
from tests.openai_server import OpenAIServer

VARIABLES = 20
COLUMNS = (
    "workers", "killed", "cells", "seconds", "wall / ideal of one", "requests", "repeated", "answered per worker",
    "job",
)  # fmt: skip


def main() -> None:
    """Measure one worker, all of them, and all of them with one killed half way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--cells", type=int, default=3000)
    parser.add_argument("--slots", type=int, default=5, help="calls in flight, of each run")
    parser.add_argument("--latency", type=float, default=0.3)
    parser.add_argument("--prepare", type=int, metavar="DOCUMENTS", help=argparse.SUPPRESS)
    parser.add_argument("--row", type=int, nargs=2, metavar=("WORKERS", "KILLED"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.prepare:
        _prepare(asked.prepare)
    elif asked.row:
        print(line(_measured(asked, *asked.row)), flush=True)
    else:
        print(head(COLUMNS), flush=True)
        for workers, killed in ((1, 0), (asked.workers, 0), (asked.workers, 1)):
            row = ["--row", str(workers), str(killed)]  # a process of its own, as settings are read once
            subprocess.run([sys.executable, "-m", "benchmarks.sharing", *sys.argv[1:], *row], cwd=ROOT, check=True)


def _measured(asked: argparse.Namespace, workers: int, kill: int) -> tuple[str, ...]:
    with (
        tempfile.TemporaryDirectory(prefix="winnow-bench-", ignore_cleanup_errors=True) as folder,
        OpenAIServer(latency=asked.latency) as server,
        _stack(Path(folder), server.url, workers, asked) as run,
    ):
        project = run("benchmarks.sharing", "--prepare", asked.cells // VARIABLES).strip().splitlines()[-1]
        given = ("--param", f"project={project}", "--param", f"concurrency={asked.slots}")
        run("prefect", "deployment", "run", "extract-variables/extract-variables", *given)
        _wait_for(lambda: server.stats().requests >= asked.cells // 2)
        if kill:
            os.kill(_newest_worker(run), signal.SIGKILL)
        unfinished = "SELECT 1 FROM job WHERE status IN ('pending', 'running')"
        _wait_for(lambda: not _query(run, unfinished), seconds=600)
        job, stats, per_worker = _job(run), server.stats(), _per_worker(run)
    took = cast(float, stats.last_reply_at) - cast(float, stats.first_request_at)
    return (
        f"{workers}", f"{kill}", f"{job['cells']['extracted']:,} of {asked.cells:,}", f"{took:.1f}",
        f"{took / (asked.cells * asked.latency / asked.slots):.2f}", f"{stats.requests:,}", f"{stats.duplicates}",
        ", ".join(map(str, per_worker)), job["status"],
    )  # fmt: skip


def _prepare(documents: int) -> None:
    from benchmarks.sides import prepared

    print(prepared(range(documents), VARIABLES))


def _job(run: Callable[..., str]) -> Any:
    return json.loads(run("flows.cli", "jobs", "--json"))["jobs"][0]


def _newest_worker(run: Callable[..., str]) -> int:
    """The process id of the run that came last: the one that planned the job is not killed here."""
    return int(_query(run, "SELECT name FROM worker ORDER BY id DESC LIMIT 1")[0][0].rpartition(":")[2])


def _per_worker(run: Callable[..., str]) -> list[int]:
    return [row[1] for row in _query(run, "SELECT worker_id, count(*) FROM call GROUP BY 1 ORDER BY 1")]


def _query(run: Callable[..., str], query: str) -> list[tuple[Any, ...]]:
    import psycopg

    with psycopg.connect(_address(run)) as connection:
        return connection.execute(query.encode()).fetchall()


@cache
def _address(run: Callable[..., str]) -> str:
    return run("flows.cli", "db", "url").strip()


def _wait_for(condition: Callable[[], bool], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("it takes too long")
        time.sleep(0.5)


@contextlib.contextmanager
def _stack(folder: Path, url: str, workers: int, asked: argparse.Namespace) -> Iterator[Callable[..., str]]:
    """A Prefect server with its work pool, deployments and workers. Yields how to run a module beside them."""
    os.environ["WINNOW_HOME"] = str(folder / "home")
    from db.upgrade import ready
    from flows.prefect_environment import server_database_url
    from flows.start_stack import _environment, _free_port, _part, _wait_for

    ready()
    port = _free_port(0)
    api = f"http://127.0.0.1:{port}/api"
    environment = _environment(api, server_database_url()) | {
        "OPENAI_API_KEY": "sk-benchmark", "OPENAI_BASE_URL": url, "WINNOW_MODEL": "openai:bench",
        "WINNOW_CELLS_PER_RUN": str(-(-asked.cells // workers)), "WINNOW_HOME": str(folder / "home"),
    }  # fmt: skip

    def run(module: str, *arguments: object) -> str:
        command = [sys.executable, "-m", module, *map(str, arguments)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout

    with contextlib.ExitStack() as stack:
        log = stack.enter_context((folder / "log").open("ab"))
        server = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]
        _wait_for(f"{api}/health", stack.enter_context(_part(server, environment, log)))
        run("prefect", "work-pool", "create", "winnow", "--type", "process")
        run("prefect", "--no-prompt", "deploy", "--all")
        for number in range(workers):
            worker = ["worker", "start", "--pool", "winnow", "--name", f"worker {number + 1}", "--limit", "1"]
            stack.enter_context(_part(worker, environment, log))
        yield run


if __name__ == "__main__":
    main()
