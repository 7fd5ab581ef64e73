"""The leases of workers, which go by the database's clock alone."""

import pytest
from sqlalchemy import select, text

from db import tables, workers
from db.session import transaction
from tests import factories

_worker = tables.Worker.__table__

RENEW = """
import time
real = time.time
time.time = lambda: real() + {shift}
from db import workers
from db.session import transaction
with transaction() as connection:
    print(workers.renew(connection, {worker}), workers.reap(connection))
"""


@pytest.fixture
def job(connection):
    """The id of a job, in the test's own transaction."""
    return factories.empty_job(connection, factories.project(connection, "title"))


def lease(connection, worker):
    """How long the lease runs on, in seconds; None where there is none."""
    left = text("extract(epoch FROM lease_until - clock_timestamp())")
    found = connection.scalar(select(left).select_from(_worker).where(_worker.c.id == worker))
    return None if found is None else float(found)


def end_lease(connection, *ids):
    past = text("now() - interval '1 hour'")
    connection.execute(_worker.update().where(_worker.c.id.in_(ids)).values(lease_until=past))


def is_fresh(connection, worker):
    return workers.LEASE_SECONDS - 5 < lease(connection, worker) <= workers.LEASE_SECONDS


def test_a_new_worker_has_a_fresh_lease_and_says_where_it_runs(connection, job):
    worker = workers.register(connection, job, "host:7")
    assert is_fresh(connection, worker)
    stored = connection.execute(select(_worker).where(_worker.c.id == worker)).one()
    assert (stored.job_id, stored.name) == (job, "host:7")


def test_every_worker_is_another_even_after_the_first_is_gone(connection, job):
    first = factories.worker(connection, job)
    workers.end(connection, first)
    assert factories.worker(connection, job) > first


def test_a_renewed_lease_runs_on_from_now_and_the_others_do_not(connection, job):
    renewed, other = factories.worker(connection, job), factories.worker(connection, job)
    end_lease(connection, renewed, other)
    assert workers.renew(connection, renewed)
    assert is_fresh(connection, renewed)
    assert lease(connection, other) < -3590


def test_a_lease_runs_from_when_it_is_renewed_not_from_when_the_transaction_began(connection, job):
    worker = factories.worker(connection, job)
    connection.execute(text("SELECT pg_sleep(0.2)"))
    workers.renew(connection, worker)
    assert lease(connection, worker) > workers.LEASE_SECONDS - 0.2


def test_a_lease_that_was_given_up_is_not_renewed(connection, job):
    worker = factories.worker(connection, job)
    assert workers.exists(connection, worker)
    workers.end(connection, worker)
    assert not workers.renew(connection, worker)
    assert not workers.exists(connection, worker)
    assert lease(connection, worker) is None


def test_who_was_struck_out_cannot_renew_and_does_not_exist(connection, job):
    worker = factories.worker(connection, job)
    end_lease(connection, worker)
    assert workers.reap(connection) == 1
    assert not workers.renew(connection, worker)
    assert not workers.exists(connection, worker)


def test_a_job_that_is_withdrawn_takes_its_workers_with_it(connection, job):
    worker = factories.worker(connection, job)
    connection.execute(text("DELETE FROM job"))
    assert not workers.exists(connection, worker)


class TestReap:
    def test_only_those_whose_lease_has_ended_are_struck_out(self, connection, job):
        good, gone = factories.worker(connection, job), factories.worker(connection, job)
        end_lease(connection, gone)
        assert [workers.reap(connection) for _ in range(2)] == [1, 0]
        assert (workers.exists(connection, good), workers.exists(connection, gone)) == (True, False)

    def test_one_job_can_be_reaped_by_itself(self, connection, job):
        other = factories.empty_job(connection, factories.project(connection, name="Other"))
        ids = [factories.worker(connection, of) for of in (job, other)]
        end_lease(connection, *ids)
        assert [workers.reap(connection, job), workers.reap(connection)] == [1, 1]

    def test_one_that_renews_its_lease_just_now_is_spared(self, database):
        with transaction() as connection:
            worker = factories.worker(
                connection, factories.empty_job(connection, factories.project(connection, "title"))
            )
            end_lease(connection, worker)
        with transaction() as renewing:
            workers.renew(renewing, worker)
            with transaction() as reaping:
                assert workers.reap(reaping) == 0
        with transaction() as connection:
            assert workers.reap(connection) == 0
            assert workers.exists(connection, worker)


class TestTheClockOfAProcess:
    """R-09: nobody's lease ends early, or late, for a worker whose clock is wrong."""

    @pytest.mark.parametrize("shift", [-3600, 3600], ids=["slow", "fast"])
    def test_one_an_hour_off_renews_as_long_as_others_and_ends_nobodys_lease(self, database, python, shift):
        with transaction() as connection:
            job = factories.empty_job(connection, factories.project(connection, "title"))
            mine, other = factories.worker(connection, job), factories.worker(connection, job)
        assert python(RENEW.format(shift=shift, worker=mine)).end() == "True 0"
        with transaction() as connection:
            assert is_fresh(connection, mine)
            assert workers.exists(connection, other)
            end_lease(connection, other)
        assert python(RENEW.format(shift=shift, worker=mine)).end() == "True 1"
