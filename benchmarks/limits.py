"""Several workers that share a provider's limit: how much of it they use, and how often they are told off.

`python -m benchmarks.limits` runs a job in each of several processes, of projects of their own but with one key,
against the test server with a limit of requests. It prints a line for docs/benchmarks.md.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, cast

from benchmarks.command import ROOT, head, line
from tests.openai_server import OpenAIServer

VARIABLES = 20
COLUMNS = (
    "workers", "limit a minute", "seconds", "requests", "of the limit", "answered 429", "repeated",
    "answered per worker",
)  # fmt: skip


def main() -> None:
    """Measure once, or be one of the workers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--limit", type=int, default=600, help="requests a minute")
    parser.add_argument("--slots", type=int, default=16, help="calls in flight, of each worker")
    parser.add_argument("--seconds", type=int, default=60, help="for which there is work at that limit")
    parser.add_argument("--latency", type=float, default=0.3)
    parser.add_argument("--worker", type=int, nargs=2, metavar=("FIRST", "DOCUMENTS"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        _work(*asked.worker, asked.slots)
    else:
        _measure(asked)


def _measure(asked: argparse.Namespace) -> None:
    documents = max(1, asked.limit * asked.seconds // 60 // asked.workers // VARIABLES)
    with (
        tempfile.TemporaryDirectory(prefix="winnow-bench-", ignore_cleanup_errors=True) as home,
        OpenAIServer(latency=asked.latency, requests_per_minute=asked.limit) as server,
    ):
        os.environ |= {
            "OPENAI_API_KEY": "bench", "OPENAI_BASE_URL": server.url, "WINNOW_HOME": str(Path(home) / "home"),
            "WINNOW_REQUESTS_PER_MINUTE": str(asked.limit),
        }  # fmt: skip
        answered = _run(asked, documents)
        stats = server.stats()
    took = cast(float, stats.last_request_at) - cast(float, stats.first_request_at)
    refused = stats.by_status.get(429, 0)
    print(head(COLUMNS))
    print(
        line(
            (
                f"{asked.workers}", f"{asked.limit:,}", f"{took:.1f}", f"{stats.requests:,}",
                f"{stats.answered / took * 60 / asked.limit:.1%}", f"{refused} ({refused / stats.requests:.1%})",
                f"{stats.duplicates}", ", ".join(map(str, answered)),
            )
        )
    )  # fmt: skip


def _run(asked: argparse.Namespace, documents: int) -> list[int]:
    """Let the workers begin together. The calls of each."""
    from db.upgrade import ready
    from flows.prefect_environment import use_prefect

    ready()  # database and Prefect's server are started here, for all
    use_prefect()
    workers: list[subprocess.Popen[str]] = []
    for number in range(asked.workers):
        given = ["--slots", asked.slots, "--worker", number * documents, documents]
        command = [sys.executable, "-m", "benchmarks.limits", *map(str, given)]
        workers.append(subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
    for worker in workers:
        _heard(worker)
    for worker in workers:
        worker.stdin.write("go\n")  # type: ignore[union-attr]
        worker.stdin.flush()  # type: ignore[union-attr]
    answered = [int(_heard(worker)) for worker in workers]
    for worker in workers:
        worker.communicate(timeout=120)
    return answered


def _heard(worker: Any) -> str:
    said = worker.stdout.readline()
    if not said:
        raise RuntimeError(f"a worker ended with {worker.wait()}")
    return str(said).strip()


def _work(first: int, documents: int, slots: int) -> None:
    from benchmarks.sides import MODEL, prepared
    from flows.prefect_environment import use_prefect

    name = prepared(range(first, first + documents), VARIABLES)
    use_prefect()
    from flows.extract_variables import extract_variables

    print("ready", flush=True)
    input()
    print(extract_variables(name, model=MODEL, concurrency=slots)["calls"], flush=True)


if __name__ == "__main__":
    main()
