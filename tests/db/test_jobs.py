from dataclasses import replace

import pytest
from sqlalchemy import select

from db import cells, jobs, tables
from tests import factories
from tests.factories import options, pending
from winnow.exceptions import BusyError, DefinitionError
from winnow.jobs import ENDED, UNFINISHED, Counts

_cell, _event = (table.__table__ for table in (tables.Cell, tables.JobEvent))


@pytest.fixture
def grants(connection):
    """A project with two variables and two documents."""
    project = factories.project(connection, "title", "donor")
    for name in ("a.pdf", "b.pdf"):
        factories.document(connection, project.id, name)
    return project


def create(connection, project, asked=None, status="running"):
    """A job without cells, in any status."""
    job_id = jobs.create(connection, project.id, asked or options(), rules="r")
    if status != "pending":
        factories.set_status(connection, job_id, status)
    return job_id


def events(connection, job_id):
    rows = connection.execute(
        select(_event.c.event, _event.c.detail).where(_event.c.job_id == job_id).order_by(_event.c.id)
    )
    return [tuple(row) for row in rows]


def end_all(connection, job_id, end="answer"):
    for cell in pending(connection, job_id):
        if end == "answer":
            factories.answer(connection, cell.id)
        else:
            cells.end(connection, cell.id, "failed", end, "it is so")


class TestUnfinished:
    @pytest.mark.parametrize(
        ("stored", "asked"),
        [
            (options(), options()),
            (options(variables=("a", "b")), options(variables=("a", "b"))),
            (options("sample", sample=5, seed=7), options("sample", sample=5, seed=7)),
            (options("sample", sample=5, seed=7), options("sample", sample=5)),
            (options("sample", sample=5, seed=0), options("sample", sample=5, seed=0)),
            (options(budget=1.0), options(budget=20.0)),
            (options(), options(budget=20.0)),
            (options(variables_per_call=5), options()),
        ],
        ids=["all", "variables", "seed", "any seed", "seed nought", "more budget", "a budget", "calls"],
    )
    def test_a_job_asked_to_do_the_same_is_found(self, connection, grants, stored, asked):
        job_id = create(connection, grants, stored)
        found = jobs.unfinished(connection, grants.id, asked)
        assert (found.id, found.options) == (job_id, stored)

    @pytest.mark.parametrize(
        ("stored", "asked"),
        [
            (options(), options("sample", sample=5)),
            (options(), options(model="openai:other")),
            (options(), options(variables=("a",))),
            (options(variables=("a",)), options(variables=("b",))),
            (options(variables=("a",)), options()),
            (options("sample", sample=5, seed=7), options("sample", sample=6, seed=7)),
            (options("sample", sample=5, seed=7), options("sample", sample=5, seed=8)),
            (options("sample", sample=5, seed=7), options("sample", sample=5, seed=0)),
        ],
        ids=["kind", "model", "variables", "other variables", "all variables", "size", "seed", "seed nought"],
    )
    def test_a_job_asked_to_do_something_else_is_not(self, connection, grants, stored, asked):
        create(connection, grants, stored)
        assert jobs.unfinished(connection, grants.id, asked) is None

    @pytest.mark.parametrize("status", UNFINISHED)
    def test_a_job_that_waits_runs_or_is_paused_is_unfinished(self, connection, grants, status):
        job_id = create(connection, grants, status=status)
        assert jobs.unfinished(connection, grants.id, options()).id == job_id

    @pytest.mark.parametrize("status", ENDED)
    def test_a_job_that_ended_is_not(self, connection, grants, status):
        create(connection, grants, status=status)
        assert jobs.unfinished(connection, grants.id, options()) is None

    def test_the_newest_of_several_is_found(self, connection, grants):
        create(connection, grants)
        newest = create(connection, grants)
        create(connection, grants, options(model="openai:other"))
        assert jobs.unfinished(connection, grants.id, options()).id == newest

    def test_another_projects_job_is_not_found(self, connection, grants):
        create(connection, factories.project(connection, name="Other"))
        assert jobs.unfinished(connection, grants.id, options()) is None


