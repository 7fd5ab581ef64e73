import threading
import time
from dataclasses import replace

import psycopg
import pytest
from sqlalchemy import select, text

from db import cells, jobs, projects, tables
from db.session import transaction
from tests import factories
from tests.factories import options, pending, variable
from winnow.exceptions import BusyError, DefinitionError
from winnow.jobs import UNFINISHED, Counts, Spending

_cell, _event, _job = (table.__table__ for table in (tables.Cell, tables.JobEvent, tables.Job))

ENDED = ("completed", "completed_with_errors", "cancelled")

HOLD = """
from db import jobs
with jobs.held({job}):
    print("held", flush=True)
    input()
"""


@pytest.fixture
def grants(connection):
    """A project with two variables and two documents."""
    project = factories.project(connection, "title", "donor")
    for name in ("a.pdf", "b.pdf"):
        factories.document(connection, project.id, name)
    return project


@pytest.fixture
def job(database):
    """The id of a committed job with one pending cell."""
    with transaction() as connection:
        project = factories.project(connection, "title")
        factories.document(connection, project.id)
        return factories.job(connection, project)


def create(connection, project, asked=None, status="running"):
    """A job without cells, in any status."""
    job_id = jobs.create(connection, project.id, asked or options(), rules="r", flow_run_id=None)
    jobs.set_status(connection, job_id, status)
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
            cells.fail(connection, cell.id, end, "it is so")


class TestPlan:
    def test_a_plan_has_a_pending_cell_for_every_document_and_variable(self, connection, grants):
        job_id = factories.job(connection, grants)
        assert jobs.counts(connection, job_id) == Counts(pending=4)
        assert [(cell.document, cell.variable, cell.job) for cell in pending(connection, job_id)] == [
            (document, name, job_id) for document in ("a.pdf", "b.pdf") for name in ("title", "donor")
        ]

    def test_pending_cells_come_in_pages(self, connection, grants):
        job_id = factories.job(connection, grants)
        every = pending(connection, job_id)
        first = cells.pending(connection, job_id, after=0, limit=3)
        second = cells.pending(connection, job_id, after=first[-1].id, limit=3)
        assert (len(first), first + second) == (3, every)
        factories.answer(connection, every[1].id)
        assert pending(connection, job_id) == [every[0], *every[2:]]

    def test_a_cells_work_is_what_its_job_and_prompt_say(self, connection, grants):
        job_id = jobs.create(connection, grants.id, options(model="openai:m"), rules="These rules.", flow_run_id=None)
        planned = factories.planned(connection, grants, options(model="openai:m"))
        cells.plan(connection, job_id, planned)
        work = cells.work(connection, pending(connection, job_id)[0].id)
        assert work == cells.CellWork(
            document_id=planned[0].document_id, prompt_id=planned[0].prompt_id, model="openai:m", rules="These rules."
        )

    def test_the_same_plan_again_changes_nothing(self, connection, grants):
        job_id = factories.job(connection, grants)
        before = connection.execute(select(_cell).order_by(_cell.c.id)).all()
        cells.plan(connection, job_id, factories.planned(connection, grants, options()))
        assert connection.execute(select(_cell).order_by(_cell.c.id)).all() == before

    def test_a_new_document_adds_its_cells(self, connection, grants):
        job_id = factories.job(connection, grants)
        before = pending(connection, job_id)
        factories.document(connection, grants.id, "c.pdf")
        cells.plan(connection, job_id, factories.planned(connection, grants, options()))
        now = pending(connection, job_id)
        assert now[:4] == before
        assert [cell.document for cell in now[4:]] == ["c.pdf", "c.pdf"]

    def test_a_changed_variable_replaces_what_is_pending_and_leaves_what_is_done(self, connection, grants):
        job_id = factories.job(connection, grants)
        factories.answer(connection, pending(connection, job_id)[0].id)
        changed = factories.project(connection, variable("title", label="The title"), "donor")
        cells.plan(connection, job_id, factories.planned(connection, changed, options()))
        assert jobs.counts(connection, job_id) == Counts(extracted=1, pending=4)
        assert sorted((cell.document, cell.variable) for cell in pending(connection, job_id)) == [
            ("a.pdf", "donor"), ("a.pdf", "title"), ("b.pdf", "donor"), ("b.pdf", "title"),
        ]  # fmt: skip

    def test_another_key_replaces_a_pending_cell(self, connection, grants):
        """After an unreadable reply the same question gets a fresh key."""
        job_id = factories.job(connection, grants)
        planned = factories.planned(connection, grants, options())
        fresh = [replace(planned[0], call_key="fresh"), *planned[1:]]
        cells.plan(connection, job_id, fresh)
        keys = select(_cell.c.call_key).where(_cell.c.job_id == job_id)
        assert sorted(connection.scalars(keys)) == sorted(cell.call_key for cell in fresh)

    def test_failed_cells_stay_failed_in_a_new_plan(self, connection, grants):
        job_id = factories.job(connection, grants)
        cells.fail(connection, pending(connection, job_id)[0].id, "truncated", "it is so")
        cells.plan(connection, job_id, factories.planned(connection, grants, options()))
        assert jobs.counts(connection, job_id) == Counts(failed=1, pending=3)

    def test_an_empty_plan_takes_away_what_is_pending(self, connection, grants):
        job_id = factories.job(connection, grants)
        factories.answer(connection, pending(connection, job_id)[0].id)
        cells.plan(connection, job_id, [])
        assert jobs.counts(connection, job_id) == Counts(extracted=1)

    def test_a_cell_planned_twice_is_one_cell(self, connection, grants):
        planned = factories.planned(connection, grants, options())
        job_id = create(connection, grants)
        cells.plan(connection, job_id, planned + planned)
        assert jobs.counts(connection, job_id) == Counts(pending=4)

    def test_a_plan_larger_than_a_batch_is_whole_and_in_order(self, connection, grants, monkeypatch):
        for number in range(9):
            factories.document(connection, grants.id, f"c{number}.pdf")
        monkeypatch.setattr(cells, "_BATCH", 5)
        planned = factories.planned(connection, grants, options())
        job_id = factories.job(connection, grants)
        rows = connection.execute(
            select(_cell.c.document_id, _cell.c.prompt_id, _cell.c.request_key, _cell.c.call_key).order_by(_cell.c.id)
        )
        assert [cells.PlannedCell(**row._mapping) for row in rows] == planned
        cells.plan(connection, job_id, planned[:7])
        assert jobs.counts(connection, job_id) == Counts(pending=7)

    def test_a_job_knows_its_documents(self, connection, grants):
        chosen = factories.documents.of_project(connection, grants.id)[1:]
        job_id = factories.job(connection, grants, options("sample", sample=1, seed=1), chosen)
        assert cells.documents(connection, job_id) == [chosen[0].id]

    def test_jobs_do_not_share_cells(self, connection, grants):
        first, second = factories.job(connection, grants), factories.job(connection, grants, options("sample"))
        end_all(connection, first)
        assert jobs.counts(connection, first) == Counts(extracted=4)
        assert jobs.counts(connection, second) == Counts(pending=4)

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


