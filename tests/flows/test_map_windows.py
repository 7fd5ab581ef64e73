"""Mapped task runs in bounded windows, on Prefect's real task runner."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ThreadPoolTaskRunner

from flows.map_windows import map_windows

_running: list[int] = []
_ended: list[int] = []
_most = 0
_lock = threading.Lock()


@task(cache_policy=NO_CACHE, log_prints=False)
def work(number: int) -> int:
    global _most  # noqa: PLW0603 # seen from outside the task run
    with _lock:
        _running.append(number)
        _most = max(_most, len(_running))
    time.sleep(0.02)
    with _lock:
        _running.remove(number)
        _ended.append(number)
    if number == 13:
        raise ValueError("unlucky")
    return number


def mapped(streams: Any, window: int, interrupted: Any = lambda: None, stop_after: int | None = None) -> list[Any]:
    global _most  # noqa: PLW0603
    _most = 0

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=100))  # type: ignore[arg-type]
    def fan_out() -> list[Any]:
        ended = []
        mapped = map_windows(work.map, streams, window=window, interrupted=interrupted)
        with closing(mapped) as futures:
            for future in futures:
                ended.append(future.result(raise_on_failure=False))
                if stop_after and len(ended) >= stop_after:
                    break
        return ended

    return fan_out()


def alone(numbers: Any) -> Any:
    """Items that wait for nothing."""
    return ([[number]] for number in numbers)


@pytest.mark.parametrize(("items", "window"), [(0, 4), (1, 4), (3, 4), (4, 4), (5, 4), (40, 1), (60, 16)])
def test_every_item_runs_once_and_at_most_a_window_of_them_at_once(items: int, window: int) -> None:
    numbers = [100 + number for number in range(items)]

    assert sorted(mapped(alone(numbers), window)) == numbers
    assert _most <= window


def test_items_are_taken_only_as_they_are_needed() -> None:
    taken = []

    def endless() -> Any:
        for number in range(20, 10_000):
            taken.append(number)
            yield number

    mapped(alone(endless()), window=4, stop_after=8)

    assert len(taken) <= 8 + 4


def test_a_run_that_fails_does_not_end_the_others() -> None:
    ended = mapped(alone(range(10, 20)), window=4)

    assert sum(isinstance(result, ValueError) for result in ended) == 1
    assert len(ended) == 10


def test_leaving_early_says_so_and_waits_for_what_is_under_way() -> None:
    called = []

    mapped(alone(range(100, 200)), window=4, interrupted=lambda: called.append(True), stop_after=3)

    assert called == [True]
    assert _running == []


def test_a_stage_begins_when_all_of_the_one_before_has_ended() -> None:
    _ended.clear()
    before: dict[int, list[int]] = {}

    def stages(stream: int) -> Iterator[list[int]]:
        yield [stream]
        before[stream + 1] = list(_ended)
        yield [stream + 1, stream + 2]
        before[stream + 3] = list(_ended)
        yield [stream + 3]

    assert sorted(mapped(map(stages, (100, 200)), window=4)) == [100, 101, 102, 103, 200, 201, 202, 203]
    for stream in (100, 200):
        assert stream in before[stream + 1]
        assert {stream + 1, stream + 2} <= set(before[stream + 3])


def test_a_stage_of_nothing_is_passed_over() -> None:
    assert sorted(mapped([[[], [21], []], [], [[22]]], window=4)) == [21, 22]
