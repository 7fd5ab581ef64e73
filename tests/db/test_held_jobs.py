"""The locks that keep two processes off one job, and off the planning of one project."""

import threading
import time

import psycopg
import pytest

from db import jobs, projects
from db.session import transaction
from tests import factories
from tests.factories import options
from winnow.exceptions import BusyError

HOLD = """
from db import jobs
with jobs.held({job}):
    print("held", flush=True)
    input()
"""


def _wait_for(connection, query):
    for _ in range(1000):
        if connection.execute(query).fetchone() == (True,):
            return
        time.sleep(0.01)
    pytest.fail(f"never true: {query}")


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


class TestHeld:
    def test_a_held_job_is_busy_for_every_other_holder(self, job):
        with jobs.held(job), pytest.raises(BusyError, match=f"Job {job} is being run"), jobs.held(job):
            pass

    def test_a_job_is_free_again_after_the_block(self, job):
        with jobs.held(job):
            pass
        with pytest.raises(ValueError, match="inside"), jobs.held(job):
            raise ValueError("inside")
        with jobs.held(job):
            pass

    def test_a_job_that_was_busy_does_not_stay_locked_by_who_tried(self, job, python):
        with jobs.held(job):
            for _ in range(3):
                with pytest.raises(BusyError), jobs.held(job):
                    pass
        child = python(HOLD.format(job=job))
        assert child.line() == "held"

    def test_different_jobs_are_held_side_by_side(self, job):
        with jobs.held(job), jobs.held(job + 1), jobs.held(job + 2):
            pass

    def test_another_process_finds_it_busy(self, job, python):
        with jobs.held(job):
            child = python(HOLD.format(job=job))
            _, problems = child.process.communicate(timeout=60)
        assert child.process.returncode == 1
        assert "BusyError" in problems

    def test_a_job_held_by_another_process_is_busy_and_cannot_be_resumed(self, job, python):
        child = python(HOLD.format(job=job))
        assert child.line() == "held"
        with pytest.raises(BusyError), jobs.held(job):
            pass
        with pytest.raises(BusyError), transaction() as connection:
            jobs.resume(connection, job, options(), rules="r", flow_run_id=None)
        child.end()
        with jobs.held(job):
            pass

    def test_a_process_that_is_killed_lets_go(self, job, python, database):
        child = python(HOLD.format(job=job))
        assert child.line() == "held"
        with psycopg.connect(database, autocommit=True) as watching:
            assert watching.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone() == (1,)
            child.kill()
            _wait_for(watching, "SELECT count(*) = 0 FROM pg_locks WHERE locktype = 'advisory'")
        with jobs.held(job):
            pass

    def test_holding_keeps_no_transaction_open(self, job, database):
        with jobs.held(job), psycopg.connect(database, autocommit=True) as watching:
            states = watching.execute(
                "SELECT DISTINCT state FROM pg_stat_activity WHERE application_name = 'winnow'"
            ).fetchall()
        assert states == [("idle",)]

    def test_the_jobs_rows_can_be_changed_while_it_is_held(self, job):
        with jobs.held(job), transaction() as connection:
            assert jobs.set_status(connection, job, "paused", "by hand")

    def test_a_holder_that_lost_its_connection_ends_quietly(self, job, database):
        with jobs.held(job):
            _end_connections(database)
        with jobs.held(job):
            pass

    def test_a_holder_that_lost_its_connection_does_not_hide_an_error(self, job, database):
        def lose_and_fail():
            _end_connections(database)
            raise ValueError("the real one")

        with pytest.raises(ValueError, match="the real one"), jobs.held(job):
            lose_and_fail()


def _end_connections(database):
    with psycopg.connect(database, autocommit=True) as other:
        ended = other.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'winnow'"
        ).fetchall()
    assert (True,) in ended


def test_a_sample_that_another_process_holds_is_not_abandoned(database, python):
    with transaction() as connection:
        project = projects.get(connection, factories.project(connection, "title").name)
        job = jobs.create(connection, project.id, options("sample", sample=1, seed=1), rules="r", flow_run_id=None)
    child = python(HOLD.format(job=job))
    assert child.line() == "held"
    with transaction() as connection:
        other = options("sample", sample=1, seed=2)
        mine = jobs.create(connection, project.id, other, rules="r", flow_run_id=None)
        jobs.abandon_others(connection, project.id, mine)
        assert jobs.status(connection, job) == "running"
    child.end()
    with transaction() as connection:
        jobs.abandon_others(connection, project.id, mine)
        assert jobs.status(connection, job) == "cancelled"