def _wait_for(connection, query):
    for _ in range(1000):
        if connection.execute(query).fetchone() == (True,):
            return
        time.sleep(0.01)
    pytest.fail(f"never true: {query}")


class TestFail:
    def test_a_cell_fails_once(self, connection, grants):
        cell = pending(connection, factories.job(connection, grants))[0]
        assert cells.fail(connection, cell.id, "truncated", "the first")
        assert not cells.fail(connection, cell.id, "malformed", "the second")
        row = connection.execute(select(_cell).where(_cell.c.id == cell.id)).one()
        assert (row.status, row.reason, row.detail) == ("failed", "truncated", "the first")

    def test_an_extracted_cell_does_not_fail(self, connection, grants):
        job_id = factories.job(connection, grants)
        cell = pending(connection, job_id)[0]
        factories.answer(connection, cell.id)
        assert not cells.fail(connection, cell.id, "internal_error", "late")
        assert jobs.counts(connection, job_id) == Counts(extracted=1, pending=3)

    def test_failures_are_counted_by_reason_the_most_frequent_first(self, connection, grants):
        job_id = factories.job(connection, grants)
        for cell, reason in zip(pending(connection, job_id), ["empty_reply", "truncated", "truncated"], strict=False):
            cells.fail(connection, cell.id, reason, "it is so")
        assert list(cells.failures(connection, job_id).items()) == [("truncated", 2), ("empty_reply", 1)]


