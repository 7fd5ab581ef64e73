"""What workers know of a provider key together: its limits, its rest, its circuit breaker."""

import threading
import time
from itertools import pairwise

import pytest
from sqlalchemy import text

from db import providers
from db.providers import CLOSES_AFTER, OPENS_AFTER, Place
from db.session import at_once, transaction

KEY = "k"


@pytest.fixture
def key(connection):
    providers.register(connection, KEY)
    return KEY


@pytest.fixture
def short(monkeypatch):
    """A breaker that is open for a moment only."""
    monkeypatch.setattr(providers, "OPEN_SECONDS", 0.1)


def take(connection, key=KEY, **limits):
    return providers.take(connection, key, **limits)


def take_many(connection, many, **limits):
    return [take(connection, **limits) for _ in range(many)]


def column(connection, name, key=KEY):
    return connection.scalar(text(f"SELECT {name} FROM provider WHERE key = :key"), {"key": key})


def fail(connection, times=OPENS_AFTER):
    for _ in range(times):
        providers.failed(connection, KEY)


# Limits


def test_without_limits_every_call_goes_at_once(connection, key):
    assert take_many(connection, 20) == [Place()] * 20


def test_a_key_that_nobody_registered_stops_nobody(connection):
    assert take(connection, requests_per_minute=1) == Place()


def test_a_key_is_registered_once(connection, key):
    providers.hold(connection, key, 60)
    providers.register(connection, key)
    assert take(connection).held


def test_calls_get_places_as_far_apart_as_the_limit_asks_for(connection, key):
    waits = [place.wait for place in take_many(connection, 12, requests_per_minute=600)]
    late = waits[4:]  # the first may go at once: places of the last quarter of a second are free
    assert all(0.08 < later - earlier <= 0.1 for earlier, later in pairwise(late))


def test_tokens_take_as_much_of_their_limit_as_there_are(connection, key):
    first = take(connection, tokens_per_minute=60_000, tokens=1000)
    second = take(connection, tokens_per_minute=60_000, tokens=10)
    third = take(connection, tokens_per_minute=60_000, tokens=10)
    assert first == Place()
    assert 0.7 < second.wait <= 0.75
    assert 0 < third.wait - second.wait <= 0.01


def test_the_tighter_limit_counts(connection, key):
    limits = {"requests_per_minute": 600_000, "tokens_per_minute": 60_000, "tokens": 500}
    assert [round(place.wait, 1) for place in take_many(connection, 3, **limits)] == pytest.approx(
        [0, 0.2, 0.7], abs=0.1
    )


def test_no_place_is_given_far_ahead_and_to_ask_for_one_takes_none(connection, key):
    waits = take_many(connection, 3, requests_per_minute=3)
    assert [place.given for place in waits] == [True, False, False]
    assert all(18 < place.wait < 20 and not place.held for place in waits[1:])


def test_keys_have_limits_of_their_own(connection, key):
    providers.register(connection, "other")
    take_many(connection, 2, requests_per_minute=3)
    assert take(connection, "other", requests_per_minute=3) == Place()


