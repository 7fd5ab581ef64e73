"""How a job is left by a process that worked on it: ended, stopped, broken off, or to the others."""

import threading
from contextlib import ExitStack
from typing import Any

import pytest
from prefect.exceptions import TerminationSignal

from db.session import transaction
from tasks.lease import leased
from tasks.plan_job import plan_job
from tasks.run_job import running
from tasks.steer_job import cancel_job, pause_job, reopen_job
from tests import factories
from tests.conftest import Server
from tests.factories import options
from tests.openai_server import OpenAIServer
from tests.tasks.jobs_here import answer, database_away, project, rows, stored, work
from winnow.exceptions import DefinitionError, JobPausedError
from winnow.jobs import Job

SIGTERM = TerminationSignal(signal=15)


@pytest.fixture
def job(database: str, model_server: OpenAIServer) -> Job:
    """A planned job of three cells."""
    project("title", texts={f"{number}.txt": f"Contract {number} costs 11 euros." for number in range(3)})
    return plan_job("Grants", options())


def break_off(job: Job, error: BaseException) -> tuple[str, str | None]:
    """How the job is left."""
    with pytest.raises(type(error)), running(job, 1):
        raise error
    left = stored(job)
    return left.status, left.reason


def events(job: Job) -> list[str]:
    return [row.event for row in rows("SELECT event FROM job_event WHERE job_id = :job ORDER BY id", job=job.id)]


def test_a_planned_job_is_pending_and_runs_once_somebody_works_on_it(job: Job) -> None:
    assert job.status == "pending"
    with running(job, 1):
        assert stored(job).status == "running"
        with running(job, 1):
            assert rows("SELECT count(*) FROM worker") == [(2,)]
        assert stored(job).status == "running"
    assert rows("SELECT * FROM worker") == []
    assert events(job) == ["created", "running"]


def test_a_mistake_of_ours_leaves_the_job_failed_and_it_can_be_run_again(job: Job) -> None:
    assert break_off(job, ValueError("a mistake")) == ("failed", "a mistake of Winnow's: ValueError")
    assert rows("SELECT finished_at IS NOT NULL FROM job") == [(True,)]

    reopen_job(job.id)
    assert work(job).status == "completed"
    assert events(job) == ["created", "running", "failed", "reopened", "running", "completed"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeyboardInterrupt(), "interrupted: KeyboardInterrupt"),
        (SIGTERM, "interrupted: TerminationSignal"),
        (DefinitionError("no"), "interrupted: DefinitionError"),
    ],
    ids=["by hand", "SIGTERM", "definition"],
)
def test_a_run_that_is_interrupted_leaves_the_job_paused(job: Job, error: BaseException, reason: str) -> None:
    assert break_off(job, error) == ("paused", reason)


def test_a_deployed_run_that_is_asked_to_end_leaves_the_job_for_another(job: Job) -> None:
    deployed = plan_job("Grants", options(), deployed=True)

    assert break_off(deployed, SIGTERM) == ("running", None)
    assert events(job)[-1] == "left"


@pytest.mark.parametrize(
    "error", [ValueError("a mistake"), KeyboardInterrupt(), SIGTERM], ids=lambda one: type(one).__name__
)
def test_whoever_breaks_off_leaves_the_job_to_the_others(job: Job, error: BaseException) -> None:
    with leased(job.id):
        assert break_off(job, error) == ("running", None)


@pytest.mark.parametrize(("steer", "status"), [(pause_job, "paused"), (cancel_job, "cancelled")])
def test_a_job_that_was_stopped_before_it_began_asks_nothing(
    job: Job, model_server: OpenAIServer, steer: Any, status: str
) -> None:
    steer(job.id)
    with ExitStack() as stack:
        if status == "paused":
            stack.enter_context(pytest.raises(JobPausedError))
        work(job)

    assert stored(job).status == status
    assert model_server.stats().requests == 0


def test_a_job_with_nothing_left_ends_at_once(job: Job) -> None:
    answer(job)
    with running(job, 1) as state:
        assert not state.has_more()
    assert stored(job).status == "completed"


def test_who_finds_nothing_to_claim_waits_for_what_the_others_hold(job: Job) -> None:
    with running(job, 1) as state, running(job, 1) as other:
        held = list(other.documents())  # taken by whichever of the two is asked
        found: list[bool] = []
        waiting = threading.Thread(target=lambda: found.append(state.has_more()))
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        with transaction() as connection:
            for cell in factories.pending(connection, job.id):
                factories.answer(connection, cell.id)
        waiting.join(10)
        assert (found, len(held)) == ([False], 3)


def test_the_end_of_a_job_is_stored_once_the_database_is_back(job: Job, server: Server, database: str) -> None:
    answer(job)
    with ExitStack() as away:
        back = threading.Timer(0.7, away.close)
        with running(job, 1):
            away.enter_context(database_away(server, database))
            back.start()
        back.join()
    assert stored(job).status == "completed"
