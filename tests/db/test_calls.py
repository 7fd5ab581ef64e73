import threading
import time
from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import pytest
from sqlalchemy import select, text, update

from db import calls, jobs, tables, workers
from db.session import transaction
from tests import factories
from winnow.calls import Intent
from winnow.exceptions import JobStoppedError, WorkerLostError

_call = tables.Call.__table__
_worker = tables.Worker.__table__


def register():
    with transaction() as connection:
        return factories.worker(connection)


def intend(order, worker):
    with transaction() as connection:
        return calls.intend(connection, order, worker)


def keep(call, reply, **more):
    with transaction() as connection:
        calls.keep_reply(connection, call, reply, **more)


def fail(call, error="provider_timeout"):
    with transaction() as connection:
        calls.keep_failure(connection, call, error)


def reject(call, error="malformed"):
    with transaction() as connection:
        calls.reject(connection, call, error)


def row(call):
    with transaction() as connection:
        return connection.execute(select(_call).where(_call.c.id == call)).one()


def number_of_calls():
    with transaction() as connection:
        return connection.scalar(text("SELECT count(*) FROM call"))


def set_status(job, status):
    with transaction() as connection:
        factories.set_status(connection, job, status)


def make_older(call, seconds):
    with transaction() as connection:
        age = text("started_at - make_interval(secs => :seconds)").bindparams(seconds=seconds)
        connection.execute(update(_call).where(_call.c.id == call).values(started_at=age))


def end_lease(worker):
    with transaction() as connection:
        past = text("now() - interval '1 second'")
        connection.execute(update(_worker).where(_worker.c.id == worker).values(lease_until=past))


def strike_out(worker):
    end_lease(worker)
    with transaction() as connection:
        workers.reap(connection)


def another_job(name="Grants"):
    """A running job of the project of this name, which is made where it is not there."""
    with transaction() as connection:
        project = factories.project(connection, "title", name=name)
        return factories.job(connection, project, factories.options("sample"))


class TestIntend:
    def test_the_first_intent_is_a_row_before_the_call(self, order, worker):
        before = datetime.now(UTC)
        intent = intend(replace(order, model="openai:asked", parameters={"temperature": 0.2}), worker)
        assert intent == Intent(call_id=intent.call_id)
        stored = row(intent.call_id)
        assert (stored.status, stored.attempts, stored.model) == ("intended", 1, "openai:asked")
        assert stored.parameters == {"temperature": 0.2}
        assert (stored.reply, stored.answered_at) == (None, None)
        assert abs((stored.started_at - before).total_seconds()) < 60

    def test_the_call_says_for_whom_it_is(self, order, worker):
        stored = row(intend(order, worker).call_id)
        assert (stored.call_key, stored.request_key) == ("k", "k")
        assert (stored.job_id, stored.document_id, stored.worker_id) == (order.job_id, order.document_id, worker)
        assert stored.prompt_ids == list(order.prompt_ids)

    def test_an_answered_call_gives_its_reply_and_nothing_is_bought(self, order, worker):
        call = intend(order, worker).call_id
        keep(call, reply := factories.reply())
        before = row(call)
        assert intend(order, worker) == Intent(call_id=call, reply=reply)
        assert row(call) == before
        assert number_of_calls() == 1

    @pytest.mark.parametrize("project", ["Grants", "Another project"])
    def test_an_answer_serves_every_later_job_that_asks_the_same_in_whatever_project(self, order, worker, project):
        call = intend(order, worker).call_id
        keep(call, reply := factories.reply())
        later = replace(order, job_id=another_job(project))
        assert intend(later, register()) == Intent(call_id=call, reply=reply)
        assert row(call).job_id == order.job_id

    def test_another_request_is_another_call(self, order, worker):
        keep(intend(order, worker).call_id, factories.reply())
        assert intend(replace(order, request_key="other"), worker).reply is None
        assert number_of_calls() == 2

    def test_a_call_that_failed_is_made_again(self, order, worker):
        call = intend(order, worker).call_id
        fail(call, "rate_limited")
        assert (row(call).status, row(call).error) == ("failed", "rate_limited")
        assert intend(order, worker) == Intent(call_id=call)
        assert (row(call).status, row(call).attempts, row(call).error) == ("intended", 2, None)

    @pytest.mark.parametrize("status", ["paused", "cancelled", "failed", "completed", "completed_with_errors"])
    def test_a_job_that_does_not_run_starts_no_call(self, order, worker, status):
        set_status(order.job_id, status)
        with pytest.raises(JobStoppedError, match=f"the job is {status}$"):
            intend(order, worker)
        assert number_of_calls() == 0

    def test_a_paused_job_gives_not_even_a_stored_reply(self, order, worker):
        keep(intend(order, worker).call_id, factories.reply())
        set_status(order.job_id, "paused")
        with pytest.raises(JobStoppedError):
            intend(order, worker)

    def test_a_resumed_job_goes_on(self, order, worker):
        set_status(order.job_id, "paused")
        with transaction() as connection:
            workers.end(connection, worker)
            jobs.resume(connection, order.job_id, factories.options(), rules="the rules")
        with pytest.raises(JobStoppedError, match="the job is pending"):
            intend(order, register())
        set_status(order.job_id, "running")
        assert intend(order, register()).call_id

    def test_the_database_refuses_a_second_call_of_the_same_key(self, order, worker, database):
        intend(order, worker)
        with psycopg.connect(database) as other, pytest.raises(psycopg.errors.UniqueViolation):
            other.execute(
                "INSERT INTO call (call_key, request_key, model, parameters, status) "
                "SELECT call_key, request_key, model, parameters, status FROM call"
            )


