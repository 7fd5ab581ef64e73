"""A database that is away, or cannot do this now, is told apart from a statement that is wrong, and waited for."""

import threading

import psycopg
import pytest
import sqlalchemy as sa

from db.session import at_once, connect, database_errors, patiently, transaction
from tests.conftest import winnow_at
from winnow.exceptions import DatabaseDownError, JobStoppedError

PASSING = {
    "a deadlock": "40P01",
    "a conflict of transactions": "40001",
    "a server that is stopped": "57P01",
    "a server that starts": "57P03",
    "a full disk": "53100",
    "too many connections": "53300",
    "a lost connection": "08006",
    "a lock that is not free": "55P03",
    "an unreadable file": "58030",
}
STAYING = {"a program limit": "54000", "a syntax error": "42601", "a division by nought": "22012", "a twin": "23505"}

RAISE = "DO $$ BEGIN RAISE EXCEPTION 'canary' USING ERRCODE = '{state}'; END $$"


def fail_with(state):
    with transaction() as connection:
        connection.execute(sa.text(RAISE.format(state=state)))


@pytest.fixture
def waited():
    """The seconds that were waited for, each at once."""
    return []


@pytest.mark.parametrize("state", PASSING.values(), ids=PASSING)
def test_what_passes_is_a_database_that_is_down(database, state):
    with pytest.raises(DatabaseDownError, match="What was stored before is safe") as raised:
        fail_with(state)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("state", STAYING.values(), ids=STAYING)
def test_what_stays_is_what_it_is(database, state):
    with pytest.raises(sa.exc.DBAPIError) as raised:
        fail_with(state)
    assert raised.value.orig.sqlstate == state


def test_an_error_of_ours_goes_through_untouched():
    error = JobStoppedError("the job is paused")
    with pytest.raises(JobStoppedError) as raised, database_errors():
        raise error
    assert raised.value is error


def test_a_real_deadlock_passes_and_the_second_try_succeeds(database, waited):
    """Each of two takes one lock, and then wants the other's."""
    together = threading.Barrier(2)
    tries = []

    def both(first, second) -> None:
        def work() -> None:
            tries.append(first)
            with transaction() as connection:
                connection.execute(sa.text("SET LOCAL deadlock_timeout = '20ms'"))
                connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({first})"))
                if len(tries) < 3:
                    together.wait()
                connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({second})"))

        patiently(work, waited.append)

    threads = [threading.Thread(target=both, args=pair) for pair in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(tries) in ([1, 1, 2], [1, 2, 2])
    assert waited == [0.1]


@pytest.mark.parametrize("opened", [transaction, at_once])
def test_a_connection_that_the_server_ends_is_a_database_that_is_down(database, opened):
    def end_it() -> None:
        with opened() as connection:
            pid = connection.scalar(sa.text("SELECT pg_backend_pid()"))
            with psycopg.connect(database, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
            connection.execute(sa.text("SELECT 1"))

    with pytest.raises(DatabaseDownError):
        end_it()
    with transaction() as connection:
        assert connection.scalar(sa.text("SELECT 1")) == 1


def test_a_statement_of_at_once_is_committed_by_itself(database):
    with at_once() as connection:
        connection.execute(sa.text("CREATE TABLE mine (n int)"))
        with psycopg.connect(database) as other:
            assert other.execute("SELECT count(*) FROM mine").fetchone() == (0,)


class TestPatiently:
    def test_what_succeeds_is_done_once(self, waited):
        assert patiently(lambda: 7, waited.append) == 7
        assert waited == []

    def test_it_is_tried_again_ever_more_slowly_until_it_succeeds(self, waited):
        def work() -> str:
            if len(waited) < 8:
                raise DatabaseDownError("away")
            return "stored"

        assert patiently(work, waited.append) == "stored"
        assert waited == [0.1, 0.2, 0.5, 1.0, 2.0, 2.0, 2.0, 2.0]

    def test_it_stops_when_its_wait_raises(self, waited):
        def work() -> None:
            waited.append("tried")
            raise DatabaseDownError("away")

        def wait(seconds) -> None:
            if len(waited) == 3:
                raise JobStoppedError("nobody waits any longer")

        with pytest.raises(JobStoppedError):
            patiently(work, wait)
        assert waited == ["tried"] * 3

    def test_another_error_is_not_tried_again(self, waited):
        def work() -> None:
            raise ValueError("ours")

        with pytest.raises(ValueError, match="ours"):
            patiently(work, waited.append)
        assert waited == []

    def test_a_database_that_is_away_is_waited_for_and_found_when_it_is_back(self, server, tmp_path, waited):
        """The database is made while it is waited for."""
        made = []

        def come_back(seconds) -> None:
            waited.append(seconds)
            if len(waited) == 2:
                server.execute("CREATE DATABASE came_late")
                made.append("came_late")

        def ask() -> int:
            with connect() as connection:
                return connection.scalar(sa.text("SELECT 7"))

        try:
            with winnow_at(server.url("came_late"), tmp_path):
                assert patiently(ask, come_back) == 7
        finally:
            for name in made:
                server.execute(f"DROP DATABASE {name} WITH (FORCE)")
        assert waited == [0.1, 0.2]
