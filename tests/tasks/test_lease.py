"""A worker's lease: it runs on while the worker lives, is given up when it ends, and is another once it was lost."""

import threading
from contextlib import ExitStack
from typing import Any

import pytest

from db import workers
from db.session import transaction
from tasks import lease
from tasks.lease import leased
from tests import factories
from tests.conftest import Server
from tests.tasks.jobs_here import break_connections, database_away, rows, wait_until

SIGN_OF_LIFE = "SELECT pg_try_advisory_xact_lock(hashtextextended('winnow worker', :worker))"


@pytest.fixture
def job(database: str) -> int:
    with transaction() as connection:
        return factories.job(connection, factories.project(connection, "title"))


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases are renewed all the time."""
    monkeypatch.setattr(lease, "_EVERY", 0.05)
    monkeypatch.setattr(lease, "_AGAIN", 0.05)


def left(worker: int) -> float | None:
    """Seconds that the lease still runs; None where it was given up."""
    found = rows("SELECT extract(epoch FROM lease_until - clock_timestamp()) FROM worker WHERE id = :id", id=worker)
    return float(found[0][0]) if found else None


def renewals(worker: int, many: int) -> None:
    """Wait until a lease was renewed so often."""
    seen: set[Any] = set()

    def renewed() -> bool:
        seen.update(rows("SELECT lease_until FROM worker WHERE id = :id", id=worker))
        return len(seen) > many

    wait_until(renewed)


def test_every_worker_has_a_lease_of_its_own_while_the_block_runs(job: int) -> None:
    with leased(job) as one, leased(job) as other:
        assert one.worker != other.worker
        for worker in (one.worker, other.worker):
            assert workers.LEASE_SECONDS - 5 < (left(worker) or 0) <= workers.LEASE_SECONDS
    assert (left(one.worker), left(other.worker)) == (None, None)


def test_the_lease_is_renewed_while_the_block_runs_and_no_longer(job: int, often: None) -> None:
    with leased(job) as mine:
        renewals(mine.worker, 2)
    assert left(mine.worker) is None
    assert not [thread for thread in threading.enumerate() if thread.name == "winnow-lease"]


def test_a_lease_is_given_up_by_a_block_that_breaks_off(job: int) -> None:
    with pytest.raises(ValueError, match="broken"), leased(job) as mine:
        raise ValueError("broken")
    assert left(mine.worker) is None


def test_after_the_connection_broke_the_lease_is_renewed_on_another_with_its_sign_of_life(
    job: int, often: None, server: Server, database: str
) -> None:
    with leased(job) as mine:
        worker = mine.worker
        break_connections(server, database)
        renewals(worker, 2)
        assert mine.worker == worker
        assert rows(SIGN_OF_LIFE, worker=worker) == [(False,)]
    assert rows(SIGN_OF_LIFE, worker=worker) == [(True,)]


def test_a_lease_can_be_left_while_the_database_is_away(job: int, server: Server, database: str) -> None:
    with ExitStack() as until_it_is_left, leased(job) as mine:
        until_it_is_left.enter_context(database_away(server, database))
    assert rows("SELECT id FROM worker") == [(mine.worker,)]


def test_a_worker_that_was_struck_out_registers_anew(job: int, often: None) -> None:
    with leased(job) as mine:
        lost = mine.worker
        rows("DELETE FROM worker RETURNING id")
        wait_until(lambda: mine.worker != lost)
        wait_until(lambda: left(mine.worker) is not None)
        assert rows(SIGN_OF_LIFE, worker=mine.worker) == [(False,)]
    assert rows("SELECT FROM worker") == []