class TestFinish:
    @pytest.mark.parametrize(
        ("status", "ended", "job_status"),
        [
            ("failed", 0, "completed"),
            ("failed", 1, "completed_with_errors"),
            ("failed", 4, "completed_with_errors"),
            ("skipped", 1, "completed_with_errors"),
        ],
    )
    def test_a_job_with_nothing_pending_ends(self, connection, grants, status, ended, job_status):
        job_id = factories.job(connection, grants)
        for cell in pending(connection, job_id)[:ended]:
            cells.end(connection, cell.id, status, "a reason", "it is so")
        end_all(connection, job_id)
        jobs.finish(connection, job_id)
        assert jobs.status(connection, job_id) == job_status

    def test_a_job_waits_for_the_checks_of_its_rows(self, connection, grants):
        job_id = create(connection, grants)
        planned = [replace(cell, check_key="row") for cell in factories.planned(connection, grants, options())]
        cells.plan(connection, job_id, planned)
        ids = [cell.id for cell in pending(connection, job_id)]
        end_all(connection, job_id)
        for checked in (ids[:3], ids[3:]):
            jobs.finish(connection, job_id)
            assert jobs.status(connection, job_id) == "running"
            cells.check(connection, checked)
        jobs.finish(connection, job_id)
        assert jobs.status(connection, job_id) == "completed"

    def test_flagged_cells_are_no_errors(self, connection, grants):
        job_id = factories.job(connection, grants)
        for cell in pending(connection, job_id):
            factories.answer(connection, cell.id, factories.extraction("x", "low_confidence"))
        jobs.finish(connection, job_id)
        assert jobs.status(connection, job_id) == "completed"

    def test_a_job_with_something_pending_runs_on(self, connection, grants):
        job_id = factories.job(connection, grants)
        factories.answer(connection, pending(connection, job_id)[0].id)
        jobs.finish(connection, job_id)
        assert jobs.get(connection, job_id).finished_at is None
        assert jobs.status(connection, job_id) == "running"

    @pytest.mark.parametrize("status", ["paused", "cancelled", "failed"])
    def test_a_job_that_was_stopped_stays_stopped(self, connection, grants, status):
        job_id = factories.job(connection, grants)
        end_all(connection, job_id)
        factories.set_status(connection, job_id, status)
        assert not jobs.finish(connection, job_id)
        assert jobs.status(connection, job_id) == status


class TestWithdraw:
    def test_a_job_with_nothing_answered_leaves_no_trace(self, connection, grants):
        job_id = factories.job(connection, grants)
        factories.intend(connection, pending(connection, job_id)[0].id)
        assert jobs.withdraw(connection, job_id)
        assert jobs.newest(connection) == []
        for table in (_cell, _event):
            assert connection.scalar(select(table.c.id)) is None

    def test_what_was_asked_for_it_stays_in_the_ledger(self, connection, grants):
        job_id = factories.job(connection, grants)
        call = factories.intend(connection, pending(connection, job_id)[0].id)
        jobs.withdraw(connection, job_id)
        assert connection.scalar(select(tables.Call.__table__.c.id)) == call

    @pytest.mark.parametrize("end", ["answer", "truncated"])
    def test_a_job_with_something_done_stays(self, connection, grants, end):
        job_id = factories.job(connection, grants)
        cell = pending(connection, job_id)[0]
        if end == "answer":
            factories.answer(connection, cell.id)
        else:
            cells.end(connection, cell.id, "failed", end, "it is so")
        assert not jobs.withdraw(connection, job_id)
        assert jobs.counts(connection, job_id).total == 4


