"""The documents that a worker holds of a job: claimed a few at a time, released, set aside, and failing in a row."""

import threading
from typing import Any

import pytest

from db import cells, workers
from db.session import transaction
from tasks import holdings, lease
from tasks.holdings import Holding
from tasks.job_context import JobContext
from tasks.steer_job import reopen_job
from tests import factories
from tests.factories import variable
from tests.openai_server import OpenAIServer
from tests.tasks.jobs_here import context, project, rows, run, wait_until, work, worker_of
from winnow.exceptions import StayingError, WorkerLostError

CLAIMS = "SELECT document_id, worker_id, losses FROM claim ORDER BY document_id"


@pytest.fixture(autouse=True)
def _key(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary-0123456789")


def documents(many: int, *variables: Any) -> None:
    texts = {f"{number:02}.txt": f"Contract {number:02} costs {number + 10} euros." for number in range(many)}
    project(*(variables or ("title", "buyer")), texts=texts)


def ids(claimed: list[Holding]) -> list[int]:
    return [holding.document_id for holding in claimed]


def let_fail(holding: Holding, many: int | None = None) -> None:
    with transaction() as connection:
        for cell in list(holding.cells)[:many]:
            cells.end(connection, cell, "failed", "refused", "the model refused")


# Claiming and releasing


def test_documents_are_claimed_a_few_at_a_time_with_their_open_cells() -> None:
    documents(6)
    with context() as job:
        first = job.holdings.claim(0)
        second = job.holdings.claim(first[-1].document_id)
        assert (ids(first), ids(second)) == ([1, 2, 3, 4], [5, 6])
        assert job.holdings.claim(6) == []
        assert [[cell.variable for cell in one.cells.values()] for one in second] == [["title", "buyer"]] * 2
        assert rows(CLAIMS) == [(document, worker_of(job), 0) for document in range(1, 7)]


def test_workers_that_claim_at_once_get_each_document_once() -> None:
    documents(12)
    with context() as job:
        others = [holdings.Holdings(job.job_id, job.gate, other) for other in leases(job, 3)]
        together, claimed = threading.Barrier(3), []

        def claim(one: holdings.Holdings) -> None:
            together.wait()
            claimed.extend(ids(one.claim(0)))

        threads = [threading.Thread(target=claim, args=(one,)) for one in others]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(claimed) == list(range(1, 13))


def leases(job: JobContext, many: int) -> list[Any]:
    """Leases of other workers, that nobody renews."""

    class Registered:
        def __init__(self) -> None:
            with transaction() as connection:
                self.worker = factories.worker(connection, job.job_id)

    return [Registered() for _ in range(many)]


def test_a_document_whose_cells_have_ended_is_no_longer_held() -> None:
    documents(2)
    with context() as job:
        first, second = job.holdings.claim(0)
        assert job.holdings.of(next(iter(first.cells))) is first
        let_fail(first)
        job.holdings.release(first)
        assert rows(CLAIMS) == [(second.document_id, worker_of(job), 0)]
        with pytest.raises(WorkerLostError):
            job.holdings.of(next(iter(first.cells)))


def test_a_document_with_open_cells_is_free_for_the_next_and_counts_as_lost() -> None:
    documents(1)
    with context() as job:
        (holding,) = job.holdings.claim(0)
        let_fail(holding, 1)
        job.holdings.release(holding)
        assert rows(CLAIMS) == [(1, None, 1)]
        (again,) = job.holdings.claim(0)
        assert (again.losses, len(again.cells)) == (1, 1)


def test_a_document_that_never_ends_is_set_aside_after_the_fifth_time() -> None:
    documents(1)
    with context() as job:
        for _ in range(4):
            (holding,) = job.holdings.claim(0)
            job.holdings.release(holding)
        assert rows("SELECT DISTINCT status FROM cell") == [("pending",)]
        (holding,) = job.holdings.claim(0)
        job.holdings.release(holding)
        assert job.holdings.claim(0) == []

    assert rows("SELECT status, reason, detail FROM cell") == [
        ("failed", "internal_error", "not ended in 5 attempts")
    ] * 2  # fmt: skip


def test_what_was_set_aside_can_be_asked_again(model_server: OpenAIServer) -> None:
    documents(1)
    with context() as job:
        for _ in range(5):
            (holding,) = job.holdings.claim(0)
            job.holdings.release(holding)
    ended = work(job.job)
    assert (ended.status, ended.counts.failed) == ("completed_with_errors", 2)

    reopen_job(ended.id, retry_failed=True)
    assert run().status == "completed"


def test_who_was_struck_out_releases_nothing_of_the_one_that_took_over() -> None:
    documents(1)
    with context() as job:
        (holding,) = job.holdings.claim(0)
        with transaction() as connection:
            workers.end(connection, holding.worker)
            other = factories.worker(connection, job.job_id)
            workers.claim(connection, job.job_id, other, after=0, limit=1)
        job.holdings.release(holding)
        assert rows(CLAIMS) == [(1, other, 0)]


def test_nothing_is_held_when_a_run_has_ended(model_server: OpenAIServer) -> None:
    documents(5)
    run()

    assert rows(CLAIMS) == []
    assert rows("SELECT * FROM worker") == []


def test_what_a_stopped_run_held_is_free_and_does_not_count_as_lost() -> None:
    documents(2)
    with context() as job:
        first, _ = job.holdings.claim(0)
        job.gate.close("the job was paused")
        job.holdings.release(first)

    assert rows(CLAIMS) == [(1, None, 0), (2, None, 0)]


# Failing in a row


def test_documents_that_fail_in_a_row_pause_the_job_and_say_what_to_do(model_server: OpenAIServer) -> None:
    documents(14)
    model_server.configure(fault_variables={"title": "refusal", "buyer": "refusal"})
    with pytest.raises(StayingError) as raised:
        run(slots=1)
    said = str(raised.value)

    assert said.startswith("11 documents in a row failed in every cell (refused 22). See what is wrong with the model")
    assert "--retry-failed" in said
    assert rows("SELECT status, reason FROM job") == [("paused", said)]
    assert rows("SELECT count(DISTINCT document_id) FROM cell WHERE status = 'failed'") == [(11,)]


def test_a_job_paused_for_failing_documents_goes_on_with_the_rest_or_with_all(model_server: OpenAIServer) -> None:
    documents(13, "title")
    model_server.configure(fault_variables={"title": "refusal"})
    with pytest.raises(StayingError):
        run(slots=1)
    model_server.configure(fault_variables={})
    (job,) = rows("SELECT id FROM job")[0]

    reopen_job(job)
    rest = run()
    assert (rest.id, rest.status, rest.counts.failed, rest.counts.extracted) == (job, "completed_with_errors", 11, 2)
    reopen_job(job, retry_failed=True)
    again = run()
    assert (again.id, again.status, again.counts.extracted) == (job, "completed", 13)


def test_a_document_with_one_answer_ends_the_row_of_those_that_failed(model_server: OpenAIServer) -> None:
    documents(22, "title", variable("amount", type="number"))
    model_server.configure(
        fault_variables={"amount": "refusal", "title": {"fault": "refusal", "document": "Contract 0"}}
    )
    job = run(slots=1)  # 10 that fail in every cell, then 12 that fail in one

    assert (job.status, job.counts.failed, job.counts.extracted) == ("completed_with_errors", 32, 12)
    assert rows("SELECT failed_documents FROM job") == [(0,)]


def test_who_was_struck_out_claims_when_it_has_registered_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_EVERY", 0.5)
    documents(1)
    with context() as job:
        lost = worker_of(job)
        rows("DELETE FROM worker RETURNING id")
        wait_until(lambda: job.holdings.claim(0) != [])
        ((_, worker, losses),) = rows(CLAIMS)
        assert (worker > lost, losses) == (True, 0)
