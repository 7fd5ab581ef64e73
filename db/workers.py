"""Processes that buy replies, and their leases: by the database's clock, whatever theirs say."""

from sqlalchemy import Connection, text

LEASE_SECONDS = 30


def register(connection: Connection) -> int:
    """A new worker with a fresh lease. Returns its id."""
    statement = text("INSERT INTO worker (lease_until) VALUES (now() + make_interval(secs => :lease)) RETURNING id")
    return int(connection.execute(statement, {"lease": LEASE_SECONDS}).scalar_one())


def renew(connection: Connection, worker_id: int) -> None:
    """Let the lease run on from now."""
    statement = text("UPDATE worker SET lease_until = now() + make_interval(secs => :lease) WHERE id = :worker")
    connection.execute(statement, {"lease": LEASE_SECONDS, "worker": worker_id})


def end(connection: Connection, worker_id: int) -> None:
    """Give the lease up: what the worker has left undone may be taken over."""
    connection.execute(text("DELETE FROM worker WHERE id = :worker"), {"worker": worker_id})


def end_former(connection: Connection, job_id: int, worker_id: int) -> None:
    """Give up the leases of those who bought for a job before. For whoever holds the job now, and so knows it alone."""
    statement = text("""
        DELETE FROM worker WHERE id <> :worker AND id IN (
            SELECT worker_id FROM call WHERE job_id = :job AND status = 'intended')
    """)
    connection.execute(statement, {"job": job_id, "worker": worker_id})
