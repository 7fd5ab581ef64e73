"""The limits and the breaker of a provider key, as jobs of several processes meet them, against a real server."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from db import providers
from db.session import at_once, engine, transaction
from tasks.gates import Gate
from tasks.job_context import JobContext
from tasks.limits import Limiter, provider_key
from tests.conftest import forget
from tests.factories import MODEL
from tests.openai_server import OpenAIServer
from tests.tasks.jobs_here import context, project, rows, run
from tests.tasks.test_ledger import TEXT, ledger, request
from winnow.exceptions import JobStoppedError, ProviderDownError, RateLimitedError

ROOT = Path(__file__).parents[2]
RUN = """
import sys
from db import providers
from tests.tasks.jobs_here import run
providers.OPEN_SECONDS = float(sys.argv[3])
print("here", flush=True)
input()
job = run(sys.argv[1], slots=int(sys.argv[2]))
assert job.status == "completed", job
"""


@pytest.fixture
def key(database: str, model_server: OpenAIServer) -> str:
    """The key of the model server, with its row."""
    made = provider_key(MODEL)
    assert made
    with transaction() as connection:
        providers.register(connection, made)
    return made


def cells(many: int, name: str = "Grants") -> None:
    """A project of one document with so many cells, which are asked at once when the first is answered."""
    project(*[f"clause_{number}" for number in range(many)], name=name, texts={"a.txt": f"{TEXT} For {name}."})


class Workers:
    """Processes that run a job each, of a project of its own, all with the same key."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *names: str, slots: int = 8, open_seconds: float = 30.0) -> None:
        """Have processes ready for the jobs of these projects."""
        command = [sys.executable, "-W", "error", "-c", RUN]
        for name in names:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            options: dict[str, Any] = {"text": True, "cwd": ROOT, "env": dict(os.environ), **pipes}
            self.started.append(subprocess.Popen([*command, name, str(slots), str(open_seconds)], **options))
        for process in self.started:
            assert process.stdout
            assert process.stdout.readline() == "here\n", process.communicate()

    def run(self) -> None:
        """Let all begin at the same time, and wait until they have ended well."""
        for process in self.started:
            process.stdin.write("\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
        for process in self.started:
            _, problems = process.communicate(timeout=60)
            assert process.returncode == 0, problems


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers()
    yield made
    for process in made.started:
        process.kill()
        process.communicate()


# The key


@pytest.mark.parametrize("model", ["baseline", "gguf:model.gguf"])
def test_a_model_of_this_machine_has_no_provider(model: str) -> None:
    assert provider_key(model) is None


def test_who_uses_the_same_key_at_the_same_address_shares_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary-1")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://one/v1")
    mine = provider_key("openai:a")

    assert mine == provider_key("openai:b")
    assert mine != provider_key("anthropic:a")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://one/v1/")
    assert mine == provider_key("openai:a")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://two/v1")
    assert mine != provider_key("openai:a")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://one/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "canary-2")
    assert mine != provider_key("openai:a")


def test_nothing_secret_is_stored(key: str, model_server: OpenAIServer) -> None:
    cells(1)
    run()

    (row,) = rows("SELECT provider::text FROM provider")
    assert key in row[0]
    assert "canary" not in row[0]
    assert "127.0.0.1" not in row[0]


# Limits


def test_threads_of_several_processes_stay_within_the_providers_limit(
    key: str, model_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch, workers: Workers
) -> None:
    monkeypatch.setenv("WINNOW_REQUESTS_PER_MINUTE", "1200")
    model_server.configure(requests_per_minute=1200, latency=0.3)
    cells(40, "one")
    cells(40, "two")
    workers.start("one", "two", slots=10)
    workers.run()

    stats = model_server.stats()
    assert stats.by_status == {200: 80}
    assert stats.first_request_at
    assert stats.last_request_at
    assert stats.last_request_at - stats.first_request_at < 80 / 20 / 0.8
    assert stats.max_in_flight > 4


