import json
import threading
import time
from datetime import UTC, datetime

import psycopg
import pytest
from sqlalchemy import select, text

from db import calls, cells, documents, extractions, jobs, tables
from db.session import transaction
from tests import factories
from tests.factories import MODEL, key, pending
from winnow.calls import Intent, Reply, Usage
from winnow.exceptions import JobStoppedError

_call, _cell = tables.Call.__table__, tables.Cell.__table__


@pytest.fixture
def cell(database):
    """The id of a pending cell of a running job: one document, one variable."""
    with transaction() as connection:
        project = factories.project(connection, "title")
        factories.document(connection, project.id)
        job = factories.job(connection, project)
        return pending(connection, job)[0].id


def intend(cell, model=MODEL, parameters="{}"):
    with transaction() as connection:
        return calls.intend(connection, cell, model=model, parameters=parameters)


def keep(call_id, reply, error=None):
    with transaction() as connection:
        calls.keep_reply(connection, call_id, reply, error=error)


def fail(call_id, error):
    with transaction() as connection:
        calls.keep_failure(connection, call_id, error)


def row(call_id):
    with transaction() as connection:
        return connection.execute(select(_call).where(_call.c.id == call_id)).one()


def calls_reply(call_id):
    stored = row(call_id).reply
    return Reply(raw=stored["raw"], text=stored["text"], refusal=stored["refusal"])


def number_of_calls():
    with transaction() as connection:
        return connection.scalar(text("SELECT count(*) FROM call"))


def job_of(cell):
    with transaction() as connection:
        return connection.scalar(select(_cell.c.job_id).where(_cell.c.id == cell))


def set_status(job, status):
    with transaction() as connection:
        jobs.set_status(connection, job, status)


