"""Pausing, cancelling and resuming jobs: by their rows, whoever runs them."""

import contextlib
import threading
import time

import pytest

from db import jobs
from db.session import transaction
from tasks.lease import leased
from tasks.plan_job import plan_job
from tasks.steer_job import cancel_job, pause_job, reopen_job, run_parameters
from tests.factories import MODEL, options, variable
from tests.openai_server import OpenAIServer
from tests.tasks.jobs_here import project, rows, run
from winnow.exceptions import BusyError, DefinitionError, JobPausedError
from winnow.jobs import Counts

pytestmark = pytest.mark.usefixtures("database")

TEXTS = {f"d{number:02}.txt": f"Contract {number} costs {number + 10} euros." for number in range(12)}


def counts(job: int) -> Counts:
    with transaction() as connection:
        return jobs.counts(connection, job)


def newest() -> int:
    with transaction() as connection:
        return jobs.newest(connection)[0].id


def steer_after(server: OpenAIServer, requests: int, steer) -> list[float]:
    """Steer the newest job once the model server has seen so many requests. Gives the moment in the list returned."""
    moments: list[float] = []

    def wait() -> None:
        while server.stats().requests < requests:
            time.sleep(0.01)
        steer(newest())
        moments.append(time.monotonic())

    threading.Thread(target=wait, daemon=True).start()
    return moments


@pytest.mark.parametrize(("steer", "status"), [(pause_job, "paused"), (cancel_job, "cancelled")])
def test_no_new_call_starts_and_calls_in_flight_are_kept(model_server: OpenAIServer, steer, status) -> None:
    model_server.configure(latency=0.3)
    project(variable("title"), texts=TEXTS)
    moments = steer_after(model_server, 4, steer)

    if status == "paused":
        with pytest.raises(JobPausedError, match=r"was paused by a person.*`winnow resume"):
            run(slots=4)
    else:
        run(slots=4)
    stats, job = model_server.stats(), newest()
    with transaction() as connection:
        found = jobs.get(connection, job)

    assert (found.status, found.reason) == (status, f"{status} by a person")
    assert stats.last_request_at is not None
    assert stats.last_request_at <= moments[0] + 0.05
    assert found.counts.extracted + found.counts.flagged == stats.answered == stats.requests < 12


@pytest.mark.parametrize("steer", [pause_job, cancel_job])
def test_a_stopped_job_is_resumed_and_asks_only_the_rest(model_server: OpenAIServer, steer) -> None:
    model_server.configure(latency=0.2)
    project(variable("title"), texts=TEXTS)
    steer_after(model_server, 3, steer)
    with contextlib.suppress(JobPausedError):
        run(slots=3)
    stopped = reopen_job(newest())

    ended = run(stopped.project, slots=8, model=stopped.options.model)
    assert ended.id == stopped.id
    assert (ended.status, ended.counts.done) == ("completed", 12)
    assert model_server.stats().requests == 12
    assert model_server.stats().duplicates == 0


def test_the_parameters_of_a_resumed_run_are_those_it_was_started_with(model_server: OpenAIServer) -> None:
    project(variable("title"), texts=TEXTS)
    parameters = run_parameters(run(variables_per_call=0, budget=None))

    assert parameters == {
        "sample": 0, "variables": [], "model": MODEL, "variables_per_call": 0, "budget": 0.0, "seed": None,
    }  # fmt: skip


def test_failed_cells_are_asked_again_alone(model_server: OpenAIServer) -> None:
    project(variable("title"), variable("amount"), texts=dict(list(TEXTS.items())[:3]))
    model_server.configure(fault_variables={"amount": "refusal"})
    first = run()
    assert (first.status, first.counts.failed) == ("completed_with_errors", 3)
    with pytest.raises(DefinitionError, match=f"Job {first.id} has nothing left to do: completed with errors"):
        reopen_job(first.id)
    model_server.configure(fault_variables={})
    model_server.reset()

    reopen_job(first.id, retry_failed=True)
    again = run()
    assert (again.id, again.status, again.counts.failed) == (first.id, "completed", 0)
    assert model_server.stats().variables == {"amount": 3}


def test_what_cannot_be_steered_says_why(model_server: OpenAIServer) -> None:
    project(variable("title"), texts=TEXTS)
    job = run()
    for steer in (pause_job, cancel_job):
        with pytest.raises(DefinitionError, match=f"Job {job.id} has ended already: completed"):
            steer(job.id)
        with pytest.raises(DefinitionError, match="There is no job 999"):
            steer(999)
    with pytest.raises(DefinitionError, match="nothing left to do"):
        reopen_job(job.id, retry_failed=True)


def test_a_job_that_runs_cannot_be_resumed(model_server: OpenAIServer) -> None:
    project(variable("title"), texts=TEXTS)
    job = plan_job("Grants", options())
    with leased(job.id), pytest.raises(BusyError, match="another process"):
        reopen_job(job.id)


def test_a_pause_that_a_cell_hears_of_first_costs_its_document_no_attempt(
    model_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.run_job._LOOK_EVERY", 60.0)
    model_server.configure(latency=0.3)
    project("title", "buyer", texts=dict(list(TEXTS.items())[:1]))
    steer_after(model_server, 1, pause_job)
    with pytest.raises(JobPausedError):
        run(slots=1)

    assert rows("SELECT losses FROM claim") == [(0,)]
    assert rows("SELECT status FROM cell ORDER BY id") == [("extracted",), ("pending",)]
