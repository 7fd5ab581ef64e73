from sqlalchemy import select, text

from db import tables, workers

_worker = tables.Worker.__table__


def lease(connection, worker):
    """How long the lease runs on, in seconds; None where there is none."""
    left = text("extract(epoch FROM lease_until - now())")
    found = connection.scalar(select(left).select_from(_worker).where(_worker.c.id == worker))
    return None if found is None else float(found)


def test_a_new_worker_has_a_fresh_lease(connection):
    assert lease(connection, workers.register(connection)) == workers.LEASE_SECONDS


def test_every_worker_is_another(connection):
    assert workers.register(connection) != workers.register(connection)


def test_a_renewed_lease_runs_on_from_now_and_the_others_do_not(connection):
    renewed, other = workers.register(connection), workers.register(connection)
    connection.execute(_worker.update().values(lease_until=text("now() - interval '1 hour'")))
    workers.renew(connection, renewed)
    assert lease(connection, renewed) == workers.LEASE_SECONDS
    assert lease(connection, other) == -3600


def test_a_lease_that_was_given_up_is_not_renewed(connection):
    worker = workers.register(connection)
    workers.end(connection, worker)
    workers.renew(connection, worker)
    assert lease(connection, worker) is None
