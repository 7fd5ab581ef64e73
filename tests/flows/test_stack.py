"""`winnow up` as its user runs it: database, Prefect server, worker and deployments, each a real process."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.flows.conftest import MODEL
from tests.openai_server import OpenAIServer

CODEBOOK = """
project: letters
variables:
  - {name: sender, type: text, instructions: Who wrote the letter.}
  - {name: place, type: text, instructions: Where it was written.}
"""
LETTERS = 20
CELLS = 2 * LETTERS
SLOTS = 4
SUSPENDED = {
    "type": "PAUSED",
    "name": "Suspended",
    "state_details": {
        "pause_timeout": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
        "pause_reschedule": True,
        "deferred": False,
        "untrackable_result": False,
    },
}
"""What the UI's Pause puts a flow run into."""


class Stack:
    """A running stack, and the commands of another terminal."""

    def __init__(self, home: Path, model_server: OpenAIServer) -> None:
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
            "WINNOW_HOME": str(home),
            "WINNOW_MODEL": MODEL,
            "WINNOW_CONCURRENCY": str(SLOTS),
            "OPENAI_BASE_URL": model_server.url,
            "OPENAI_API_KEY": "canary-key-of-the-tests",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        }
        self.home = home
        self.log = home / "up.log"
        with self.log.open("wb") as log:
            command = [sys.executable, "-m", "flows.cli", "up", "--port", "0"]
            self.process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)
        self._wait_until_up()

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + 120
        while "Winnow is up" not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.2)
        self._environment["PREFECT_API_URL"] = json.loads((self.home / "up.json").read_text())["api"]

    def __call__(self, *command: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *command],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout + self.log.read_text()
        return done.stdout

    def set_state(self, flow_run: str, state: dict[str, Any]) -> None:
        """Put a flow run into a state, as the UI does."""
        url = f"{self._environment['PREFECT_API_URL']}/flow_runs/{flow_run}/set_state"
        said = httpx.post(url, json={"state": state, "force": True}).raise_for_status().json()
        assert said["status"] == "ACCEPT", said

    def state(self, flow_run: str) -> Any:
        """The state that the UI shows."""
        url = f"{self._environment['PREFECT_API_URL']}/flow_runs/{flow_run}"
        return httpx.get(url).raise_for_status().json()["state"]

    def resume(self, flow_run: str) -> None:
        """Resume a suspended flow run."""
        url = f"{self._environment['PREFECT_API_URL']}/flow_runs/{flow_run}/resume"
        said = httpx.post(url, json={}).raise_for_status().json()
        assert said["status"] == "ACCEPT", said

    def job(self) -> Any:
        return json.loads(self("flows.cli", "jobs", "--json"))["jobs"][0]


@pytest.fixture
def stack(home: Path, model_server: OpenAIServer) -> Iterator[Stack]:
    started = Stack(home, model_server)
    yield started
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in [*psutil.Process(started.process.pid).children(recursive=True), started.process]:
            process.kill()
    started.process.wait()


@pytest.mark.timeout(420)
def test_deployments_run_on_it_and_are_paused_resumed_and_cancelled_and_ctrl_c_stops_everything(
    stack: Stack, model_server: OpenAIServer, corpus: Callable[..., Path], tmp_path: Path
) -> None:
    folder = corpus(**{f"letter{number:02}": f"Sender: person {number}." for number in range(LETTERS)})
    (tmp_path / "letters.yaml").write_text(CODEBOOK)
    stack("flows.cli", "apply", str(tmp_path / "letters.yaml"))
    paths = f"paths={json.dumps([str(folder)])}"
    ingest = ("--param", "project=letters", "--param", paths, "--watch")
    stack("prefect", "deployment", "run", "ingest-documents/ingest-documents", *ingest)
    model_server.configure(latency=4.0)  # so that commands can be given while it runs, on a slow machine too

    extract = ("deployment", "run", "extract-variables/extract-variables", "--param", "project=letters")
    stack("prefect", *extract)
    _wait_for(lambda: model_server.stats().requests > SLOTS)  # task runs have ended, and others are in flight
    (flow_run,) = [row for row in json.loads(stack("prefect", "flow-run", "ls", "-o", "json")) if _runs(row)]
    stack.set_state(flow_run["id"], SUSPENDED)
    paused_at = time.time()
    _wait_for(lambda: stack.job()["status"] == "paused")
    assert stack.job()["reason"] == "paused in Prefect by a person"
    assert last_request(model_server) - paused_at < 2
    _wait_for_all_replies(stack, model_server)
    before = model_server.stats().requests
    _wait_for(lambda: stack.state(flow_run["id"])["state_details"]["pause_timeout"] is None)
    assert stack.state(flow_run["id"])["name"] == "Suspended"

    stack.resume(flow_run["id"])
    _wait_for(lambda: model_server.stats().requests >= before + SLOTS)
    stack("prefect", "flow-run", "cancel", flow_run["id"])
    cancelled_at = time.time()
    _wait_for(lambda: stack.job()["status"] == "cancelled")
    time.sleep(5)

    stats = model_server.stats()
    assert last_request(model_server) - cancelled_at < 2
    assert stats.requests < CELLS
    _wait_for_all_replies(stack, model_server)  # what was in flight was kept too

    model_server.configure(latency=0.1)
    stack("prefect", *extract, "--watch")
    assert stack.job()["status"] == "completed"
    assert (model_server.stats().requests, model_server.stats().duplicates) == (CELLS, 0)

    _check_that_runs_share_a_job(stack, model_server, extract)
    out = tmp_path / "letters.xlsx"
    export = ("--param", "project=letters", "--param", f"output={out}", "--param", "format=xlsx", "--watch")
    stack("prefect", "deployment", "run", "export-dataset/export-dataset", *export)
    assert out.stat().st_size > 5000

    parts = psutil.Process(stack.process.pid).children(recursive=True)
    stack.process.send_signal(signal.SIGINT)
    assert stack.process.wait(timeout=60) == 0
    gone, alive = psutil.wait_procs(parts, timeout=5)
    assert not alive
    assert len(gone) >= 2
    assert not (stack.home / "up.json").exists()


def _check_that_runs_share_a_job(stack: Stack, model_server: OpenAIServer, extract: tuple[str, ...]) -> None:
    model_server.configure(latency=1.0)
    shared = ("--param", "model=openai:another", "--job-variable", 'env={"WINNOW_CELLS_PER_RUN": "10"}')
    stack("prefect", *extract, *shared, "--watch")
    assert stack.job()["status"] == "completed"
    assert (model_server.stats().requests, model_server.stats().duplicates) == (2 * CELLS, 0)
    runs = [row["name"] for row in json.loads(stack("prefect", "flow-run", "ls", "-o", "json"))]
    assert len([name for name in runs if name == f"extract-letters (joins job {stack.job()['job']})"]) == 3


def last_request(server: OpenAIServer) -> float:
    """When the model server was asked last, as `time.time()`."""
    asked = server.stats().last_request_wall
    assert asked is not None
    return asked


def _runs(flow_run: dict[str, Any]) -> bool:
    return flow_run.get("state_type", flow_run.get("state", {}).get("type")) == "RUNNING"


def _wait_for_all_replies(stack: Stack, model_server: OpenAIServer) -> None:
    deadline = time.monotonic() + 60
    while (stored := stack.job()["cells"]["extracted"]) != (asked := model_server.stats().requests):
        assert time.monotonic() < deadline, f"{stored} of {asked} replies are stored; {stack.log.read_text()[-3000:]}"
        time.sleep(0.2)


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)