class TestInFlight:
    def test_what_a_live_worker_is_asking_is_left_to_it(self, order, worker):
        call = intend(order, worker).call_id
        assert intend(order, register()) == Intent(call_id=call, elsewhere=True)
        assert (row(call).attempts, row(call).worker_id) == (1, worker)

    def test_a_worker_that_never_heard_whether_it_was_noted_notes_it_again(self, order, worker):
        call = intend(order, worker).call_id
        assert intend(order, worker) == Intent(call_id=call)
        assert (row(call).attempts, row(call).worker_id) == (2, worker)

    def test_the_others_reply_serves_once_it_is_there(self, order, worker):
        call = intend(order, worker).call_id
        other = register()
        assert intend(order, other).elsewhere
        keep(call, reply := factories.reply())
        assert intend(order, other) == Intent(call_id=call, reply=reply)

    def test_who_was_struck_out_asks_nothing_not_even_for_a_stored_reply(self, order, worker):
        keep(intend(order, worker).call_id, factories.reply())
        strike_out(worker)
        for asked in (order, replace(order, request_key="other")):
            with pytest.raises(WorkerLostError):
                intend(asked, worker)
        assert number_of_calls() == 1

    def test_who_has_to_renew_its_lease_first_is_told_to_look_again(self, order, worker):
        end_lease(worker)
        assert intend(order, worker) == Intent(call_id=0, elsewhere=True)
        assert number_of_calls() == 0
        with transaction() as connection:
            workers.renew(connection, worker)
        assert not intend(order, worker).elsewhere

    @pytest.mark.parametrize("how", ["lease", "gone", "overdue"])
    def test_what_a_dead_worker_was_asking_is_taken_over(self, order, worker, how):
        call = intend(order, worker).call_id
        if how == "lease":
            end_lease(worker)
        elif how == "gone":
            with transaction() as connection:
                workers.end(connection, worker)
        else:
            make_older(call, calls.OVERDUE_SECONDS + 5)
        before, later, other = row(call).started_at, another_job(), register()
        assert intend(replace(order, job_id=later), other) == Intent(call_id=call)
        stored = row(call)
        assert (stored.attempts, stored.worker_id, stored.job_id) == (2, other, later)
        assert stored.started_at > before

    def test_a_call_that_is_not_overdue_yet_is_not_taken_over(self, order, worker):
        make_older(intend(order, worker).call_id, calls.OVERDUE_SECONDS - 60)
        assert intend(order, register()).elsewhere

    def test_a_worker_that_renews_its_lease_keeps_its_calls(self, order, worker):
        intend(order, worker)
        end_lease(worker)
        with transaction() as connection:
            workers.renew(connection, worker)
        assert intend(order, register()).elsewhere


