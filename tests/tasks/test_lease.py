"""A worker's lease: it runs on while the worker lives, and is given up when it ends."""

import time

import pytest

from db import calls, workers
from db.session import engine, transaction
from tasks import lease
from tasks.job_context import opened
from tasks.lease import leased
from tasks.plan_job import plan_job
from tests import factories
from tests.factories import options
from tests.tasks.jobs_here import project, rows
from winnow.calls import Intent

pytestmark = pytest.mark.usefixtures("database")


def left(worker: int) -> float | None:
    """Seconds that the lease still runs; None where it was given up."""
    found = rows("SELECT extract(epoch FROM lease_until - now()) FROM worker WHERE id = :worker", worker=worker)
    return float(found[0][0]) if found else None


def test_a_worker_has_a_lease_of_its_own_while_the_block_runs() -> None:
    with leased() as one, leased() as other:
        assert one != other
        for worker in (one, other):
            assert workers.LEASE_SECONDS - 5 < (left(worker) or 0) <= workers.LEASE_SECONDS
    assert (left(one), left(other)) == (None, None)


def test_the_lease_is_renewed_while_the_block_runs_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "LEASE_SECONDS", 1)
    monkeypatch.setattr(lease, "_EVERY", 0.1)
    with leased() as worker:
        time.sleep(1.5)
        assert (left(worker) or 0) > 0.5
    assert left(worker) is None


def test_a_lease_that_could_not_be_renewed_is_renewed_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_EVERY", 0.1)
    with leased() as worker:
        before = left(worker) or 0
        engine().dispose()
        rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
             "WHERE datname = current_database() AND pid <> pg_backend_pid()")  # fmt: skip
        time.sleep(0.5)
        assert (left(worker) or 0) > before - 0.3


def test_a_lease_is_given_up_by_a_block_that_breaks_off() -> None:
    with pytest.raises(ValueError, match="broken"), leased() as worker:
        raise ValueError("broken")
    assert left(worker) is None


def test_whoever_holds_a_job_ends_the_leases_of_those_who_died_with_its_calls_in_flight(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary-0123456789")
    project("title", texts={"a.txt": "A text."})
    job = plan_job("Grants", options())
    with transaction() as connection:
        factories.intend(connection, factories.pending(connection, job.id)[0].id)
        of_another_job = workers.register(connection)
    (dead,) = rows("SELECT worker_id FROM call")[0]
    with opened(job, 1) as context:
        assert left(dead) is None
        assert left(of_another_job) is not None
        with transaction() as connection:
            (call,) = rows("SELECT * FROM call")
            order = calls.Order(
                request_key=call.request_key, job_id=job.id, document_id=call.document_id, prompt_ids=(), model="m",
                parameters={},
            )  # fmt: skip
            assert calls.intend(connection, order, context.worker) == Intent(call_id=call.id)
