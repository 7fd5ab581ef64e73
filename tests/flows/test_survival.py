"""A job whose process is killed or asked to end, over the real command in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from prefect.settings import get_current_settings

from db import jobs, workers
from db.session import transaction
from db.workers import LEASE_SECONDS
from tasks.lease import leased
from tasks.plan_job import plan_job
from tests.factories import options
from tests.flows.conftest import MODEL, Make
from tests.openai_server import OpenAIServer

SLOTS = 4
CELLS = 40


@pytest.fixture
def winnow_run(database_url: str, tmp_path: Path) -> Iterator[Callable[[str], "subprocess.Popen[str]"]]:
    """Start `winnow run PROJECT --json`, reporting to the Prefect server of these tests."""
    started: list[subprocess.Popen[str]] = []

    def start(project: str, **more: str) -> "subprocess.Popen[str]":
        environment = os.environ | {
            "WINNOW_DATABASE_URL": database_url,
            "WINNOW_HOME": str(tmp_path / "home"),
            "PREFECT_API_URL": str(get_current_settings().api.url),
            **more,
        }
        command = [sys.executable, "-m", "flows.cli", "run", project, "--model", MODEL, "--json"]
        process = subprocess.Popen(
            [*command, "--concurrency", str(SLOTS)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for(server: OpenAIServer, requests: int) -> None:
    deadline = time.monotonic() + 60
    while server.stats().requests < requests:
        assert time.monotonic() < deadline, "the job asked nothing"
        time.sleep(0.02)


def finished(process: "subprocess.Popen[str]") -> dict[str, Any]:
    out, problems = process.communicate(timeout=120)
    assert process.returncode == 0, problems
    figures: dict[str, Any] = json.loads(out)
    return figures


def test_a_job_killed_half_way_goes_on_and_repeats_at_most_what_was_in_flight(
    project: Make, model_server: OpenAIServer, winnow_run: Any
) -> None:
    name = project("title", "buyer", documents=CELLS // 2)
    model_server.configure(latency=0.5)
    killed = winnow_run(name)
    wait_for(model_server, CELLS // 2)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    before = model_server.stats().requests

    figures = finished(winnow_run(name))

    assert figures["status"] == "completed"
    assert figures["cells"]["extracted"] == CELLS
    assert model_server.stats().requests <= CELLS + SLOTS
    after = model_server.requests()[before:]
    repeated = [line["at"] - after[0]["at"] for line in after if line["attempt"] > 1]
    assert repeated
    assert max(repeated) < LEASE_SECONDS / 3  # taken over at once: nobody waits for the dead run's lease to end
    with transaction() as connection:
        assert [job.status for job in jobs.newest(connection)] == ["completed"]  # the same job, gone on with

    asked = model_server.stats().requests
    assert finished(winnow_run(name))["cells"]["extracted"] == CELLS
    assert model_server.stats().requests == asked


def test_a_job_asked_to_end_keeps_the_calls_in_flight_and_goes_on_later(
    project: Make, model_server: OpenAIServer, winnow_run: Any
) -> None:
    name = project("title", "buyer", documents=CELLS // 2)
    model_server.configure(latency=0.3)
    ended = winnow_run(name)
    wait_for(model_server, CELLS // 2)
    ended.send_signal(signal.SIGINT)
    _, said = ended.communicate(timeout=60)
    asked = model_server.stats().requests

    assert ended.returncode == 130
    assert "run the same command to go on" in said
    assert "Traceback" not in said
    with transaction() as connection:
        (job,) = jobs.newest(connection)
    assert job.status == "paused"
    assert job.counts.extracted == asked  # what was in flight came back and was kept

    assert finished(winnow_run(name))["cells"]["extracted"] == CELLS
    assert (model_server.stats().requests, model_server.stats().duplicates) == (CELLS, 0)


def test_a_job_that_another_process_runs_is_refused(project: Make, model_server: OpenAIServer, winnow_run: Any) -> None:
    name = project("title", documents=2)
    job = plan_job(name, options(model=MODEL))

    with leased(job.id):
        refused = winnow_run(name)
        _, said = refused.communicate(timeout=60)

    assert refused.returncode == 2
    assert f"Job {job.id} is being run by another process" in said
    assert model_server.stats().requests == 0
    assert finished(winnow_run(name))["job"] == job.id


def test_a_run_asked_to_end_by_its_supervisor_keeps_the_calls_in_flight_gives_up_and_says_so(
    project: Make, model_server: OpenAIServer, winnow_run: Any
) -> None:
    name = project("title", "buyer", documents=CELLS // 2)
    model_server.configure(latency=0.5)
    ended = winnow_run(name)
    wait_for(model_server, CELLS // 2)
    ended.send_signal(signal.SIGTERM)
    out, said = ended.communicate(timeout=60)
    asked = model_server.stats().requests

    assert (ended.returncode, out) == (0, "")
    assert "What was answered is kept" in said
    with transaction() as connection:
        (job,) = jobs.newest(connection)
        assert not workers.alive(connection, job.id)
    assert (job.status, job.counts.extracted) == ("paused", asked)

    assert finished(winnow_run(name))["cells"]["extracted"] == CELLS
    assert (model_server.stats().requests, model_server.stats().duplicates) == (CELLS, 0)


def test_a_run_whose_prefect_server_is_gone_ends_its_job_all_the_same(
    project: Make, model_server: OpenAIServer, winnow_run: Any
) -> None:
    name = project("title", "buyer", documents=CELLS // 2)
    model_server.configure(latency=0.5)
    alone = winnow_run(name, PREFECT_API_URL="", PREFECT_CLIENT_MAX_RETRIES="0")  # it starts a server of its own
    wait_for(model_server, SLOTS)
    (server,) = [child for child in psutil.Process(alone.pid).children() if "temporary_server" in child.cmdline()[-1]]
    server.kill()

    figures = finished(alone)
    assert (figures["status"], figures["cells"]["extracted"]) == ("completed", CELLS)
    assert (model_server.stats().requests, model_server.stats().duplicates) == (CELLS, 0)


def test_a_cell_that_kills_its_worker_is_set_aside_and_the_others_are_answered(
    project: Make, model_server: OpenAIServer, winnow_run: Any
) -> None:
    name = project("title", "buyer", documents={"good": "A good text.", "bad": "A text with poison."})
    model_server.configure(latency=0.1)
    dying = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent / "dying"), os.getcwd()])}
    for _ in range(2):
        killed = winnow_run(name, **dying)
        killed.communicate(timeout=60)
        assert killed.returncode == -signal.SIGKILL

    survived = winnow_run(name, **dying)
    out, said = survived.communicate(timeout=120)

    assert survived.returncode == 1, said
    figures = json.loads(out)
    assert (figures["status"], figures["failures"]) == ("completed_with_errors", {"crashed": 1})
    assert figures["cells"]["extracted"] == 3