class TestBegin:
    def begin(self, call, order, worker):
        with transaction() as connection:
            calls.begin(connection, call, order.job_id, worker)

    def test_a_call_that_waited_for_its_provider_starts_when_it_goes_out(self, order, worker):
        call = intend(order, worker).call_id
        make_older(call, 60)
        before = row(call).started_at
        self.begin(call, order, worker)
        assert (row(call).started_at - before).total_seconds() > 59

    def test_one_whose_job_was_stopped_in_the_meantime_does_not_go_out(self, order, worker):
        call = intend(order, worker).call_id
        set_status(order.job_id, "paused")
        with pytest.raises(JobStoppedError, match="the job is paused"):
            self.begin(call, order, worker)

    def test_nor_one_whose_worker_was_struck_out(self, order, worker):
        call = intend(order, worker).call_id
        strike_out(worker)
        with pytest.raises(WorkerLostError):
            self.begin(call, order, worker)


class TestRaces:
    def test_of_threads_that_intend_the_same_at_once_exactly_one_buys(self, order):
        together = threading.Barrier(8)
        intents = []

        def go() -> None:
            worker = register()
            together.wait()
            intents.append(intend(order, worker))

        threads = [threading.Thread(target=go) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [intent.elsewhere for intent in intents].count(False) == 1
        assert len({intent.call_id for intent in intents}) == 1
        assert number_of_calls() == 1
        assert row(intents[0].call_id).attempts == 1

    def test_of_threads_that_take_over_at_once_exactly_one_does(self, order, worker):
        call = intend(order, worker).call_id
        end_lease(worker)
        together = threading.Barrier(6)
        intents = []

        def go() -> None:
            mine = register()
            together.wait()
            intents.append(intend(order, mine))

        threads = [threading.Thread(target=go) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [intent.elsewhere for intent in intents].count(False) == 1
        assert row(call).attempts == 2

    def test_of_two_processes_that_intend_the_same_at_once_exactly_one_buys(self, order, python):
        code = f"""
from db import calls
from db.session import transaction
from tests import factories
with transaction() as connection:
    worker = factories.worker(connection)
print("ready", flush=True)
input()
with transaction() as connection:
    print(calls.intend(connection, calls.{order!r}, worker).elsewhere)
"""
        children = [python(code) for _ in range(2)]
        assert [child.line() for child in children] == ["ready"] * 2
        for child in children:
            child.go_on()
        assert sorted(child.end() for child in children) == ["False", "True"]
        assert number_of_calls() == 1

    def test_one_that_intends_while_the_other_is_not_committed_waits_and_gets_its_reply(self, order, worker, database):
        intents = []
        other = register()
        with transaction() as connection:
            first = calls.intend(connection, order, worker)
            second = threading.Thread(target=lambda: intents.append(intend(order, other)))
            second.start()
            _wait_until_one_waits(database)
            calls.keep_reply(connection, first.call_id, reply := factories.reply())
        second.join()
        assert intents == [Intent(call_id=first.call_id, reply=reply)]
        assert row(first.call_id).attempts == 1

    def test_one_that_intends_while_the_reply_is_being_rejected_is_told_to_look_again(self, order, worker, database):
        call = intend(order, worker).call_id
        keep(call, factories.reply("no JSON"))
        intents = []
        with transaction() as connection:
            calls.reject(connection, call, "malformed")
            second = threading.Thread(target=lambda: intents.append(intend(order, worker)))
            second.start()
            _wait_until_one_waits(database)
        second.join()
        assert intents == [Intent(call_id=0, elsewhere=True)]
        assert intend(order, worker).call_id not in (0, call)


def _wait_until_one_waits(database):
    with psycopg.connect(database, autocommit=True) as other:
        for _ in range(500):
            if other.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() != (0,):
                return
            time.sleep(0.01)
    pytest.fail("nobody waits")
