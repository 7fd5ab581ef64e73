"""This process's lease as a worker: renewed while it runs, so that others leave its calls alone."""

import contextlib
import logging
import threading
from collections.abc import Iterator

from sqlalchemy.exc import DBAPIError

from db import workers
from db.session import transaction
from winnow.exceptions import DefinitionError

logger = logging.getLogger(__name__)

_EVERY = workers.LEASE_SECONDS / 3


@contextlib.contextmanager
def leased() -> Iterator[int]:
    """A worker with a lease while the block runs. Yields its id."""
    with transaction() as connection:
        worker = workers.register(connection)
    ended = threading.Event()
    renewing = threading.Thread(target=_renew, args=(worker, ended), name="winnow-lease", daemon=True)
    renewing.start()
    try:
        yield worker
    finally:
        ended.set()
        renewing.join()
        with contextlib.suppress(DBAPIError, DefinitionError), transaction() as connection:
            workers.end(connection, worker)


def _renew(worker: int, ended: threading.Event) -> None:
    while not ended.wait(_EVERY):
        try:
            with transaction() as connection:
                workers.renew(connection, worker)
        except (DBAPIError, DefinitionError):  # no database: no call can be noted, and so none starts
            logger.warning("The worker's lease could not be renewed; trying again in %d s", _EVERY)
