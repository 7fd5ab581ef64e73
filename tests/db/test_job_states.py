"""The states of a job: which function leads from which to which, and what is noted of it."""

import threading

import pytest
from sqlalchemy import select, text

from db import jobs, tables, workers
from db.session import transaction
from tests import factories
from tests.db.test_jobs import create, events
from tests.factories import options
from winnow.exceptions import DefinitionError
from winnow.jobs import ENDED, UNFINISHED

_event = tables.JobEvent.__table__

# By function: the states it starts from, the one it leads to, and the event that is noted.
CHANGES = {
    "start": (("pending",), "running", "running"),
    "pause": (("pending", "running"), "paused", "paused"),
    "cancel": (UNFINISHED, "cancelled", "cancelled"),
    "fail": (UNFINISHED, "failed", "failed"),
    "finish": (("running",), "completed", "completed"),
    "reopen": (ENDED, "pending", "reopened"),
    "resume": (UNFINISHED, "pending", "resumed"),
}
WITH_REASON = ("pause", "cancel", "fail")


@pytest.fixture
def grants(connection):
    """A project with nothing in it."""
    return factories.project(connection, "title")


def change(connection, name, job, reason="the key is wrong"):
    """Let the function of this name change a job. True where it did."""
    if name == "resume":
        try:
            jobs.resume(connection, job, options(), rules="r")
        except DefinitionError:
            return False
        return True
    given = (reason,) if name in WITH_REASON else ()
    return getattr(jobs, name)(connection, job, *given)


@pytest.mark.parametrize("name", CHANGES)
def test_each_function_changes_a_job_from_its_states_and_from_no_other(connection, grants, name):
    allowed, new, event = CHANGES[name]
    for status in (*UNFINISHED, *ENDED):
        job = create(connection, grants, status=status)
        before, noted = jobs.get(connection, job), events(connection, job)
        assert change(connection, name, job) == (status in allowed), status
        if status not in allowed:
            assert (jobs.get(connection, job), events(connection, job)) == (before, noted), status
            continue
        found, reason = jobs.get(connection, job), "the key is wrong" if name in WITH_REASON else None
        assert (found.status, found.reason) == (new, reason), status
        assert (found.finished_at is None) == (new in UNFINISHED), status
        assert events(connection, job) == [*noted, (event, reason)], status


def test_a_new_job_is_pending_and_its_event_says_so(connection, grants):
    job = jobs.create(connection, grants.id, options(), rules="r")
    assert jobs.status(connection, job) == "pending"
    assert events(connection, job) == [("created", None)]


def test_a_job_paused_twice_keeps_its_first_reason(connection, grants):
    job = create(connection, grants)
    assert jobs.pause(connection, job, "the first")
    assert not jobs.pause(connection, job, "the second")
    assert jobs.get(connection, job).reason == "the first"


def test_a_job_that_ended_is_not_resumed_in_words(connection, grants):
    job = create(connection, grants, status="failed")
    with pytest.raises(DefinitionError, match=f"Job {job} has ended; run again for a new one"):
        jobs.resume(connection, job, options(), rules="new", flow_run_id="x")
    assert jobs.rules(connection, job) == "r"


def test_a_resumed_job_waits_under_the_new_options_rules_and_flow_run(connection, grants):
    job = create(connection, grants, status="paused")
    new = options(budget=2.5, variables_per_call=0)
    jobs.resume(connection, job, new, rules="new rules", flow_run_id="run 2", deployed=True)
    found = jobs.get(connection, job)
    assert (found.status, found.reason, found.options, found.deployed) == ("pending", None, new, True)
    assert jobs.rules(connection, job) == "new rules"
    assert jobs.of_flow_run(connection, "run 2") == [job]


def test_a_job_is_planned_by_the_event_of_its_last_resumption(connection, grants):
    job = create(connection, grants)
    created = jobs.planned_by(connection, job)
    jobs.pause(connection, job, "by hand")
    assert jobs.planned_by(connection, job) == created
    jobs.resume(connection, job, options(), rules="r")
    resumed = jobs.planned_by(connection, job)
    jobs.start(connection, job)
    assert jobs.planned_by(connection, job) == resumed > created


def test_what_happened_is_noted_in_its_order(connection, grants):
    job = create(connection, grants, status="pending")
    jobs.start(connection, job)
    jobs.pause(connection, job, "the key is wrong")
    jobs.pause(connection, job, "again")
    jobs.resume(connection, job, options(), rules="r")
    jobs.log(connection, job, "looked at", "Ünïcode '; --")
    jobs.start(connection, job)
    jobs.finish(connection, job)
    jobs.cancel(connection, job, "too late")
    jobs.reopen(connection, job)
    assert events(connection, job) == [
        ("created", None), ("running", None), ("paused", "the key is wrong"), ("resumed", None),
        ("looked at", "Ünïcode '; --"), ("running", None), ("completed", None), ("reopened", None),
    ]  # fmt: skip


def test_an_event_says_whose_process_it_was_and_when(connection, grants):
    connection.execute(text("SET application_name = 'winnow ada@host:7'"))
    job = create(connection, grants, status="pending")
    row = connection.execute(select(_event.c.who, text("now() - at AS age")).where(_event.c.job_id == job)).one()
    assert (row.who, row.age.total_seconds()) == ("winnow ada@host:7", 0)
    connection.execute(text("RESET application_name"))
    jobs.start(connection, job)
    who = connection.scalars(select(_event.c.who).where(_event.c.job_id == job).order_by(_event.c.id)).all()
    assert who == ["winnow ada@host:7", connection.scalar(text("SHOW application_name"))]


def test_of_many_that_change_a_job_at_once_one_wins(job):
    together = threading.Barrier(6)
    won = []

    def go(name) -> None:
        together.wait()
        with transaction() as connection:
            if change(connection, name, job, name):
                won.append(name)

    threads = [threading.Thread(target=go, args=(name,)) for name in ("cancel", "fail") * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    with transaction() as connection:
        assert jobs.status(connection, job) == CHANGES[won[0]][1]
        assert [event for event, _ in events(connection, job)] == ["created", "running", CHANGES[won[0]][2]]


def test_of_workers_that_begin_with_a_job_at_once_one_starts_it(connection, grants):
    job = create(connection, grants, status="pending")
    assert [jobs.start(connection, job) for _ in range(3)] == [True, False, False]
    assert events(connection, job) == [("created", None), ("running", None)]


def test_a_job_that_ended_has_its_time_and_a_reopened_one_has_none(connection, grants):
    job = create(connection, grants)
    jobs.cancel(connection, job, "by hand")
    found = jobs.get(connection, job)
    assert found.finished_at >= found.created_at
    jobs.reopen(connection, job)
    assert jobs.get(connection, job).finished_at is None


def test_stopping_a_job_leaves_what_its_workers_hold_to_them(connection, grants):
    job = create(connection, grants)
    worker = factories.worker(connection, job)
    jobs.cancel(connection, job, "by hand")
    assert workers.exists(connection, worker)
