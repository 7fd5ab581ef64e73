"""The gate before a job's calls: slots, pauses and stops, with real threads."""

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tasks.gates import Gate
from tasks.job_context import context_of, opened
from tasks.plan_job import plan_job
from tests.factories import options
from tests.tasks import jobs_here
from winnow.exceptions import JobStoppedError
from winnow.jobs import Job

SOON = 5.0  # seconds within which anything that can happen has happened


class Crowd:
    """Threads that pass a gate, and what became of each."""

    def __init__(self, gate: Gate, size: int, inside: Callable[["Crowd"], Any] = lambda _: None) -> None:
        self.entered: list[float] = []
        self.ended: list[str] = []
        self.most = self._now = 0
        self._gate, self._inside, self._lock = gate, inside, threading.Lock()
        self._threads = [threading.Thread(target=self._go, daemon=True) for _ in range(size)]
        for thread in self._threads:
            thread.start()

    def _go(self) -> None:
        try:
            with self._gate.slot():
                with self._lock:
                    self.entered.append(time.monotonic())
                    self._now += 1
                    self.most = max(self.most, self._now)
                try:
                    self._inside(self)
                finally:
                    with self._lock:
                        self._now -= 1
            self.ended.append("through")
        except Exception as error:  # noqa: BLE001 # what became of the thread
            self.ended.append(f"{type(error).__name__}: {error}")

    def join(self, timeout: float = SOON) -> list[str]:
        """Wait until everyone has ended; fail where someone still waits."""
        until = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        assert not any(thread.is_alive() for thread in self._threads), "someone waits for ever"
        return self.ended


def wait_for(happened: Callable[[], bool]) -> None:
    until = time.monotonic() + SOON
    while not happened():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.005)


def until_in(many: int) -> Callable[[Crowd], None]:
    """Stay inside until so many have been in at once, and a little longer."""

    def stay(crowd: Crowd) -> None:
        wait_for(lambda: crowd.most >= many)
        time.sleep(0.01)

    return stay


@pytest.mark.parametrize(("slots", "size"), [(1, 8), (3, 30), (16, 16), (40, 8)])
def test_so_many_are_in_at_once_and_never_more(slots: int, size: int) -> None:
    crowd = Crowd(Gate(slots), size, until_in(min(slots, size)))

    assert crowd.join() == ["through"] * size
    assert crowd.most == min(slots, size)


def test_nobody_enters_while_the_gate_is_held() -> None:
    gate = Gate(4)
    until = time.monotonic() + 0.3
    gate.hold(0.3)
    crowd = Crowd(gate, 8)

    assert crowd.join() == ["through"] * 8
    assert min(crowd.entered) >= until


def test_those_who_wait_already_are_held_too() -> None:
    gate, leave = Gate(1), threading.Event()
    first = Crowd(gate, 1, lambda _: leave.wait())
    wait_for(lambda: first.most == 1)
    crowd = Crowd(gate, 4)
    until = time.monotonic() + 0.3
    gate.hold(0.3)
    leave.set()

    assert first.join() == ["through"]  # a call in flight goes on
    assert crowd.join() == ["through"] * 4
    assert min(crowd.entered) >= until


def test_a_shorter_wait_never_shortens_a_longer_one() -> None:
    gate = Gate(1)
    until = time.monotonic() + 0.3
    gate.hold(0.3)
    gate.hold(0.01)
    crowd = Crowd(gate, 1)

    assert crowd.join() == ["through"]
    assert crowd.entered[0] >= until


def test_a_longer_wait_holds_those_who_wait_for_the_shorter_one() -> None:
    gate = Gate(1)
    gate.hold(0.05)
    crowd = Crowd(gate, 3)
    until = time.monotonic() + 0.3
    gate.hold(0.3)

    assert crowd.join() == ["through"] * 3
    assert min(crowd.entered) >= until


