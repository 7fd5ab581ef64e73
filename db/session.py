"""Where the database is, and explicit transactions on it."""

import contextlib
import getpass
import itertools
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    InternalError,
    InvalidatePoolError,
    OperationalError,
)

from db import embedded
from winnow.exceptions import DatabaseDownError, DefinitionError
from winnow.settings import settings

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")

# Classes of SQLSTATE after which the same transaction may succeed: connections, conflicts between transactions, no room
# on the disk or in memory, a server that was stopped, or that is a standby still.
_PASSING = ("08", "25006", "25P03", "40", "53", "55", "57", "58")

_FROZEN_MS = 15_000  # a process that stands still in a transaction holds rows; it is over before its lease can be

_WAITS = (0.1, 0.2, 0.5, 1.0, 2.0)  # seconds before further tries; then as the last one

_IDLE = 2.0  # seconds after which a connection is asked whether it is there before it is lent

_making = threading.Lock()


def engine() -> Engine:
    """This process's engine, made once, whichever thread comes first."""
    with _making:
        return _engine()


@cache
def _engine() -> Engine:
    """An engine whose pool checks a connection before lending it, without a round trip for one in use."""
    made = create_engine(
        database_url(),
        hide_parameters=True,  # its errors would quote documents and replies in logs and in the Prefect UI
        pool_use_lifo=True,  # the last one used again: it knows its statements, and has hardly been idle
        pool_size=settings().concurrency + 8,
        max_overflow=settings().concurrency,
        connect_args={
            "application_name": _who(),
            "connect_timeout": 10,
            "keepalives_idle": 15,  # a server that has vanished is noticed within a lease
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "options": f"-c idle_in_transaction_session_timeout={_FROZEN_MS}",
        },
    )
    event.listen(made, "checkin", _note_time)
    event.listen(made, "checkout", lambda connection, record, _: _check(made, connection, record))
    return made


def _note_time(_: Any, record: Any) -> None:
    record.info["used_at"] = time.monotonic()


def _check(engine: Engine, connection: Any, record: Any) -> None:
    """Replace a connection that has gone. One used just now is asked only where the server has said something since."""
    try:
        looked = select.poll()
        looked.register(connection.fileno(), select.POLLIN)
        if time.monotonic() - record.info.get("used_at", 0.0) > _IDLE or looked.poll(0):
            engine.dialect.do_ping(connection)
    except engine.dialect.loaded_dbapi.Error as error:
        raise InvalidatePoolError from error  # the pool makes new ones


def _who() -> str:
    """This process, as the database shows it, and as the events of jobs name it."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = str(os.getuid())
    return f"winnow {user}@{socket.gethostname()}:{os.getpid()}"[:63]  # as much as PostgreSQL keeps


@cache
def database_url() -> URL:
    """The URL of Winnow's database, for SQLAlchemy and psycopg 3. Starts the embedded server where none is set.

    Raises:
        DefinitionError: the setting is not a PostgreSQL URL.
    """
    given = settings().database_url
    if given is None:
        return make_url(embedded.database_url(settings().home)).set(drivername="postgresql+psycopg")
    try:
        url = make_url(given.get_secret_value())
    except (ArgumentError, ValueError):  # ValueError: a port that is no number
        url = None
    if url is None or url.get_backend_name() not in ("postgresql", "postgres") or "@" in (url.host or ""):
        raise DefinitionError(
            "WINNOW_DATABASE_URL is not the address of a PostgreSQL database; "
            "it looks like postgresql://user:password@host:5432/name, with signs such as @ in a password written %40"
        )
    return url.set(drivername="postgresql+psycopg")


@contextlib.contextmanager
def transaction() -> Iterator[Connection]:
    """One transaction: committed when the block ends, rolled back when it raises.

    Raises:
        DatabaseDownError: the database cannot be reached, or cannot do this now.
    """
    with database_errors(), connect() as connection, connection.begin():
        yield connection


@contextlib.contextmanager
def at_once() -> Iterator[Connection]:
    """A connection on which every statement is a transaction of its own: what it locks, it locks for itself alone.

    Raises:
        DatabaseDownError: as `transaction`.
    """
    with database_errors(), connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection


def patiently(work: Callable[[], _Result], wait: Callable[[float], None] = time.sleep) -> _Result:
    """Do what stands in transactions of its own, again and again while the database is down.

    Args:
        work: may be begun again from its start.
        wait: for so many seconds; raises where nobody waits any longer.
    """
    for seconds in itertools.chain(_WAITS, itertools.repeat(_WAITS[-1])):
        try:
            return work()
        except DatabaseDownError:
            logger.warning("The database is down; trying again in %s s", seconds)
            wait(seconds)
    raise AssertionError  # the waits have no end


def connect() -> Connection:
    """A connection from the pool.

    Raises:
        DatabaseDownError: the database cannot be reached.
    """
    try:
        return engine().connect()
    except DBAPIError as error:
        raise DatabaseDownError(
            f"The database {_address()} cannot be reached: {_first_line(error)}. "
            "Check WINNOW_DATABASE_URL and that the server runs."
        ) from error


@contextlib.contextmanager
def database_errors() -> Iterator[None]:
    """Tell apart, while the block runs, a database that is down from a statement that is wrong.

    Raises:
        DatabaseDownError: the database is down.
    """
    try:
        yield
    except (OperationalError, InterfaceError, InternalError) as error:
        state = getattr(error.orig, "sqlstate", None)
        if not (state.startswith(_PASSING) if state else error.connection_invalidated):
            raise
        raise DatabaseDownError(
            f"The database {_address()} did not do what was asked: {_first_line(error)}. What was stored before is "
            "safe; run again once the server is well."
        ) from error


def _first_line(error: DBAPIError) -> str:
    lines = str(error.orig or "").strip().splitlines()
    return lines[0] if lines else "no reason given"


def _address() -> str:
    return _without_secrets(database_url()).render_as_string()


def _without_secrets(url: URL) -> URL:
    """The address alone: options may hold a password too."""
    return url.set(query={name: url.query[name] for name in ("host", "port") if name in url.query})
