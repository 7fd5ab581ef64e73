"""How it is known that a worker is gone, and the lock that lets one process at a time plan jobs of a project."""

import threading
import time

import psycopg
import pytest
from sqlalchemy import text

from db import jobs, tables, workers
from db.session import connect, transaction
from tests import factories
from tests.factories import options
from winnow.exceptions import BusyError

_worker = tables.Worker.__table__

WORK = """
from db import workers
from db.session import connect, transaction
from tests import factories
with connect() as connection:
    with connection.begin():
        worker = factories.worker(connection, {job})
        workers.lock(connection, worker)
    print(worker, flush=True)
    input()
with transaction() as connection:
    workers.end(connection, worker)
"""
NO_LOCKS = "SELECT count(*) = 0 FROM pg_locks WHERE locktype = 'advisory'"


def _wait_for(connection, query):
    for _ in range(1000):
        if connection.execute(query).fetchone() == (True,):
            return
        time.sleep(0.01)
    pytest.fail(f"never true: {query}")


def alive(job):
    with transaction() as connection:
        return workers.alive(connection, job)


def renew_for(seconds, connection, worker):
    until = text("now() + make_interval(secs => :seconds)").bindparams(seconds=seconds)
    connection.execute(_worker.update().where(_worker.c.id == worker).values(lease_until=until))


def end_lease(worker):
    with transaction() as connection:
        renew_for(-1, connection, worker)


@pytest.fixture
def child(job, python):
    """A process that works on the job, its worker's id in `worker`, with a lease as long as usual."""
    started = python(WORK.format(job=job))
    started.worker = int(started.line())
    return started


class TestLockPlanning:
    def test_a_project_is_planned_by_one_process_at_a_time(self, job, database):
        project = 1
        order = []
        with transaction() as connection:
            jobs.lock_planning(connection, project)

            def other() -> None:
                with transaction() as second:
                    jobs.lock_planning(second, project)
                    order.append("second")

            thread = threading.Thread(target=other)
            thread.start()
            with psycopg.connect(database, autocommit=True) as watching:
                _wait_for(watching, "SELECT count(*) = 1 FROM pg_locks WHERE NOT granted")
            with transaction() as third:
                jobs.lock_planning(third, project + 1)  # another project need not wait
            order.append("first")
        thread.join()
        assert order == ["first", "second"]


class TestAlive:
    def test_a_job_without_workers_has_none(self, job):
        assert alive(job) == 0

    def test_a_worker_whose_process_runs_is_alive(self, job, child):
        assert [alive(job) for _ in range(3)] == [1, 1, 1]
        child.end()
        assert alive(job) == 0

    def test_a_worker_that_was_killed_is_gone_at_once_though_its_lease_runs(self, job, child, database):
        child.kill()
        with psycopg.connect(database, autocommit=True) as watching:
            _wait_for(watching, NO_LOCKS)
            good = watching.execute("SELECT lease_until > now() + interval '10 seconds' FROM worker").fetchone()
        assert good == (True,)
        assert alive(job) == 0

    def test_a_worker_that_hangs_is_gone_when_its_lease_has_ended_though_its_process_runs(self, job, child):
        end_lease(child.worker)
        assert alive(job) == 0

    def test_of_workers_that_are_older_than_the_server_leases_alone_count(self, job):
        with transaction() as connection:
            worker = factories.worker(connection, job)  # it holds no lock
            older = "UPDATE worker SET started_at = pg_postmaster_start_time() - interval '1 second'"
            connection.execute(text(older))
        assert alive(job) == 1
        end_lease(worker)
        assert alive(job) == 0

    def test_looking_takes_nobodys_sign_of_life_away(self, job, child, database):
        with transaction() as looking:
            assert workers.alive(looking, job) == 1
            assert alive(job) == 1
        assert alive(job) == 1

    def test_who_is_gone_loses_its_documents_and_they_count_as_lost(self, job, child, database):
        with transaction() as connection:
            (claimed,) = workers.claim(connection, job, child.worker, after=0, limit=9)
        child.kill()
        with psycopg.connect(database, autocommit=True) as watching:
            _wait_for(watching, NO_LOCKS)
        assert alive(job) == 0
        with transaction() as connection:
            (again,) = workers.claim(connection, job, factories.worker(connection, job), after=0, limit=9)
        assert (again.document_id, again.losses) == (claimed.document_id, 1)

    def test_another_jobs_workers_are_left_alone(self, job, child):
        with transaction() as connection:
            other = factories.job(connection, factories.project(connection, name="Other"))
            factories.worker(connection, other)
        assert alive(job) == 1
        with transaction() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM worker").scalar() == 2

    def test_a_worker_that_lost_its_connection_takes_its_lock_on_another(self, job, database):
        with connect() as first:
            with first.begin():
                worker = factories.worker(first, job)
                renew_for(60, first, worker)
                workers.lock(first, worker)
            first.invalidate()
        with psycopg.connect(database, autocommit=True) as watching:
            _wait_for(watching, NO_LOCKS)
        with connect() as second:
            with second.begin():
                workers.lock(second, worker)
            assert alive(job) == 1
            second.invalidate()


class TestBusy:
    def test_a_job_that_somebody_works_on_is_not_resumed(self, job, child):
        with pytest.raises(BusyError, match=f"Job {job} is being run by another process"), transaction() as connection:
            jobs.resume(connection, job, options(), rules="r")
        child.end()
        with transaction() as connection:
            jobs.resume(connection, job, options(), rules="r")
            assert jobs.status(connection, job) == "pending"

    def test_a_job_whose_worker_was_killed_can_be_resumed_at_once(self, job, child, database):
        child.kill()
        with psycopg.connect(database, autocommit=True) as watching:
            _wait_for(watching, NO_LOCKS)
        with transaction() as connection:
            jobs.resume(connection, job, options(), rules="r")

    def test_the_jobs_state_can_be_changed_while_somebody_works_on_it(self, job, child):
        with transaction() as connection:
            assert jobs.pause(connection, job, "by hand")

    def test_a_sample_that_somebody_works_on_is_not_abandoned(self, database, python):
        with transaction() as connection:
            project = factories.project(connection, "title")
            sample = factories.empty_job(connection, project, options("sample", sample=1, seed=1))
        working = python(WORK.format(job=sample))
        working.line()
        with transaction() as connection:
            mine = factories.empty_job(connection, project, options("sample", sample=1, seed=2))
            jobs.abandon_others(connection, project.id, mine)
            assert jobs.status(connection, sample) == "running"
        working.end()
        with transaction() as connection:
            jobs.abandon_others(connection, project.id, mine)
            assert jobs.status(connection, sample) == "cancelled"