def test_tokens_are_limited_as_requests_are(
    key: str, model_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINNOW_TOKENS_PER_MINUTE", "200000")
    forget()
    cells(6)
    run(slots=6)

    tokens = sum(row.prompt_tokens for row in rows("SELECT prompt_tokens FROM call"))
    times = [line["at"] for line in model_server.requests()]
    assert tokens > 2000
    assert times[-1] - times[0] > 5 / 6 * tokens * 60 / 200_000 * 0.5


def test_without_limits_a_call_costs_no_more_round_trips(key: str, model_server: OpenAIServer) -> None:
    project("title", texts={"a.txt": TEXT})
    asked: list[str] = []
    with context() as job:
        asking, asked_for = ledger(job), request("title")
        event.listen(engine(), "before_cursor_execute", lambda *event: asked.append(event[2]))
        asking.ask(asked_for)
        (statement,) = asked

    assert "INSERT INTO call" in statement


def test_a_wait_ends_at_once_when_the_job_is_stopped(
    key: str, model_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINNOW_REQUESTS_PER_MINUTE", "1")
    forget()
    project("title", "amount", texts={"a.txt": TEXT})
    with context() as job:
        ledger(job).ask(request("title"))
        stop = threading.Timer(0.3, job.gate.close, ["stopped by hand"])
        stop.start()
        started = time.monotonic()
        with pytest.raises(JobStoppedError, match="stopped by hand"):
            ledger(job).ask(request("amount"))
        assert time.monotonic() - started < 2
        stop.join()

    assert model_server.stats().requests == 1
    assert [row.status for row in rows("SELECT status FROM call ORDER BY id")] == ["intended", "failed"]


def test_a_job_that_was_stopped_while_its_call_waited_buys_nothing(key: str, model_server: OpenAIServer) -> None:
    project("title", texts={"a.txt": TEXT})
    with context() as job:
        with transaction() as connection:
            providers.hold(connection, key, 0.5)
        stop = threading.Timer(0.1, lambda: rows("UPDATE job SET status = 'paused' RETURNING id"))
        stop.start()
        with pytest.raises(JobStoppedError, match="the job is paused"):
            ledger(job).ask(request("title"))
        stop.join()

    assert model_server.stats().requests == 0


# The provider asks to wait


def ask_until_stopped(job: JobContext) -> None:
    with contextlib.suppress(JobStoppedError):
        ledger(job).ask(request("title"))


def test_what_one_process_is_asked_to_wait_another_waits(
    key: str, model_server: OpenAIServer, workers: Workers
) -> None:
    project("title", texts={"a.txt": TEXT})
    cells(6, "other")
    model_server.configure(script=["rate_limit"], retry_after="4", latency=0.1)
    with context() as job:
        asking = threading.Thread(target=ask_until_stopped, args=(job,))
        asking.start()
        while asking.is_alive() and not rows("SELECT FROM provider WHERE not_before > now()"):
            time.sleep(0.01)
        job.gate.close("enough")
        asking.join()
    workers.start("other", slots=3)
    workers.run()

    first, *later = [line["at"] for line in model_server.requests()]
    assert len(later) == 6
    assert all(at - first >= 4 for at in later)


# The breaker


def limiter(key: str) -> Limiter:
    return Limiter(key, Gate(4))


def call(by: Limiter, error: Exception | None = None, standing: Any = "held") -> None:
    with by.admitted(standing, 0, lambda: None):
        if error:
            raise error


def state() -> tuple[str, int]:
    (row,) = rows("SELECT state, failures FROM provider")
    return row.state, row.failures


def fail(by: Limiter, times: int) -> None:
    for _ in range(times):
        with pytest.raises(ProviderDownError):
            call(by, ProviderDownError("down"), "clear")


def test_failures_of_several_processes_open_the_breaker_and_probes_close_it(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(providers, "OPEN_SECONDS", 0.4)
    one, other = limiter(key), limiter(key)
    fail(one, 3)
    assert state() == ("closed", 3)
    fail(other, 2)
    assert state() == ("open", 5)
    started = time.monotonic()
    call(one)
    assert time.monotonic() - started > 0.35
    assert state()[0] == "half_open"
    call(other)
    assert state()[0] == "half_open"
    call(one)
    assert state() == ("closed", 0)


def test_a_success_of_a_process_that_failed_begins_the_row_anew(key: str) -> None:
    one = limiter(key)
    for _ in range(3):
        fail(one, 4)
        call(one, standing="clear")
    assert state() == ("closed", 0)


def test_too_many_requests_are_no_failure_and_give_a_probe_back(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "OPEN_SECONDS", 0.1)
    one = limiter(key)
    for _ in range(6):
        with pytest.raises(RateLimitedError):
            call(one, RateLimitedError("slower"), "clear")
    assert state() == ("closed", 0)
    fail(one, 5)
    with pytest.raises(RateLimitedError):
        call(one, RateLimitedError("slower"))
    with at_once() as connection:
        assert providers.take(connection, key).probe


def test_while_the_breaker_is_open_cells_wait_in_every_process_and_then_one_probe_goes_first(
    key: str, model_server: OpenAIServer, workers: Workers
) -> None:
    cells(6, "one")
    cells(6, "two")
    workers.start("one", "two", slots=4, open_seconds=2)
    for _ in range(providers.OPENS_AFTER):
        with at_once() as connection:
            providers.failed(connection, key)
    opened = time.monotonic()
    model_server.configure(latency=0.1)
    workers.run()

    times = [line["at"] for line in model_server.requests()]
    assert len(times) == 12  # no cell has lost a try
    assert times[0] - opened >= 1.9
    assert all(later - earlier >= 0.1 for earlier, later in pairwise(times[: providers.CLOSES_AFTER + 1]))
    assert state() == ("closed", 0)