class TestIntend:
    def test_the_first_intent_is_a_row_before_the_call(self, cell):
        before = datetime.now(UTC)
        intent = intend(cell, "openai:asked", '{"temperature": 0.2}')
        assert intent == Intent(call_id=intent.call_id)
        stored = row(intent.call_id)
        assert (stored.status, stored.attempts, stored.model) == ("intended", 1, "openai:asked")
        assert stored.parameters == {"temperature": 0.2}
        assert (stored.reply, stored.answered_at) == (None, None)
        assert abs((stored.started_at - before).total_seconds()) < 60

    def test_the_call_has_the_keys_of_its_cell(self, cell):
        intent = intend(cell)
        with transaction() as connection:
            keys = connection.execute(select(_cell.c.call_key, _cell.c.request_key).where(_cell.c.id == cell)).one()
        assert (row(intent.call_id).call_key, row(intent.call_id).request_key) == tuple(keys)

    def test_an_intent_repeated_after_a_kill_is_the_same_call_with_another_attempt(self, cell):
        first = intend(cell)
        for attempt in (2, 3):
            assert intend(cell) == first
            assert row(first.call_id).attempts == attempt
        assert number_of_calls() == 1

    def test_a_repeated_intent_has_the_time_of_its_last_attempt(self, cell):
        call = intend(cell).call_id
        first = row(call).started_at
        intend(cell)
        assert row(call).started_at > first

    def test_a_call_that_failed_is_made_again(self, cell):
        call = intend(cell).call_id
        fail(call, "rate_limited")
        assert (row(call).status, row(call).error) == ("failed", "rate_limited")
        assert intend(cell) == Intent(call_id=call)
        assert (row(call).status, row(call).attempts, row(call).error) == ("intended", 2, None)

    def test_an_answered_call_gives_its_reply_and_nothing_is_bought(self, cell):
        call = intend(cell).call_id
        reply = factories.reply()
        keep(call, reply)
        before = row(call)
        assert intend(cell) == Intent(call_id=call, reply=reply)
        assert row(call) == before
        assert number_of_calls() == 1

    def test_an_answer_serves_every_later_job_that_asks_the_same(self, cell):
        call = intend(cell).call_id
        reply = factories.reply()
        keep(call, reply)
        with transaction() as connection:
            project = factories.project(connection, "title")
            later = pending(connection, factories.job(connection, project, factories.options("sample")))[0].id
        assert intend(later) == Intent(call_id=call, reply=reply)

    def test_another_model_is_another_call(self, cell):
        keep(intend(cell).call_id, factories.reply())
        with transaction() as connection:
            project = factories.project(connection, "title")
            other = factories.job(connection, project, factories.options(model="openai:other"))
            cell_of_other = pending(connection, other)[0].id
        assert intend(cell_of_other, "openai:other").reply is None

    @pytest.mark.parametrize("status", ["paused", "cancelled", "completed", "completed_with_errors"])
    def test_a_job_that_does_not_run_starts_no_call(self, cell, status):
        set_status(job_of(cell), status)
        with pytest.raises(JobStoppedError, match=f"the job is {status}$"):
            intend(cell)
        assert number_of_calls() == 0

    def test_a_paused_job_gives_not_even_a_stored_reply(self, cell):
        keep(intend(cell).call_id, factories.reply())
        set_status(job_of(cell), "paused")
        with pytest.raises(JobStoppedError):
            intend(cell)

    def test_a_resumed_job_goes_on(self, cell):
        job = job_of(cell)
        set_status(job, "paused")
        with transaction() as connection:
            jobs.resume(connection, job, rules="the rules", flow_run_id=None)
        assert intend(cell).reply is None

    def test_a_cell_that_failed_starts_no_call(self, cell):
        with transaction() as connection:
            cells.fail(connection, cell, "malformed", "it is so")
        assert intend(cell) is None
        assert number_of_calls() == 0

    def test_a_cell_that_was_extracted_starts_no_call(self, cell):
        with transaction() as connection:
            factories.answer(connection, cell)
        assert intend(cell) is None
        assert number_of_calls() == 1

    def test_two_that_intend_the_same_at_once_share_one_call(self, cell):
        """One of two real connections waits for the other, and both get the same row."""
        together = threading.Barrier(8)
        intents = []

        def go() -> None:
            together.wait()
            intents.append(intend(cell))

        threads = [threading.Thread(target=go) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(intents) == 8
        assert len(set(intents)) == 1
        assert number_of_calls() == 1
        assert row(intents[0].call_id).attempts == 8

    def test_one_that_intends_while_the_other_is_not_committed_waits_and_adds_no_call(self, cell, database):
        intents = []
        with transaction() as connection:
            first = calls.intend(connection, cell, model=MODEL, parameters="{}")
            second = threading.Thread(target=lambda: intents.append(intend(cell)))
            second.start()
            _wait_until_one_waits(database)
            calls.keep_reply(connection, first.call_id, reply := factories.reply())
        second.join()
        assert intents == [Intent(call_id=first.call_id, reply=reply)]
        assert row(first.call_id).attempts == 1

    def test_the_database_refuses_a_second_call_of_the_same_key(self, cell, database):
        intend(cell)
        with psycopg.connect(database) as other, pytest.raises(psycopg.errors.UniqueViolation):
            other.execute(
                "INSERT INTO call (call_key, request_key, model, parameters, status) "
                "SELECT call_key, request_key, model, parameters, status FROM call"
            )


def _wait_until_one_waits(database):
    with psycopg.connect(database, autocommit=True) as other:
        for _ in range(500):
            if other.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() != (0,):
                return
            time.sleep(0.01)
    pytest.fail("nobody waits")


class TestKeepReply:
    @pytest.mark.parametrize(
        "reply",
        [
            Reply(raw={}, text=""),
            Reply(raw={"a": [1, 2.5, None, True, "x"]}, text="{}", finish_reason="length", refusal=True),
            Reply(raw={"z": 1, "a": 2}, text="x", usage=Usage(prompt_tokens=2_000_000_000), seconds=0.1),
            Reply(raw={"content": "NUL \0 here"}, text="a \0 b"),
            Reply(raw={"content": "half of a pair \ud83d, \udc00\ud800"}, text="\udfff alone"),
            Reply(raw={"content": "\\u0000 \\ud800 written out, \x7f \u2028"}, text="日本語 🙂"),
            Reply(raw={"\0key": {"\ud800": 1}}, text="x"),
            Reply(raw={"logprobs": [1e308, 5e-324, 0.1, 10**40]}, text="x"),
            Reply(raw={"long": "x" * 3_000_000}, text="x"),
        ],
        ids=["empty", "cut short", "counted", "NUL", "surrogates", "escapes", "keys", "numbers", "long"],
    )
    def test_a_reply_comes_back_as_it_came(self, cell, reply):
        call = intend(cell).call_id
        keep(call, reply)
        assert intend(cell) == Intent(call_id=call, reply=reply)

    def test_numbers_that_json_does_not_know_are_kept_as_text(self, cell):
        call = intend(cell).call_id
        keep(call, Reply(raw={"logprobs": [float("-inf"), float("inf"), float("nan"), 0.5]}, text="x"))
        assert intend(cell).reply == Reply(raw={"logprobs": ["-Infinity", "Infinity", "NaN", 0.5]}, text="x")

    def test_the_order_of_the_raw_reply_is_kept(self, cell):
        keep(intend(cell).call_id, Reply(raw={"z": 1, "a": {"y": 1, "b": 2}}, text="x"))
        assert json.dumps(intend(cell).reply.raw) == '{"z": 1, "a": {"y": 1, "b": 2}}'

    def test_an_unreadable_reply_is_kept_with_its_reason(self, cell):
        call = intend(cell).call_id
        reply = factories.reply("no JSON")
        keep(call, reply, error="malformed")
        stored = row(call)
        assert (stored.status, stored.error, stored.prompt_tokens) == ("unusable", "malformed", 100)
        assert stored.reply["raw"] == reply.raw
        assert stored.answered_at is not None

    def test_a_reply_is_kept_when_its_job_has_stopped_meanwhile(self, cell):
        call = intend(cell).call_id
        set_status(job_of(cell), "cancelled")
        keep(call, factories.reply())
        assert row(call).status == "answered"

    def test_a_failure_does_not_take_a_reply_away(self, cell):
        call = intend(cell).call_id
        reply = factories.reply()
        keep(call, reply)
        fail(call, "provider_timeout")
        assert intend(cell) == Intent(call_id=call, reply=reply)

    def test_a_reply_after_a_failure_is_the_answer(self, cell):
        call = intend(cell).call_id
        fail(call, "provider_timeout")
        keep(call, reply := factories.reply())
        assert (row(call).status, row(call).error) == ("answered", None)
        assert intend(cell).reply == reply

    @pytest.mark.parametrize("error", [None, "malformed"])
    def test_of_two_bought_at_once_the_first_answer_stays(self, cell, error):
        call = intend(cell).call_id
        intend(cell)
        keep(call, first := factories.reply("first"))
        keep(call, factories.reply("second"), error=error)
        assert intend(cell) == Intent(call_id=call, reply=first)

    def test_of_two_bought_at_once_the_answer_replaces_the_unreadable_one(self, cell):
        call = intend(cell).call_id
        intend(cell)
        keep(call, factories.reply("no JSON"), error="malformed")
        keep(call, second := factories.reply("second"))
        assert (row(call).status, row(call).error) == ("answered", None)
        assert intend(cell).reply == second

    @pytest.mark.parametrize("content", ["an answer", "NUL \0, \ud800", '"quoted" \\u0041'])
    def test_a_stored_answer_that_cannot_be_read_after_all_becomes_unusable(self, cell, content):
        call = intend(cell).call_id
        keep(call, Reply(raw={"z": 0.1, "a": content}, text=content, usage=Usage(prompt_tokens=5)))
        keep(call, intend(cell).reply, error="missing_answer")
        assert (row(call).status, row(call).error) == ("unusable", "missing_answer")
        assert intend(cell).reply.text == content


class TestRepairs:
    def test_a_request_with_unreadable_replies_gets_a_fresh_key_each_time(self, cell):
        with transaction() as connection:
            project = factories.project(connection, "title")
            request = connection.scalar(select(_cell.c.request_key).where(_cell.c.id == cell))
            assert cells.repairs(connection, [request]) == {}
            factories.make_unusable(connection, cell)
            assert cells.repairs(connection, [request, "another"]) == {request: 1}

            second = factories.planned(connection, project, factories.options())[0]
            assert second.request_key == request
            assert second.call_key not in (request, "")
            job = factories.job(connection, project)
            factories.make_unusable(connection, pending(connection, job)[0].id)
            assert cells.repairs(connection, [request]) == {request: 2}

            third = factories.planned(connection, project, factories.options())[0]
            assert third.request_key == request
            assert len({request, second.call_key, third.call_key}) == 3

    def test_the_repair_is_a_new_call_and_the_bad_reply_stays(self, cell):
        with transaction() as connection:
            project = factories.project(connection, "title")
            bad = factories.make_unusable(connection, cell)
            again = pending(connection, factories.job(connection, project))[0].id
            assert factories.answer(connection, again) != bad
        assert row(bad).status == "unusable"
        assert row(bad).reply["text"] == "no JSON"

    def test_failed_and_answered_calls_are_no_repairs(self, cell):
        call = intend(cell).call_id
        fail(call, "provider_timeout")
        with transaction() as connection:
            assert cells.repairs(connection, [row(call).request_key]) == {}
        keep(call, factories.reply())
        with transaction() as connection:
            assert cells.repairs(connection, [row(call).request_key]) == {}

    def test_the_key_of_a_repair_depends_on_nothing_but_the_count(self, cell):
        with transaction() as connection:
            project = factories.project(connection, "title")
            stored = documents.of_project(connection, project.id)[0]
            prompt = factories.projects.prompts(connection, project.id)[0]
        keys = [key(project, factories.options(), stored, prompt, repair) for repair in (0, 1, 2, 1)]
        assert keys[1] == keys[3]
        assert len(set(keys)) == 3


class TestSettleAnswered:
    def settle(self, job):
        with transaction() as connection:
            return cells.settle_answered(connection, job)

    def later_job(self, **more):
        with transaction() as connection:
            project = factories.project(connection, "title")
            return factories.job(connection, project, factories.options(**more))

    def counts(self, job):
        with transaction() as connection:
            return jobs.counts(connection, job)

    @pytest.mark.parametrize(("flags", "status"), [((), "extracted"), (("low_confidence",), "flagged")])
    def test_a_cell_whose_call_was_read_before_is_settled_without_a_call(self, cell, flags, status):
        with transaction() as connection:
            factories.answer(connection, cell, factories.extraction("Ada", *flags))
        later = self.later_job()
        assert self.settle(later) == 1
        counts = self.counts(later)
        assert (counts.total, counts.pending, getattr(counts, status)) == (1, 0, 1)
        assert number_of_calls() == 1

    def test_settling_twice_settles_nothing_more(self, cell):
        with transaction() as connection:
            factories.answer(connection, cell)
        later = self.later_job()
        assert (self.settle(later), self.settle(later)) == (1, 0)

    def test_an_answer_that_nobody_has_read_is_not_settled(self, cell):
        keep(intend(cell).call_id, factories.reply())
        later = self.later_job()
        assert self.settle(later) == 0
        assert self.counts(later).pending == 1

    def test_an_intent_or_failure_is_not_settled(self, cell):
        call = intend(cell).call_id
        later = self.later_job()
        assert self.settle(later) == 0
        fail(call, "provider_timeout")
        assert self.settle(later) == 0

    def test_an_answer_that_became_unusable_is_not_settled(self, cell):
        with transaction() as connection:
            call = factories.answer(connection, cell)
        later = self.later_job()
        keep(call, calls_reply(call), error="missing_answer")
        assert self.settle(later) == 0

    def test_another_models_answer_is_not_settled(self, cell):
        with transaction() as connection:
            factories.answer(connection, cell)
        assert self.settle(self.later_job(model="openai:other")) == 0

    def test_a_reading_under_another_threshold_is_not_settled_but_nothing_is_bought(self, cell):
        """The threshold is no part of what a model is asked, but of how its answer is read."""
        with transaction() as connection:
            factories.answer(connection, cell)
            project = factories.project(connection, factories.variable("title", confidence_threshold=0.95))
            later = factories.job(connection, project)
            again = pending(connection, later)[0].id
        assert self.settle(later) == 0
        assert intend(again).reply is not None
        assert number_of_calls() == 1

    def test_a_cell_that_ended_keeps_its_end(self, cell):
        with transaction() as connection:
            call = intend(cell).call_id
            work = cells.work(connection, cell)
            calls.keep_reply(connection, call, factories.reply())
            cells.fail(connection, cell, "internal_error", "it is so")
            extractions.save(
                connection, factories.extraction(), cell_id=cell, call_id=call,
                document_id=work.document_id, prompt_id=work.prompt_id,
            )  # fmt: skip
        assert self.settle(job_of(cell)) == 0
        assert self.counts(job_of(cell)).failed == 1

    def test_a_twin_with_the_same_text_is_asked_for_its_own_place(self, database):
        """Two files with different bytes and one text share a call, but each has its own extraction."""
        with transaction() as connection:
            project = factories.project(connection, "title")
            factories.document(connection, project.id, "a.pdf", text="same", data="1")
            factories.document(connection, project.id, "b.pdf", text="same", data="2")
            job = factories.job(connection, project)
            first, second = pending(connection, job)
            call = factories.answer(connection, first.id)
            assert cells.settle_answered(connection, job) == 0
            intent = calls.intend(connection, second.id, model=MODEL, parameters="{}")
        assert intent.call_id == call
        assert intent.reply is not None