def test_closing_lets_those_who_wait_go_without_a_call() -> None:
    gate, leave = Gate(1), threading.Event()
    first = Crowd(gate, 1, lambda _: leave.wait())
    wait_for(lambda: first.most == 1)
    crowd = Crowd(gate, 8)
    time.sleep(0.05)
    gate.close("the job is paused")

    assert crowd.join() == ["JobStoppedError: the job is paused"] * 8
    assert crowd.most == 0
    leave.set()
    assert first.join() == ["through"]


def test_closing_does_not_wait_for_the_end_of_a_pause() -> None:
    gate = Gate(1)
    gate.hold(60)
    crowd = Crowd(gate, 4)
    time.sleep(0.05)
    gate.close("cancelled")

    assert crowd.join() == ["JobStoppedError: cancelled"] * 4


def test_a_closed_gate_stays_closed_for_its_first_reason() -> None:
    gate = Gate(2)
    assert not gate.closed
    gate.close("the first")
    gate.close("the second")
    gate.hold(0)

    assert gate.closed
    for _ in range(3):
        with pytest.raises(JobStoppedError, match=r"^the first$"), gate.slot():
            pytest.fail("nobody may enter")


def test_a_call_that_fails_gives_its_slot_back() -> None:
    def fail(_: Crowd) -> None:
        raise ValueError("no")

    gate = Gate(2)
    assert Crowd(gate, 50, fail).join() == ["ValueError: no"] * 50
    after = Crowd(gate, 10, until_in(2))
    assert after.join() == ["through"] * 10
    assert after.most == 2


def test_an_interrupt_gives_its_slot_back() -> None:
    gate = Gate(1)
    with contextlib.suppress(KeyboardInterrupt), gate.slot():
        raise KeyboardInterrupt

    assert Crowd(gate, 1).join() == ["through"]


def test_nobody_is_forgotten_among_many_pauses() -> None:
    gate = Gate(3)
    crowd = Crowd(gate, 300, lambda _: gate.hold(0.002))

    assert crowd.join(20) == ["through"] * 300
    assert crowd.most <= 3


def test_turns_are_taken_one_at_a_time_and_closing_ends_the_waiting_for_them() -> None:
    gate, leave, inside = Gate(8), threading.Event(), []

    def take_turn(_: Crowd) -> None:
        with gate.turn():
            inside.append(1)
            leave.wait(SOON)

    crowd = Crowd(gate, 4, take_turn)
    wait_for(lambda: len(inside) == 1 and crowd.most == 4)
    gate.close("paused")
    wait_for(lambda: len(crowd.ended) == 3)
    leave.set()

    assert sorted(crowd.join()) == ["JobStoppedError: paused"] * 3 + ["through"]
    assert len(inside) == 1


def test_to_wait_lasts_as_long_as_the_gate_is_held_and_ends_when_it_is_closed() -> None:
    gate = Gate(1)
    gate.hold(0.3)
    started = time.monotonic()
    gate.wait(0.05)
    assert time.monotonic() - started >= 0.25

    threading.Timer(0.1, gate.close, ["cancelled"]).start()
    with pytest.raises(JobStoppedError, match="cancelled"):
        gate.wait(60)
    assert time.monotonic() - started < SOON


@pytest.fixture
def job(database: str, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setenv("OPENAI_API_KEY", "canary-0123456789")
    jobs_here.project("title", texts={"a.txt": "A text."})
    return plan_job("Grants", options())


def test_a_job_has_its_gate_while_it_runs_and_nobody_enters_afterwards(job: Job) -> None:
    with opened(job, 2) as context:
        assert context_of(job.id) is context
        assert Crowd(context.gate, 8, until_in(2)).join() == ["through"] * 8
    with pytest.raises(JobStoppedError, match="the run has ended"), context_of(job.id).gate.slot():
        pytest.fail("nobody may enter")


def test_a_run_that_breaks_off_closes_its_gate(job: Job) -> None:
    def run() -> None:
        with opened(job, 2):
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        run()
    assert context_of(job.id).gate.closed


def test_the_next_run_of_a_job_has_an_open_gate(job: Job) -> None:
    with opened(job, 1):
        pass
    with opened(job, 1) as again:
        assert context_of(job.id).gate is again.gate
        assert Crowd(again.gate, 1).join() == ["through"]
