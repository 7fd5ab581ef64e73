"""This process as a worker on a job: its lease is renewed while it runs, so that others leave alone what it holds."""

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Iterator

from sqlalchemy import Connection

from db import workers
from db.session import connect, database_errors, transaction
from winnow.exceptions import DatabaseDownError

logger = logging.getLogger(__name__)

_EVERY = workers.LEASE_SECONDS / 3
_AGAIN = 1.0  # seconds between tries while the database is down


class Lease:
    """A worker's lease. `worker` is another after it was lost: then this process goes on with nothing in hand."""

    def __init__(self, job_id: int) -> None:
        self._job_id = job_id
        self._ended = threading.Event()
        self._locked = False
        connection = self._connected()
        self.worker = self._register(connection)
        self._keeping = threading.Thread(target=self._keep, args=(connection,), name="winnow-lease", daemon=True)
        self._keeping.start()

    def end(self) -> None:
        """Give it up, and all that the worker holds."""
        self._ended.set()
        self._keeping.join()
        with contextlib.suppress(DatabaseDownError), transaction() as connection:
            workers.end(connection, self.worker)

    def _keep(self, connection: Connection | None) -> None:
        while True:
            try:
                connection = connection or self._connected()
                with connection, database_errors():
                    self._renew(connection)
                return
            except DatabaseDownError:  # no call can be noted, and so none starts
                connection = None
                logger.warning("The worker's lease could not be renewed; trying again")
            if self._ended.wait(_AGAIN):
                return

    def _renew(self, connection: Connection) -> None:
        while True:
            with connection.begin():
                there = workers.renew(connection, self.worker)
                self._locked = self._locked or workers.lock(connection, self.worker)
            if not there:
                logger.warning("Another worker has taken over what this one held: it was not heard of for too long")
                self.worker = self._register(connection)
            if self._ended.wait(_EVERY):
                return

    def _connected(self) -> Connection:
        """A connection of the lease's own: that it lasts is the worker's sign of life."""
        connection, self._locked = connect(), False
        connection.detach()  # the pool would keep it, and its lock, beyond the lease's end
        return connection

    def _register(self, connection: Connection) -> int:
        with connection.begin():
            worker = workers.register(connection, self._job_id, f"{socket.gethostname()}:{os.getpid()}")
            self._locked = workers.lock(connection, worker)  # before anyone sees the worker
        return worker


@contextlib.contextmanager
def leased(job_id: int) -> Iterator[Lease]:
    """A lease on a job while the block runs."""
    lease = Lease(job_id)
    try:
        yield lease
    finally:
        lease.end()
