"""The documents that workers claim: each is held by one at most, and is taken over from one that is lost."""

import itertools
import threading

import pytest
from sqlalchemy import select, text

from db import cells, jobs, tables, workers
from db.session import transaction
from tests import factories
from winnow.exceptions import WorkerLostError

_claim = tables.Claim.__table__
_worker = tables.Worker.__table__

CLAIM = """
import time
real = time.time
time.time = lambda: real() + {shift}
from db import workers
from db.session import transaction
with transaction() as connection:
    workers.reap(connection, {job})
    print([claimed.document_id for claimed in workers.claim(connection, {job}, {worker}, after=0, limit=9)])
"""


@pytest.fixture
def job(database):
    """The id of a committed job of five documents with two cells each."""
    with transaction() as connection:
        project = factories.project(connection, "title", "donor")
        for number in range(5):
            factories.document(connection, project.id, f"{number}.pdf")
        return factories.job(connection, project)


@pytest.fixture
def documents(job):
    """The ids of the job's documents in their order."""
    with transaction() as connection:
        return sorted(cells.documents(connection, job))


@pytest.fixture
def two(job):
    """Two workers on the job."""
    with transaction() as connection:
        return [factories.worker(connection, job) for _ in range(2)]


def claim(job, worker, *, after=0, limit=9):
    with transaction() as connection:
        return workers.claim(connection, job, worker, after=after, limit=limit)


def claimed(job, worker, **more):
    return [one.document_id for one in claim(job, worker, **more)]


def losses(job):
    with transaction() as connection:
        rows = connection.execute(select(_claim.c.document_id, _claim.c.losses).where(_claim.c.job_id == job))
        return dict(tuple(row) for row in rows)


def end_lease(worker):
    with transaction() as connection:
        past = text("now() - interval '1 second'")
        connection.execute(_worker.update().where(_worker.c.id == worker).values(lease_until=past))


def reap(job=None):
    with transaction() as connection:
        return workers.reap(connection, job)


def claimable(job):
    with transaction() as connection:
        return workers.claimable(connection, job)


def end_cells(job, document, status, *, leave=0):
    """End a document's cells, but for some."""
    with transaction() as connection:
        open_cells = [cell for cell in factories.pending(connection, job) if cell.document_id == document]
        for cell in open_cells[: len(open_cells) - leave]:
            if status == "extracted":
                factories.answer(connection, cell.id)
            else:
                cells.end(connection, cell.id, status, "malformed", "it is so")


def release(job, worker, document):
    with transaction() as connection:
        return workers.release(connection, job, worker, document)


class TestClaim:
    def test_documents_come_in_the_order_of_the_plan_as_many_as_asked_for(self, job, documents, two):
        assert claim(job, two[0], limit=2) == [workers.Claimed(document_id, 0) for document_id in documents[:2]]
        assert claimed(job, two[0], limit=9) == documents[2:]

    def test_only_those_after_the_last_one_are_claimed(self, job, documents, two):
        assert claimed(job, two[0], after=documents[2]) == documents[3:]
        assert claimed(job, two[0]) == documents[:3]

    def test_what_is_held_is_claimed_by_nobody_not_even_by_its_holder(self, job, documents, two):
        assert claimed(job, two[0]) == documents
        assert [claimed(job, worker) for worker in two] == [[], []]
        assert not claimable(job)

    def test_a_document_with_nothing_left_to_do_is_not_claimed(self, job, documents, two):
        end_cells(job, documents[0], "extracted")
        end_cells(job, documents[1], "failed")
        end_cells(job, documents[2], "skipped", leave=1)
        assert claimed(job, two[0]) == documents[2:]

    def test_a_document_whose_row_is_to_be_checked_is_claimed(self, job, documents, two):
        for document in documents:
            end_cells(job, document, "extracted")
        assert not claimable(job)
        with transaction() as connection:
            connection.execute(text("UPDATE cell SET checked = false WHERE document_id = :d"), {"d": documents[3]})
        assert claimable(job)
        assert claimed(job, two[0]) == [documents[3]]

    def test_each_job_has_its_own_claims_on_a_document(self, job, documents, two):
        with transaction() as connection:
            project = factories.projects.get(connection, "Grants")
            other = factories.job(connection, project, factories.options("sample"))
            theirs = factories.worker(connection, other)
        assert claimed(job, two[0]) == claimed(other, theirs) == documents

    def test_a_job_without_cells_has_nothing_to_claim(self, database):
        with transaction() as connection:
            empty = factories.empty_job(connection, factories.project(connection, "title"))
            worker = factories.worker(connection, empty)
        assert not claimable(empty)
        assert claimed(empty, worker) == []

    def test_who_was_struck_out_claims_nothing(self, job, two):
        end_lease(two[0])
        reap(job)
        with pytest.raises(WorkerLostError):
            claim(job, two[0])