def test_threads_and_processes_keep_a_limit_together(database, python):
    code = """
import time
from db import providers
from db.session import at_once
def go(until):
    times = []
    while time.monotonic() < until:
        with at_once() as connection:
            place = providers.take(connection, "k", requests_per_minute=6000)
        time.sleep(place.wait)
        if place.given:
            times.append(time.monotonic())
    return times
"""
    with transaction() as connection:
        providers.register(connection, KEY)
    children = [python(f"{code}\nprint(1, flush=True); until = float(input()); print(*go(until))") for _ in range(2)]
    for child in children:
        child.line()
    started = time.monotonic()
    for child in children:
        child.process.stdin.write(f"{started + 1.5}\n")
        child.process.stdin.flush()
    here, names = [], {}
    exec(code, names)
    threads = [threading.Thread(target=lambda: here.extend(names["go"](started + 1.5))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    times = sorted([*here, *(float(when) for child in children for when in child.end().split())])

    in_time = [when - started for when in times if when - started < 1.5]
    assert 0.85 * 150 <= len(in_time) <= 1.2 * 150
    seconds = [sum(at <= when < at + 0.5 for when in in_time) for at in (0.0, 0.5, 1.0)]
    assert max(seconds) <= 50 + 30  # nowhere a burst


# The provider asks to wait


def test_a_key_that_rests_holds_everyone(connection, key):
    providers.hold(connection, key, 7)
    for place in take_many(connection, 3):
        assert (place.given, place.held) == (False, True)
        assert 6.5 < place.wait <= 7


def test_a_shorter_rest_never_shortens_a_longer_one(connection, key):
    providers.hold(connection, key, 7)
    providers.hold(connection, key, 1)
    assert take(connection).wait > 6


def test_a_rest_takes_no_place_and_ends(connection, key):
    providers.hold(connection, key, 0.1)
    assert not take(connection, requests_per_minute=3).given
    time.sleep(0.12)
    assert take(connection, requests_per_minute=3).given


# The breaker


def test_failures_in_a_row_open_it_for_a_while(connection, key):
    fail(connection, OPENS_AFTER - 1)
    assert take(connection) == Place()
    fail(connection, 1)
    place = take(connection)
    assert (place.given, place.held) == (False, True)
    assert 29 < place.wait <= 30


def test_a_success_in_between_begins_the_row_anew(connection, key):
    for _ in range(3):
        fail(connection, OPENS_AFTER - 1)
        providers.succeeded(connection, key)
    assert take(connection) == Place()
    assert column(connection, "failures") == 0


def test_calls_that_were_under_way_neither_close_nor_prolong_it(connection, key):
    fail(connection)
    opened = column(connection, "opened_at")
    fail(connection, 3)
    providers.succeeded(connection, key)
    assert (column(connection, "state"), column(connection, "opened_at")) == ("open", opened)


def test_half_open_it_lets_one_probe_through_at_a_time(connection, key, short):
    fail(connection)
    time.sleep(0.12)
    first, second = take_many(connection, 2)
    assert (first.given, first.probe) == (True, True)
    assert (second.given, second.held) == (False, True)
    assert 0 < second.wait <= 0.25
    providers.succeeded(connection, key, probe=True)
    assert [place.given for place in take_many(connection, 2)] == [True, False]


def test_it_closes_after_some_probes_that_succeed(connection, key, short):
    fail(connection)
    time.sleep(0.12)
    for _ in range(CLOSES_AFTER):
        assert take(connection).probe
        providers.succeeded(connection, key, probe=True)
    assert take_many(connection, 9) == [Place()] * 9
    assert (column(connection, "state"), column(connection, "failures")) == ("closed", 0)


def test_a_probe_that_fails_opens_it_again_and_its_successes_are_forgotten(connection, key, short):
    fail(connection)
    for _ in range(2):
        time.sleep(0.12)
        for _ in range(CLOSES_AFTER - 1):
            assert take(connection).probe
            providers.succeeded(connection, key, probe=True)
        assert take(connection).probe
        providers.failed(connection, key, probe=True)
        assert not take(connection).given
    assert column(connection, "state") == "open"


def test_a_late_failure_is_no_probes(connection, key, short):
    fail(connection)
    time.sleep(0.12)
    assert take(connection).probe
    fail(connection, 3)
    assert column(connection, "state") == "half_open"


def test_a_probe_that_says_nothing_gives_its_place_back(connection, key, short):
    fail(connection)
    time.sleep(0.12)
    assert take(connection).probe
    providers.give_back(connection, key)
    assert take(connection).probe


def test_the_probe_of_a_worker_that_died_is_not_waited_for(connection, key, short):
    fail(connection)
    time.sleep(0.12)
    assert take(connection, probe_seconds=0.1).probe
    assert not take(connection).given
    time.sleep(0.12)
    assert take(connection).probe


def test_threads_that_fail_at_once_are_all_counted(database):
    with transaction() as connection:
        providers.register(connection, KEY)

    def go():
        with at_once() as connection:
            providers.failed(connection, KEY)

    threads = [threading.Thread(target=go) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with transaction() as connection:
        assert (column(connection, "failures"), column(connection, "state")) == (12, "open")


def test_of_threads_that_ask_at_once_one_alone_is_a_probe(database, short):
    with transaction() as connection:
        providers.register(connection, KEY)
        fail(connection)
    time.sleep(0.12)
    places = []

    def go():
        with at_once() as connection:
            places.append(take(connection))

    threads = [threading.Thread(target=go) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sum(place.probe for place in places), sum(place.given for place in places)) == (1, 1)
