"""Mapped task runs in bounded windows, on Prefect's real task runner."""

import threading
import time
from typing import Any

import pytest
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ThreadPoolTaskRunner

from flows.map_windows import map_windows

_running: list[int] = []
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
    if number == 13:
        raise ValueError("unlucky")
    return number


def mapped(numbers: Any, window: int, interrupted: Any = lambda: None, stop_after: int | None = None) -> list[Any]:
    global _most  # noqa: PLW0603
    _most = 0

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=100))  # type: ignore[arg-type]
    def fan_out() -> list[Any]:
        ended = []
        for future in map_windows(work.map, numbers, window=window, interrupted=interrupted):
            ended.append(future.result(raise_on_failure=False))
            if stop_after and len(ended) >= stop_after:
                break
        return ended

    return fan_out()


@pytest.mark.parametrize(("items", "window"), [(0, 4), (1, 4), (3, 4), (4, 4), (5, 4), (40, 1), (60, 16)])
def test_every_item_runs_once_and_at_most_a_window_of_them_at_once(items: int, window: int) -> None:
    numbers = [100 + number for number in range(items)]

    assert sorted(mapped(numbers, window)) == numbers
    assert _most <= window


def test_items_are_taken_only_as_they_are_needed() -> None:
    taken = []

    def endless() -> Any:
        for number in range(20, 10_000):
            taken.append(number)
            yield number

    mapped(endless(), window=4, stop_after=8)

    assert len(taken) <= 8 + 4


def test_a_run_that_fails_does_not_end_the_others() -> None:
    ended = mapped(range(10, 20), window=4)

    assert sum(isinstance(result, ValueError) for result in ended) == 1
    assert len(ended) == 10


def test_leaving_early_says_so_and_waits_for_what_is_under_way() -> None:
    called = []

    mapped(range(100, 200), window=4, interrupted=lambda: called.append(True), stop_after=3)

    assert called == [True]
    assert _running == []