class TestAbandonOthers:
    def test_the_projects_other_unfinished_samples_are_cancelled(self, connection, grants):
        running = create(connection, grants, options("sample", sample=1, seed=1))
        paused = create(connection, grants, options("sample", sample=1, seed=2), "paused")
        mine = create(connection, grants, options("sample", sample=1, seed=3))
        jobs.abandon_others(connection, grants.id, mine)
        for other in (running, paused):
            found = jobs.get(connection, other)
            assert (found.status, found.reason) == ("cancelled", f"superseded by job {mine}")
            assert events(connection, other)[-1] == ("cancelled", f"superseded by job {mine}")
        assert jobs.status(connection, mine) == "running"

    def test_what_was_extracted_for_them_stays(self, connection, grants):
        other = factories.job(connection, grants, options("sample", model="openai:a", sample=2, seed=1))
        factories.answer(connection, pending(connection, other)[0].id, model="openai:a")
        jobs.abandon_others(connection, grants.id, create(connection, grants))
        assert jobs.counts(connection, other) == Counts(extracted=1, pending=3)

    def test_other_kinds_projects_and_ended_jobs_are_left_alone(self, connection, grants):
        other = factories.project(connection, name="Other")
        left = {
            create(connection, grants): "running",
            create(connection, other, options("sample", sample=1, seed=1)): "running",
            create(connection, grants, status="completed"): "completed",
        }
        jobs.abandon_others(connection, grants.id, create(connection, grants))
        assert {job_id: jobs.status(connection, job_id) for job_id in left} == left


class TestOneFullJob:
    @pytest.mark.parametrize("status", UNFINISHED)
    def test_a_second_is_refused_with_the_number_of_the_first(self, connection, grants, status):
        first = create(connection, grants, status=status)
        with pytest.raises(BusyError, match=f"Job {first} of this project is not finished: it is {status}"):
            jobs.refuse_second(connection, grants.id)
        jobs.refuse_second(connection, grants.id, first)

    def test_samples_ended_jobs_and_other_projects_are_in_nobodys_way(self, connection, grants):
        create(connection, grants, options("sample", sample=1, seed=1))
        create(connection, grants, status="cancelled")
        create(connection, factories.project(connection, name="Other"))
        jobs.refuse_second(connection, grants.id)


class TestReading:
    def test_a_job_comes_back_as_it_was_asked_for(self, connection, grants):
        asked = options("sample", variables=("title", "donor"), sample=1, seed=2**31 - 1)
        job_id = factories.job(connection, grants, asked)
        found = jobs.get(connection, job_id)
        assert (found.id, found.project, found.status, found.options) == (job_id, "Grants", "running", asked)
        assert (found.counts, found.reason, found.finished_at) == (Counts(pending=4), None, None)

    @pytest.mark.parametrize("job_id", [0, -1, 99, 10**30])
    def test_a_job_that_does_not_exist_is_one_clear_error(self, connection, job_id):
        with pytest.raises(DefinitionError, match=f"There is no job {job_id}"):
            jobs.get(connection, job_id)

    def test_the_newest_jobs_come_first(self, connection, grants):
        ids = [create(connection, grants, options(model=f"openai:{number}")) for number in range(5)]
        assert [job.id for job in jobs.newest(connection, 3)] == ids[:1:-1]
        assert jobs.newest_id(connection, grants.id) == ids[-1]

    def test_the_newest_running_job_is_found(self, connection, grants):
        assert jobs.running_id(connection, grants.id) is None
        running = create(connection, grants)
        create(connection, grants, status="paused")
        create(connection, grants, status="completed")
        assert jobs.running_id(connection, grants.id) == running
        assert jobs.newest_id(connection, factories.project(connection, name="Other").id) is None

    def test_a_flow_run_knows_its_unfinished_jobs(self, connection, grants):
        ids = [jobs.create(connection, grants.id, options(), rules="r", flow_run_id="run") for _ in range(3)]
        jobs.cancel(connection, ids[0], "by hand")
        jobs.pause(connection, ids[1], "by hand")
        assert sorted(jobs.of_flow_run(connection, "run")) == ids[1:]
        assert jobs.of_flow_run(connection, "another") == []
