"""Where the database is, and explicit transactions on it."""

import contextlib
import threading
from collections.abc import Iterator
from functools import cache

from sqlalchemy import URL, Connection, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from db import embedded
from winnow.exceptions import DefinitionError
from winnow.settings import settings

_making = threading.Lock()


def engine() -> Engine:
    """This process's engine, made once, whichever thread comes first."""
    with _making:
        return _engine()


@cache
def _engine() -> Engine:
    """An engine whose pool checks a connection before lending it."""
    return create_engine(
        database_url(),
        hide_parameters=True,  # its errors would quote documents and replies in logs and in the Prefect UI
        pool_pre_ping=True,
        pool_size=settings().concurrency + 8,
        max_overflow=settings().concurrency,
        connect_args={"application_name": "winnow", "connect_timeout": 10},
    )


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
        DefinitionError: the database cannot be reached.
    """
    with connect() as connection, connection.begin():
        yield connection


@contextlib.contextmanager
def at_once() -> Iterator[Connection]:
    """A connection on which every statement is a transaction of its own: what it locks, it locks for itself alone.

    Raises:
        DefinitionError: the database cannot be reached.
    """
    with connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection


def connect() -> Connection:
    """A connection from the pool.

    Raises:
        DefinitionError: the database cannot be reached.
    """
    try:
        return engine().connect()
    except DBAPIError as error:
        where = _without_secrets(database_url()).render_as_string()
        said = str(error.orig).strip().splitlines()[0] if error.orig else "no reason given"
        raise DefinitionError(
            f"The database {where} cannot be reached: {said}. Check WINNOW_DATABASE_URL and that the server runs."
        ) from error


def _without_secrets(url: URL) -> URL:
    """The address alone: options may hold a password too."""
    return url.set(query={name: url.query[name] for name in ("host", "port") if name in url.query})