class TestUnfinished:
    @pytest.mark.parametrize(
        ("stored", "asked"),
        [
            (options(), options()),
            (options(variables=("a", "b")), options(variables=("a", "b"))),
            (options("sample", sample=5, seed=7), options("sample", sample=5, seed=7)),
            (options("sample", sample=5, seed=7), options("sample", sample=5)),
            (options("sample", sample=5, seed=0), options("sample", sample=5, seed=0)),
        ],
        ids=["all", "variables", "seed", "any seed", "seed nought"],
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
    def test_a_job_that_runs_or_is_paused_is_unfinished(self, connection, grants, status):
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


class TestStatus:
    @pytest.mark.parametrize("new", [*UNFINISHED, *ENDED])
    @pytest.mark.parametrize("ended", ENDED)
    def test_a_job_that_ended_never_changes_again(self, connection, grants, ended, new):
        job_id = create(connection, grants, status=ended)
        before = jobs.get(connection, job_id), events(connection, job_id)
        assert not jobs.set_status(connection, job_id, new, "a reason")
        assert (jobs.get(connection, job_id), events(connection, job_id)) == before

    @pytest.mark.parametrize("ended", ENDED)
    def test_a_job_that_ended_is_not_resumed(self, connection, grants, ended):
        job_id = create(connection, grants, status=ended)
        with pytest.raises(DefinitionError, match=f"Job {job_id} has ended"):
            jobs.resume(connection, job_id, rules="new", flow_run_id="x")
        assert jobs.status(connection, job_id) == ended

    def test_a_paused_job_has_its_reason_and_no_end(self, connection, grants):
        job_id = create(connection, grants)
        assert jobs.set_status(connection, job_id, "paused", "the key is wrong")
        found = jobs.get(connection, job_id)
        assert (found.status, found.reason, found.finished_at) == ("paused", "the key is wrong", None)

    def test_a_job_paused_twice_keeps_its_first_reason(self, connection, grants):
        job_id = create(connection, grants)
        jobs.set_status(connection, job_id, "paused", "the first")
        assert not jobs.set_status(connection, job_id, "paused", "the second")
        assert jobs.get(connection, job_id).reason == "the first"

    def test_a_job_that_ends_has_its_time(self, connection, grants):
        job_id = create(connection, grants)
        assert jobs.set_status(connection, job_id, "cancelled", "by hand")
        found = jobs.get(connection, job_id)
        assert (found.status, found.reason) == ("cancelled", "by hand")
        assert found.finished_at >= found.created_at

    def test_a_resumed_job_runs_under_the_new_rules_and_flow_run(self, connection, grants):
        job_id = factories.job(connection, grants)
        jobs.set_status(connection, job_id, "paused", "the key is wrong")
        jobs.resume(connection, job_id, rules="new rules", flow_run_id="run 2")
        found = jobs.get(connection, job_id)
        assert (found.status, found.reason, found.finished_at) == ("running", None, None)
        assert cells.work(connection, pending(connection, job_id)[0].id).rules == "new rules"
        assert jobs.of_flow_run(connection, "run 2") == [job_id]

    def test_what_happened_is_logged_in_its_order(self, connection, grants):
        job_id = create(connection, grants)
        jobs.set_status(connection, job_id, "paused", "the key is wrong")
        jobs.set_status(connection, job_id, "paused", "again")
        jobs.resume(connection, job_id, rules="r", flow_run_id=None)
        jobs.log(connection, job_id, "looked at", "Ünïcode '; --")
        jobs.set_status(connection, job_id, "completed")
        jobs.set_status(connection, job_id, "cancelled", "too late")
        assert events(connection, job_id) == [
            ("created", None),
            ("paused", "the key is wrong"),
            ("resumed", None),
            ("looked at", "Ünïcode '; --"),
            ("completed", None),
        ]

    def test_an_event_says_who_and_when(self, connection, grants):
        job_id = create(connection, grants)
        who, late = connection.execute(select(_event.c.who, text("now() - at")).where(_event.c.job_id == job_id)).one()
        assert who == f"postgres@local {connection.scalar(text('SELECT pg_backend_pid()'))}"
        assert late.total_seconds() == 0

    def test_two_that_end_a_job_at_once_do_not_both_win(self, job):
        together = threading.Barrier(6)
        won = []

        def go(new) -> None:
            together.wait()
            with transaction() as connection:
                if jobs.set_status(connection, job, new):
                    won.append(new)

        threads = [threading.Thread(target=go, args=(new,)) for new in ENDED * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        with transaction() as connection:
            assert jobs.status(connection, job) == won[0]
            assert events(connection, job) == [("created", None), (won[0], None)]


class TestFinish:
    @pytest.mark.parametrize(
        ("reasons", "status"),
        [([], "completed"), (["truncated"], "completed_with_errors"), (["truncated"] * 4, "completed_with_errors")],
    )
    def test_a_job_with_nothing_pending_ends(self, connection, grants, reasons, status):
        job_id = factories.job(connection, grants)
        for reason, cell in zip(reasons, pending(connection, job_id), strict=False):
            cells.fail(connection, cell.id, reason, "it is so")
        end_all(connection, job_id)
        jobs.finish(connection, job_id)
        assert jobs.status(connection, job_id) == status

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

    @pytest.mark.parametrize("status", ["paused", "cancelled"])
    def test_a_job_that_was_stopped_stays_stopped(self, connection, grants, status):
        job_id = factories.job(connection, grants)
        end_all(connection, job_id)
        jobs.set_status(connection, job_id, status)
        jobs.finish(connection, job_id)
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
            cells.fail(connection, cell.id, end, "it is so")
        assert not jobs.withdraw(connection, job_id)
        assert jobs.counts(connection, job_id).total == 4


class TestAbandonOthers:
    def test_the_projects_other_unfinished_jobs_of_the_kind_are_cancelled(self, connection, grants):
        running = create(connection, grants, options(model="openai:a"))
        paused = create(connection, grants, options(model="openai:b"), "paused")
        mine = create(connection, grants)
        jobs.abandon_others(connection, grants.id, mine)
        for other in (running, paused):
            found = jobs.get(connection, other)
            assert (found.status, found.reason) == ("cancelled", f"superseded by job {mine}")
            assert events(connection, other)[-1] == ("cancelled", f"superseded by job {mine}")
        assert jobs.status(connection, mine) == "running"

    def test_what_was_extracted_for_them_stays(self, connection, grants):
        other = factories.job(connection, grants, options(model="openai:a"))
        factories.answer(connection, pending(connection, other)[0].id, model="openai:a")
        jobs.abandon_others(connection, grants.id, create(connection, grants))
        assert jobs.counts(connection, other) == Counts(extracted=1, pending=3)

    def test_other_kinds_projects_and_ended_jobs_are_left_alone(self, connection, grants):
        other = factories.project(connection, name="Other")
        left = {
            create(connection, grants, options("sample", sample=5, seed=1)): "running",
            create(connection, other): "running",
            create(connection, grants, status="completed"): "completed",
        }
        jobs.abandon_others(connection, grants.id, create(connection, grants))
        assert {job_id: jobs.status(connection, job_id) for job_id in left} == left

    def test_a_job_that_another_process_holds_is_left_alone(self, job, python):
        child = python(HOLD.format(job=job))
        assert child.line() == "held"
        with transaction() as connection:
            project = projects.get(connection, "Grants")
            mine = create(connection, project, options(model="openai:other"))
            jobs.abandon_others(connection, project.id, mine)
            assert jobs.status(connection, job) == "running"
        child.end()
        with transaction() as connection:
            jobs.abandon_others(connection, project.id, mine)
            assert jobs.status(connection, job) == "cancelled"


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
            jobs.resume(connection, job, rules="r", flow_run_id=None)
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
        jobs.set_status(connection, ids[0], "cancelled")
        jobs.set_status(connection, ids[1], "paused")
        assert sorted(jobs.of_flow_run(connection, "run")) == ids[1:]
        assert jobs.of_flow_run(connection, "another") == []

    def test_spending_is_all_that_was_paid_for_the_jobs_cells(self, connection, grants):
        job_id = factories.job(connection, grants)
        first, second, third, _ = pending(connection, job_id)
        factories.answer(connection, first.id)
        factories.make_unusable(connection, second.id)
        factories.intend(connection, third.id)
        assert jobs.spending(connection, job_id) == Spending(
            calls=2, prompt_tokens=200, cached_tokens=160, completion_tokens=40
        )
        assert jobs.bought(connection, job_id) == 3

    def test_a_job_without_calls_has_spent_nothing(self, connection, grants):
        job_id = factories.job(connection, grants)
        assert jobs.spending(connection, job_id) == Spending()
        assert jobs.bought(connection, job_id) == 0

    def test_tokens_that_the_provider_did_not_count_add_nothing(self, connection, grants):
        job_id = factories.job(connection, grants)
        call = factories.intend(connection, pending(connection, job_id)[0].id)
        factories.calls.keep_reply(connection, call, factories.reply(usage=factories.Usage(prompt_tokens=7)))
        assert jobs.spending(connection, job_id) == Spending(calls=1, prompt_tokens=7)

    def test_what_an_earlier_job_bought_is_spending_but_not_bought(self, database):
        with transaction() as connection:
            project = factories.project(connection, "title")
            factories.document(connection, project.id)
            end_all(connection, factories.job(connection, project))
        with transaction() as connection:
            later = factories.job(connection, project, options("sample"))
            cells.settle_answered(connection, later)
        with transaction() as connection:
            assert jobs.spending(connection, later).calls == 1
            assert jobs.bought(connection, later) == 0

    def test_twins_that_share_a_call_pay_for_it_once(self, connection):
        project = factories.project(connection, "title")
        for number in range(2):
            factories.document(connection, project.id, f"{number}.pdf", text="same", data=str(number))
        job_id = factories.job(connection, project)
        factories.answer(connection, pending(connection, job_id)[0].id)
        assert jobs.spending(connection, job_id).calls == 1
        assert jobs.bought(connection, job_id) == 1
