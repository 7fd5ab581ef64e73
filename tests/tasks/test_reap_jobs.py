"""Jobs whose processes are gone are gone on with by another run of their deployment, or set down for a person."""

import pytest

from db import cells, jobs, workers
from db.session import transaction
from tasks.plan_job import plan_job
from tasks.reap_jobs import reap_jobs
from tests import factories
from tests.factories import options
from tests.tasks.jobs_here import project, rows, stored
from winnow.jobs import Job

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary-0123456789")


def lost_job(name: str = "Grants", *, deployed: bool) -> Job:
    """A job that a worker was working on, which has not been heard of since."""
    project("title", texts={"a.txt": "A text.", "b.txt": "Another."}, name=name)
    job = plan_job(name, options(), deployed=deployed)
    with transaction() as connection:
        jobs.start(connection, job.id)
        workers.claim(connection, job.id, factories.worker(connection, job.id), after=0, limit=1)
    make_older()
    return job


def make_older() -> None:
    rows("UPDATE worker SET lease_until = now() - interval '1 second' RETURNING id")
    rows("UPDATE job_event SET at = at - interval '1 minute' RETURNING id")


def test_a_deployed_job_without_workers_waits_for_another_run() -> None:
    job = lost_job(deployed=True)
    reaped = reap_jobs()
    assert (reaped.workers, [one.id for one in reaped.orphans], reaped.paused) == (1, [job.id], [])
    assert stored(job).status == "running"
    assert rows("SELECT worker_id, losses FROM claim") == [(None, 1)]


def test_it_is_not_found_again_before_the_other_run_had_time_to_begin() -> None:
    lost_job(deployed=True)
    assert reap_jobs().orphans
    assert not reap_jobs().orphans


def test_a_job_that_a_command_started_is_paused_with_what_to_do() -> None:
    job = lost_job(deployed=False)
    assert [one.id for one in reap_jobs().paused] == [job.id]
    assert stored(job).status == "paused"
    assert f"`winnow resume {job.id}`" in (stored(job).reason or "")


def test_a_job_whose_runs_are_lost_again_and_again_without_a_cell_ended_is_paused() -> None:
    job = lost_job(deployed=True)
    for _ in range(3):
        assert reap_jobs().orphans
        make_older()
    assert [one.id for one in reap_jobs().paused] == [job.id]
    assert "3 of its runs were lost" in (stored(job).reason or "")


def test_one_with_a_cell_ended_in_between_is_gone_on_with() -> None:
    job = lost_job(deployed=True)
    for _ in range(3):
        assert reap_jobs().orphans
        make_older()
    with transaction() as connection:
        cells.end(connection, factories.pending(connection, job.id)[0].id, "failed", "malformed", "no JSON")
    assert [one.id for one in reap_jobs().orphans] == [job.id]


def test_jobs_with_a_worker_and_jobs_that_have_ended_are_left_alone() -> None:
    alive, ended = lost_job("One", deployed=True), lost_job("Two", deployed=True)
    with transaction() as connection:
        factories.worker(connection, alive.id)
        jobs.cancel(connection, ended.id, "by the test")
    make_room = reap_jobs()
    assert (make_room.orphans, make_room.paused) == ([], [])


def test_a_job_that_was_only_just_planned_is_left_alone() -> None:
    project("title", texts={"a.txt": "A text."})
    plan_job("Grants", options(), deployed=True)
    assert not reap_jobs().orphans