class TestManyAtOnce:
    @pytest.mark.parametrize("limit", [1, 2])
    def test_threads_that_claim_at_once_share_the_documents_without_overlap(self, job, documents, limit):
        together = threading.Barrier(6)
        shares = []

        def go() -> None:
            with transaction() as connection:
                worker = factories.worker(connection, job)
            together.wait()
            mine = []
            while found := claimed(job, worker, limit=limit):
                mine += found
            shares.append(mine)

        threads = [threading.Thread(target=go) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(itertools.chain(*shares)) == documents

    def test_who_claims_while_another_has_not_committed_waits_and_gets_others(self, job, documents, two):
        found = []
        with transaction() as connection:
            first = workers.claim(connection, job, two[0], after=0, limit=2)
            second = threading.Thread(target=lambda: found.extend(claimed(job, two[1], limit=2)))
            second.start()
            second.join(0.2)
            assert second.is_alive()
        second.join()
        assert [one.document_id for one in first] + found == documents[:4]

    def test_claims_on_different_jobs_do_not_wait_for_each_other(self, job, documents, two):
        with transaction() as connection:
            other = factories.job(
                connection, factories.projects.get(connection, "Grants"), factories.options("sample")
            )  # fmt: skip
            theirs = factories.worker(connection, other)
        with transaction() as connection:
            workers.claim(connection, job, two[0], after=0, limit=2)
            assert claimed(other, theirs) == documents


class TestTakeover:
    def test_what_a_lost_worker_held_is_free_and_counts_as_lost(self, job, documents, two):
        lost, other = two
        claim(job, lost, limit=2)
        end_lease(lost)
        assert reap(job) == 1
        assert claim(job, other, limit=3) == [
            workers.Claimed(documents[0], 1), workers.Claimed(documents[1], 1), workers.Claimed(documents[2], 0),
        ]  # fmt: skip

    def test_every_worker_that_dies_with_a_document_counts(self, job, documents):
        for number in range(4):
            with transaction() as connection:
                worker = factories.worker(connection, job)
            assert claim(job, worker, limit=1) == [workers.Claimed(documents[0], number)]
            end_lease(worker)
            assert reap() == 1

    def test_a_lease_that_has_ended_frees_nothing_until_the_worker_is_struck_out(self, job, two):
        claim(job, two[0])
        end_lease(two[0])
        assert claimed(job, two[1]) == []
        reap(job)
        assert claimable(job)

    def test_a_worker_that_ends_gives_all_up_and_nothing_counts_as_lost(self, job, documents, two):
        claim(job, two[0])
        with transaction() as connection:
            workers.end(connection, two[0])
        assert claim(job, two[1]) == [workers.Claimed(document_id, 0) for document_id in documents]

    def test_threads_that_take_over_at_once_count_one_loss(self, job, documents, two):
        claim(job, two[0])
        end_lease(two[0])
        together = threading.Barrier(6)

        def go(look) -> None:
            together.wait()
            with transaction() as connection:
                look(connection, job)

        threads = [threading.Thread(target=go, args=(look,)) for look in (workers.reap, workers.alive) * 3]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert losses(job) == dict.fromkeys(documents, 1)

    @pytest.mark.parametrize("shift", [-3600, 3600], ids=["slow", "fast"])
    def test_nobody_takes_over_before_the_lease_has_ended_whatever_its_clock_says(
        self, job, documents, two, python, shift
    ):
        """R-09, and after it has ended everybody does."""
        claim(job, two[0])
        asks = CLAIM.format(job=job, worker=two[1], shift=shift)
        assert python(asks).end() == "[]"
        end_lease(two[0])
        assert python(asks).end() == str(documents)


class TestRelease:
    def test_a_document_that_is_done_is_given_up_for_good(self, job, documents, two):
        claim(job, two[0], limit=1)
        end_cells(job, documents[0], "extracted")
        assert release(job, two[0], documents[0]) == workers.Left(answered=2, failed=0, open=0)
        assert losses(job) == {}
        assert claimed(job, two[1]) == documents[1:]

    def test_one_with_open_cells_is_free_for_the_next_and_counts_as_lost_once_more(self, job, documents, two):
        claim(job, two[0], limit=1)
        end_cells(job, documents[0], "failed", leave=1)
        assert release(job, two[0], documents[0]) == workers.Left(answered=0, failed=1, open=1)
        assert claim(job, two[1], limit=1) == [workers.Claimed(documents[0], 1)]
        assert release(job, two[1], documents[0]).open == 1
        assert losses(job) == {documents[0]: 2}

    def test_cells_that_were_skipped_are_neither_answered_nor_failed(self, job, documents, two):
        claim(job, two[0], limit=1)
        end_cells(job, documents[0], "skipped")
        assert release(job, two[0], documents[0]) == workers.Left(answered=0, failed=0, open=0)

    def test_one_that_was_struck_out_gives_up_nothing_of_whoever_took_over(self, job, documents, two):
        claim(job, two[0], limit=1)
        end_lease(two[0])
        reap(job)
        claim(job, two[1], limit=1)
        release(job, two[0], documents[0])
        assert losses(job) == {documents[0]: 1}
        assert claimed(job, two[1]) == documents[1:]

    def test_the_other_documents_stay_held(self, job, documents, two):
        claim(job, two[0])
        release(job, two[0], documents[1])
        assert claimed(job, two[1]) == [documents[1]]


class TestCountFailed:
    def count(self, job, *failed):
        with transaction() as connection:
            return [workers.count_failed(connection, job, failed=one) for one in failed]

    def test_documents_that_failed_are_counted_in_a_row(self, job):
        assert self.count(job, True, True, True) == [1, 2, 3]

    def test_one_that_did_not_fail_begins_the_row_anew(self, job):
        assert self.count(job, True, True, False, False, True) == [1, 2, 0, 0, 1]

    def test_workers_count_together_and_lose_no_document(self, job):
        threads = [threading.Thread(target=self.count, args=(job, *[True] * 5)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert self.count(job, True) == [21]

    def test_a_job_that_is_resumed_or_reopened_begins_anew(self, job):
        self.count(job, True, True)
        with transaction() as connection:
            jobs.resume(connection, job, factories.options(), rules="r")
        assert self.count(job, True, True) == [1, 2]
        with transaction() as connection:
            jobs.cancel(connection, job, "by hand")
            jobs.reopen(connection, job)
        assert self.count(job, True) == [1]
