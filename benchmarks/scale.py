"""`python -m benchmarks.scale`: what plans, figures, exports and resumed jobs take where cells are many.

Each step runs in a process of its own against one embedded database, whose rows `benchmarks.large_project` has made. It
prints a table for docs/benchmarks.md: the seconds of the step itself, and the most memory that its process held.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.command import ROOT, head, line
from tests.openai_server import OpenAIServer

VARIABLES = 20
LARGE, HALF, SMALL, LISTED = "large", "half", "small", "listed"
PER_DOCUMENT = 100
"""Entities in each document of the project whose rows they are."""
COLUMNS = ("step", "cells", "seconds", "client CPU", "peak memory")


def main() -> None:
    """Measure all steps, or be one of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=10_000, help="of the large project; the resumed one has half")
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.step:
        print(json.dumps(_step(*asked.step)))
        return
    with (
        tempfile.TemporaryDirectory(prefix="winnow-bench-", ignore_cleanup_errors=True) as home,
        OpenAIServer() as server,
    ):
        os.environ |= {
            "OPENAI_API_KEY": "bench", "OPENAI_BASE_URL": server.url, "WINNOW_HOME": str(Path(home) / "home"),
            "WINNOW_MODEL": "openai:test-model",
        }  # fmt: skip
        print(head(COLUMNS))
        _measure(asked.documents, Path(home), server)


def _measure(documents: int, home: Path, server: OpenAIServer) -> None:
    from benchmarks import large_project

    def tell(step: str, cells: int, took: dict[str, float]) -> None:
        figures = (f"{took['seconds']:.2f}", f"{took['cpu']:.2f} s", f"{took['peak_mb']:.0f} MB")
        print(line((step, f"{cells:,}", *figures)), flush=True)

    cells = documents * VARIABLES
    large_project.make(LARGE, documents, VARIABLES)
    tell("plan", cells, planned := _measured("plan", LARGE))
    job = int(planned["job"])
    tell("the same plan again", cells, _measured("plan", LARGE))
    large_project.apply(LARGE, VARIABLES, first="Another")
    tell("plan after a variable was edited", cells, _measured("plan", LARGE))
    large_project.answer(job, cells)
    tell("counts", cells, _measured("counts", job))
    tell("figures (`winnow job`)", cells, _measured("figures", job))
    large_project.end(job)
    tell("report of the flow", cells, _measured("report", job))
    tell("plan of a job that is all answered", cells, _measured("plan", LARGE))
    tell("`winnow job ID --json`", cells, _command("job", job, "--json"))
    tell("`winnow jobs --json`", 2 * cells, _command("jobs", "--json"))
    tell("`winnow export`, wide CSV", cells, _command("export", LARGE, "-o", home / "wide.csv"))
    tell("`winnow export --shape long`", cells, _command("export", LARGE, "--shape", "long", "-o", home / "long.csv"))
    for name, some in ((SMALL, 1), (HALF, documents // 2)):
        large_project.make(name, some, VARIABLES)
        job = int(_measured("plan", name)["job"])
        large_project.answer(job, some * VARIABLES * 6 // 10)
        large_project.pause(job)
        took = _until_request(name, server, home)
        tell(f"`winnow run` until its first request, {took['planned']:.2f} s of it the plan", some * VARIABLES, took)
    large_project.make_entities(LISTED, documents // 10, PER_DOCUMENT)
    tell("plan where rows are entities", 0, planned := _measured("plan", LISTED))
    large_project.list_entities(int(planned["job"]))
    for step in ("the entities' cells after their lists", "the same plan again"):
        tell(step, documents // 10 * PER_DOCUMENT * 2, _measured("plan", LISTED))


def _step(name: str, of: str) -> dict[str, float]:
    """What a step takes in this process, less what importing takes."""
    from db.upgrade import ready

    ready()
    work = _STEPS[name]
    prepared = work(of)
    cpu, clock = time.process_time(), time.monotonic()
    found = prepared()
    took = time.monotonic() - clock if found is None or name == "plan" else found
    return {"seconds": took, "cpu": time.process_time() - cpu, "job": found if name == "plan" else 0}


def _plan(project: str) -> Callable[[], Any]:
    from flows.extract_variables import job_options
    from tasks.plan_job import plan_job

    options = job_options()
    return lambda: plan_job(project, options).id


def _counts(job: str) -> Callable[[], Any]:
    from db import jobs
    from db.session import transaction

    def counts() -> float:
        times = []
        for _ in range(21):
            clock = time.monotonic()
            with transaction() as connection:
                jobs.counts(connection, int(job))
            times.append(time.monotonic() - clock)
        return statistics.median(times)

    return counts


def _figures(job: str) -> Callable[[], Any]:
    from tasks.job_figures import job_figures

    return lambda: job_figures(int(job)) and None


def _report(job: str) -> Callable[[], Any]:
    from tasks import job_artifacts

    for name in ("create_table_artifact", "create_markdown_artifact"):
        setattr(job_artifacts, name, lambda **_: None)  # what Prefect takes is measured elsewhere
    return lambda: job_artifacts.report(int(job)) and None


_STEPS: dict[str, Callable[[str], Callable[[], Any]]] = {
    "plan": _plan, "counts": _counts, "figures": _figures, "report": _report,
}  # fmt: skip


def _measured(step: str, of: object) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.scale", "--step", step, str(of)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    said = process.stdout.read()  # type: ignore[union-attr]
    used = _ended(process)
    return {"peak_mb": used["peak_mb"], **json.loads(said)}


def _winnow(*arguments: object, log: Path | None = None) -> "subprocess.Popen[str]":
    program = "import sys; from flows.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, *map(str, arguments)]
    with (log or Path(os.devnull)).open("w") as said:
        environment = os.environ | ({"WINNOW_LOG": "json"} if log else {})
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=said, text=True
        )  # fmt: skip


def _command(*arguments: object) -> dict[str, float]:
    """What a command takes from its start to its end."""
    clock = time.monotonic()
    used = _ended(_winnow(*arguments))
    return used | {"seconds": time.monotonic() - clock}


def _until_request(project: str, server: OpenAIServer, home: Path) -> dict[str, float]:
    """What `winnow run` takes from its start until the model's server sees a request, and how much of it the plan."""
    server.reset()
    clock, log = time.monotonic(), home / "run.log"
    process = _winnow("run", project, log=log)
    while (first := server.stats().first_request_at) is None and process.poll() is None:
        time.sleep(0.02)
    if first is None:
        raise RuntimeError(f"winnow run ended with {process.returncode} and without a request: {log.read_text()}")
    process.send_signal(signal.SIGINT)
    used = _ended(process, interrupted=True)
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    planned = next(line["seconds"] for line in lines if line["event"] == "job planned")
    return used | {"seconds": first - clock, "planned": planned}


def _ended(process: "subprocess.Popen[str]", *, interrupted: bool = False) -> dict[str, float]:
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode and not interrupted:
        raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
    return {"cpu": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / 1024}


if __name__ == "__main__":
    main()
