"""Processes that work on jobs, their leases, and the documents that they claim.

By the database's clock, whatever theirs say. A worker whose lease has ended is lost when another takes over what it
held: its row is deleted, and with it all that it could write. Its id never comes back, so that a late writer is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from winnow.exceptions import WorkerLostError

LEASE_SECONDS = 30


@dataclass(frozen=True)
class Claimed:
    """A document that a worker holds."""

    document_id: int
    losses: int  # workers that died with it


_REGISTER = text("""
    INSERT INTO worker (job_id, name, lease_until)
    VALUES (:job, :name, clock_timestamp() + make_interval(secs => :lease)) RETURNING id
""")
_RENEW = text("""
    UPDATE worker SET lease_until = clock_timestamp() + make_interval(secs => :lease) WHERE id = :worker
""")


def register(connection: Connection, job_id: int, name: str) -> int:
    """A new worker with a fresh lease. Returns its id."""
    values = {"job": job_id, "name": name, "lease": LEASE_SECONDS}
    return int(connection.execute(_REGISTER, values).scalar_one())


def renew(connection: Connection, worker_id: int) -> bool:
    """Let the lease run on from now; False where the worker is lost."""
    return connection.execute(_RENEW, {"lease": LEASE_SECONDS, "worker": worker_id}).rowcount > 0


def end(connection: Connection, worker_id: int) -> None:
    """Give the lease up, and every document."""
    connection.execute(text("DELETE FROM worker WHERE id = :worker"), {"worker": worker_id})


def exists(connection: Connection, worker_id: int) -> bool:
    """Whether the worker still holds what it has claimed, and will until the transaction ends."""
    query = text("SELECT 1 FROM worker WHERE id = :worker FOR KEY SHARE")
    return connection.scalar(query, {"worker": worker_id}) is not None


# Signs of life: a lock of its session, which goes when its process goes; and its lease, which goes when it hangs.

_LOCK = "hashtextextended('winnow worker', {id})"


def lock(connection: Connection, worker_id: int) -> bool:
    """Let the connection, while it lasts, be the worker's sign of life; False where an earlier one still is."""
    locked = text(f"SELECT pg_try_advisory_lock({_LOCK.format(id=':worker')})")
    return bool(connection.scalar(locked, {"worker": worker_id}))


# A server that was started again knows no lock of before: of older workers, leases alone count.
_GONE = f"""
    SELECT id FROM worker WHERE job_id = :job AND (lease_until < clock_timestamp() OR (
        started_at > pg_postmaster_start_time()
        AND pg_try_advisory_xact_lock({_LOCK.format(id="worker.id")})))
    FOR UPDATE SKIP LOCKED
"""


def alive(connection: Connection, job_id: int) -> int:
    """How many workers a job has, once those that are gone have been struck out."""
    gone = connection.scalars(text(_GONE), {"job": job_id}).all()
    _strike_out(connection, gone)
    return int(connection.scalar(text("SELECT count(*) FROM worker WHERE job_id = :job"), {"job": job_id}) or 0)


def reap(connection: Connection, job_id: int | None = None) -> int:
    """Strike out the workers whose lease has ended, of one job or of all: what they held is free. Returns how many."""
    query = text("""
        SELECT id FROM worker WHERE lease_until < clock_timestamp() AND (cast(:job AS bigint) IS NULL OR job_id = :job)
        FOR UPDATE SKIP LOCKED
    """)
    return _strike_out(connection, connection.scalars(query, {"job": job_id}).all())


def _strike_out(connection: Connection, gone: Sequence[int]) -> int:
    if gone:
        values: dict[str, Any] = {"gone": list(gone)}
        connection.execute(text("UPDATE claim SET losses = losses + 1 WHERE worker_id = ANY(:gone)"), values)
        connection.execute(text("DELETE FROM worker WHERE id = ANY(:gone)"), values)
    return len(gone)


# The documents of a job

_FREE = """
    cell.job_id = :job AND (cell.status = 'pending' OR NOT cell.checked)
    AND NOT EXISTS (SELECT FROM claim WHERE claim.job_id = :job AND claim.document_id = cell.document_id
        AND claim.worker_id IS NOT NULL)
"""
_CLAIM = text(f"""
    WITH next AS (
        SELECT DISTINCT cell.document_id FROM cell WHERE {_FREE} AND cell.document_id > :after
        ORDER BY cell.document_id LIMIT :limit)
    INSERT INTO claim (job_id, document_id, worker_id) SELECT :job, document_id, :worker FROM next
    ON CONFLICT (job_id, document_id) DO UPDATE SET worker_id = :worker WHERE claim.worker_id IS NULL
    RETURNING document_id, losses
""")


def claimable(connection: Connection, job_id: int) -> bool:
    """Whether a document has something left to do that no worker holds."""
    query = text(f"SELECT 1 FROM cell WHERE {_FREE} ORDER BY cell.document_id LIMIT 1")
    return connection.scalar(query, {"job": job_id}) is not None


def claim(connection: Connection, job_id: int, worker_id: int, *, after: int, limit: int) -> list[Claimed]:
    """Claim the next documents that have something left to do and that no worker holds, in the order of the plan.

    Args:
        after: the id of the last document that was claimed; 0 to begin again.

    Raises:
        WorkerLostError: the worker was struck out.
    """
    if not exists(connection, worker_id):
        raise WorkerLostError("another worker has taken over")
    turn = text("SELECT pg_advisory_xact_lock(hashtextextended('winnow claim', :job))")
    connection.execute(turn, {"job": job_id})  # two who choose at once would choose the same
    values = {"job": job_id, "worker": worker_id, "after": after, "limit": limit}
    return sorted(
        (Claimed(row.document_id, row.losses) for row in connection.execute(_CLAIM, values)),
        key=lambda claimed: claimed.document_id,
    )


@dataclass(frozen=True)
class Left:
    """How a worker leaves a document: its cells by what became of them."""

    answered: int
    failed: int
    open: int


_RELEASE = text("""
    WITH counted AS (
        SELECT count(*) FILTER (WHERE status IN ('extracted', 'flagged')) AS answered,
            count(*) FILTER (WHERE status = 'failed') AS failed,
            count(*) FILTER (WHERE status = 'pending' OR NOT checked) AS open
        FROM cell WHERE job_id = :job AND document_id = :document),
    released AS (
        DELETE FROM claim WHERE job_id = :job AND document_id = :document AND worker_id = :worker
            AND (SELECT open = 0 FROM counted)),
    given_back AS (
        UPDATE claim SET worker_id = NULL, losses = losses + 1
        WHERE job_id = :job AND document_id = :document AND worker_id = :worker AND (SELECT open > 0 FROM counted))
    SELECT * FROM counted
""")
_COUNT_FAILED = text("""
    UPDATE job SET failed_documents = CASE WHEN :failed THEN failed_documents + 1 ELSE 0 END
    WHERE id = :job AND (:failed OR failed_documents > 0) RETURNING failed_documents
""")


def release(connection: Connection, job_id: int, worker_id: int, document_id: int) -> Left:
    """Give up a document that was worked on. One with open cells is free for the next, and counts as lost once more."""
    values = {"job": job_id, "worker": worker_id, "document": document_id}
    return Left(**connection.execute(_RELEASE, values).one()._mapping)


def count_failed(connection: Connection, job_id: int, *, failed: bool) -> int:
    """Count a document that failed in every cell, or begin anew after one that did not. Returns how many in a row."""
    return int(connection.scalar(_COUNT_FAILED, {"job": job_id, "failed": failed}) or 0)
