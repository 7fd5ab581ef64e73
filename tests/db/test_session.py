import getpass
import os
import socket
import sys
import threading

import psycopg
import pytest
import sqlalchemy as sa

from db.session import database_url, engine, transaction
from tests.conftest import forget, winnow_at
from winnow.exceptions import DatabaseDownError, DefinitionError

INSERT = sa.text("INSERT INTO project (name, name_key, codebook, version) VALUES (:name, :name, '{}', 1)")
NAMES = sa.text("SELECT name FROM project ORDER BY name")


def names() -> list[str]:
    with transaction() as connection:
        return list(connection.scalars(NAMES))


def said_about(url, tmp_path) -> str:
    with winnow_at(url, tmp_path), pytest.raises(DefinitionError) as raised, transaction():
        pass
    return str(raised.value)


def test_a_block_that_ends_is_committed(database):
    with transaction() as connection:
        connection.execute(INSERT, {"name": "kept"})
    with psycopg.connect(database) as other:
        assert other.execute("SELECT name FROM project").fetchall() == [("kept",)]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(3)])
def test_a_block_that_raises_is_rolled_back_and_the_error_goes_on(database, error):
    def insert_and_raise(connection):
        connection.execute(INSERT, {"name": "lost"})
        raise error

    with pytest.raises(type(error)) as raised, transaction() as connection:
        insert_and_raise(connection)
    assert raised.value is error
    assert names() == []
    assert engine().pool.checkedout() == 0


def test_a_statement_that_fails_rolls_back_those_before_it(database):
    def insert_twice(connection):
        for _ in range(2):
            connection.execute(INSERT, {"name": "twice"})

    with pytest.raises(sa.exc.IntegrityError), transaction() as connection:
        insert_twice(connection)
    assert names() == []


def test_an_error_quotes_nothing_of_what_was_to_be_stored(database):
    with pytest.raises(sa.exc.DataError) as raised, transaction() as connection:
        connection.execute(sa.text("SELECT 1 / (:number - 1), :words"), {"number": 1, "words": "canary words"})
    assert "canary" not in str(raised.value)


def test_transactions_in_many_threads_do_not_wait_for_each_other(database):
    together = threading.Barrier(20, timeout=20)

    def go(number: int) -> None:
        with transaction() as connection:
            connection.execute(INSERT, {"name": f"{number:02}"})
            together.wait()  # all twenty are open now

    threads = [threading.Thread(target=go, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names() == [f"{number:02}" for number in range(20)]


@pytest.fixture
def restless():
    """Threads that take turns as often as they can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def test_threads_that_come_first_at_once_get_the_same_engine(database, restless):
    for _ in range(5):
        forget()
        together = threading.Barrier(20, timeout=20)
        engines = []

        def go(together=together, engines=engines) -> None:
            together.wait()
            engines.append(engine())

        threads = [threading.Thread(target=go) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(engines) == 20
        assert len(set(engines)) == 1


def test_a_pooled_connection_that_the_server_ended_is_replaced(database):
    with transaction() as connection:
        ended = connection.scalar(sa.text("SELECT pg_backend_pid()"))
    with psycopg.connect(database, autocommit=True) as other:
        assert other.execute("SELECT pg_terminate_backend(%s, 5000)", [ended]).fetchone() == (True,)
    with transaction() as connection:
        assert connection.scalar(sa.text("SELECT pg_backend_pid()")) != ended


def test_a_connection_ended_in_the_middle_of_a_block_commits_nothing(database):
    def insert_and_be_ended(connection):
        connection.execute(INSERT, {"name": "lost"})
        pid = connection.scalar(sa.text("SELECT pg_backend_pid()"))
        with psycopg.connect(database, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        connection.execute(INSERT, {"name": "lost too"})

    with pytest.raises(DatabaseDownError, match="What was stored before is safe"), transaction() as connection:
        insert_and_be_ended(connection)
    assert names() == []


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:secret@127.0.0.1:1/winnow",
        "postgres://ada:secret@127.0.0.1:1/winnow",
        "postgresql+asyncpg://ada:secret@127.0.0.1:1/winnow",
        "postgresql://ada@127.0.0.1:1/winnow?password=secret",
        "postgresql:///winnow?host=/nowhere&user=ada&password=secret",
        "postgresql://ada:secret@127.0.0.1:1/winnow?sslmode=secret-mode-not-known",
        "postgresql://ada:secret@127.0.0.1:1/winnow?no_such_option=secret",
        "postgresql://ada:secret@127.0.0.1:99999999/winnow",
    ],
)
def test_a_database_that_cannot_be_reached_is_one_clear_error_without_the_password(url, tmp_path):
    message = said_about(url, tmp_path)
    assert message.startswith("The database postgresql+psycopg://")
    assert "cannot be reached" in message
    assert "Check WINNOW_DATABASE_URL" in message
    assert ":secret@" not in message
    assert "password" not in message
    assert "\n" not in message


def test_a_database_that_does_not_exist_is_named(server, tmp_path):
    message = said_about(server.url("no_such_database"), tmp_path)
    assert 'database "no_such_database" does not exist' in message


@pytest.mark.parametrize(
    "url",
    [
        "secret",
        "mysql://ada:secret@localhost/winnow",
        "sqlite:///secret.db",
        "postgresql:secret",
        "postgresql://ada:secret@localhost:port/winnow",
        "postgresql://ada:p@secret@localhost/winnow",
        "http://secret@localhost",
    ],
)
def test_an_address_of_no_postgresql_is_one_clear_error_that_does_not_repeat_it(url, tmp_path):
    message = said_about(url, tmp_path)
    assert message.startswith("WINNOW_DATABASE_URL is not the address of a PostgreSQL database")
    assert "secret" not in message


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_every_spelling_of_postgresql_becomes_psycopg_3(scheme, tmp_path):
    with winnow_at(f"{scheme}://ada:p%40ss@db.example:6543/winnow?sslmode=require", tmp_path):
        url = database_url()
    assert url.drivername == "postgresql+psycopg"
    assert (url.username, url.password, url.host, url.port, url.database) == (
        "ada", "p@ss", "db.example", 6543, "winnow",
    )  # fmt: skip
    assert url.query == {"sslmode": "require"}


def test_connections_say_whose_process_they_belong_to(database):
    with transaction() as connection:
        said = connection.scalar(sa.text("SHOW application_name"))
    assert said == f"winnow {getpass.getuser()}@{socket.gethostname()}:{os.getpid()}"
