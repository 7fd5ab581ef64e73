"""Several processes share a job: no cell is worked on twice, and what one leaves behind the others take over."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from db import workers
from db.session import transaction
from tasks import lease
from tasks.plan_job import join_job, plan_job
from tests import factories
from tests.factories import options, variable
from tests.openai_server import OpenAIServer
from tests.tasks.jobs_here import context, do, project, rows, stored, wait_until, work
from winnow.jobs import WorkItem

pytestmark = pytest.mark.usefixtures("database")

ROOT = Path(__file__).parents[2]
WORK = """
import os, sys
from db import workers
workers.LEASE_SECONDS = 1
from tasks.ledger import Ledger
from tasks.plan_job import join_job
from tests.tasks.jobs_here import work
if "dies" in sys.argv:
    Ledger.store = lambda *_: os._exit(9)  # a reply is there, and is about to be stored
print("here", flush=True)
input()
work(join_job(int(sys.argv[1])), slots=2)
"""
TWO = ("title", variable("amount", type="number"))


class Colleague:
    """Another process that works on a job, once it is told to begin."""

    def __init__(self, job_id: int, *how: str) -> None:
        command = [sys.executable, "-W", "error", "-c", WORK, str(job_id), *how]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        options: dict[str, Any] = {"text": True, "cwd": ROOT, "env": dict(os.environ), **pipes}
        self._process = subprocess.Popen(command, **options)

    def begin(self) -> None:
        assert self._process.stdout
        assert self._process.stdin
        assert self._process.stdout.readline() == "here\n", self._process.communicate()
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def ended(self) -> int:
        """Its exit status."""
        _, problems = self._process.communicate(timeout=60)
        assert "Error" not in problems, problems
        return self._process.returncode

    def freeze(self) -> None:
        """Stop it while none of its transactions is open: what they lock, nobody could take over."""
        self._process.send_signal(signal.SIGSTOP)
        while rows("SELECT FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in trans%'"):
            self.thaw()
            time.sleep(0.01)
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def colleague() -> Iterator[Any]:
    made: list[Colleague] = []

    def make(*given: Any) -> Colleague:
        made.append(Colleague(*given))
        return made[-1]

    yield make
    for one in made:
        one.kill()


def documents(many: int, *variables: Any) -> int:
    """The id of a planned job."""
    texts = {f"{number:02}.txt": f"Contract {number:02} costs {number + 10} euros." for number in range(many)}
    project(*(variables or TWO), texts=texts)
    return plan_job("Grants", options()).id


def strike_out() -> None:
    """What others do with those that were not heard of for too long."""
    with transaction() as connection:
        connection.exec_driver_sql("UPDATE worker SET lease_until = now() - interval '1 second'")
        assert workers.reap(connection) > 0


def test_two_processes_share_a_job_and_no_cell_is_asked_twice(model_server: OpenAIServer, colleague: Any) -> None:
    job_id = documents(12)
    model_server.configure(latency=0.2)
    other = colleague(job_id)
    other.begin()
    wait_until(lambda: model_server.stats().requests > 0)
    ended = work(join_job(job_id), slots=2)

    assert other.ended() == 0
    assert (stored(ended).status, ended.counts.done, ended.counts.failed) == ("completed", 24, 0)
    assert (model_server.stats().requests, model_server.stats().duplicates) == (24, 0)
    shares = [row.calls for row in rows("SELECT count(*) AS calls FROM call GROUP BY worker_id")]
    assert len(shares) == 2
    assert min(shares) >= 4
    assert rows("SELECT count(*) FROM call WHERE attempts > 1") == [(0,)]


def test_the_last_documents_of_a_process_that_is_killed_are_waited_for_and_taken_over(
    model_server: OpenAIServer, colleague: Any
) -> None:
    """Killed after the reply, before it was stored: that one call is made again, and the books tell of both."""
    job_id = documents(3)
    model_server.configure(latency=0.5)
    other = colleague(job_id, "dies")
    other.begin()
    wait_until(lambda: model_server.stats().requests > 0)
    ended = work(join_job(job_id), slots=2)

    assert other.ended() == 9
    assert (ended.status, ended.counts.done, ended.counts.failed) == ("completed", 6, 0)
    assert (model_server.stats().requests, model_server.stats().duplicates) == (7, 1)
    assert rows("SELECT attempts, status, count(*) FROM call GROUP BY 1, 2 ORDER BY 1") == [
        (1, "answered", 5), (2, "answered", 1),
    ]  # fmt: skip
    assert rows("SELECT * FROM claim") == []


def test_a_process_that_was_frozen_writes_nothing_over_what_the_new_owner_wrote(
    model_server: OpenAIServer, colleague: Any
) -> None:
    job_id = documents(3)
    model_server.configure(latency=0.3)
    other = colleague(job_id)
    other.begin()
    wait_until(lambda: model_server.stats().requests > 0)
    other.freeze()
    ended = work(join_job(job_id), slots=2)
    results = rows("SELECT * FROM extraction ORDER BY id"), rows("SELECT * FROM cell ORDER BY id")
    other.thaw()

    assert other.ended() == 0
    assert (ended.status, ended.counts.done, ended.counts.failed) == ("completed", 6, 0)
    assert (rows("SELECT * FROM extraction ORDER BY id"), rows("SELECT * FROM cell ORDER BY id")) == results
    assert model_server.stats().duplicates <= 2  # those in flight
    assert rows("SELECT * FROM worker") == []


def test_a_late_writer_changes_no_result_and_its_reply_is_kept(model_server: OpenAIServer) -> None:
    documents(1, "title")
    model_server.configure(latency=0.5)
    with context() as job:
        (holding,) = job.holdings.claim(0)
        item = WorkItem(cells=tuple(holding.cells), document="00.txt", variable="title")
        outcome: list[Any] = []
        late = threading.Thread(target=lambda: outcome.append(do(job.job, item)))
        late.start()
        wait_until(lambda: model_server.stats().requests > 0)
        strike_out()
        with transaction() as connection:
            factories.answer(connection, item.cells[0], factories.extraction("the new owner's"))
        late.join()

    assert "Another worker has taken over" in outcome[0].message
    (extraction,) = rows("SELECT id, values FROM extraction")
    assert [one["value"] for one in extraction.values] == ["the new owner's"]
    assert rows("SELECT extraction_id FROM cell") == [(extraction.id,)]
    assert rows("SELECT count(*) FROM call WHERE status = 'answered' AND reply IS NOT NULL") == [(2,)]


def test_what_a_late_writer_bought_is_not_bought_again(model_server: OpenAIServer) -> None:
    job_id = documents(1, "title")
    model_server.configure(latency=0.3)
    with context() as job:
        (holding,) = job.holdings.claim(0)
        item = WorkItem(cells=tuple(holding.cells), document="00.txt", variable="title")
        late = threading.Thread(target=do, args=(job.job, item))
        late.start()
        wait_until(lambda: model_server.stats().requests > 0)
        strike_out()
        late.join()
    assert stored(job.job).counts.pending == 1

    assert work(join_job(job_id)).status == "completed"
    assert model_server.stats().requests == 1


def test_a_worker_that_was_struck_out_registers_anew_and_goes_on(
    model_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "_EVERY", 0.5)
    job_id = documents(6)
    model_server.configure(latency=0.2)

    def strike_out_once() -> None:
        wait_until(lambda: model_server.stats().requests >= 3)
        strike_out()

    striking = threading.Thread(target=strike_out_once)
    striking.start()
    ended = work(join_job(job_id), slots=2)
    striking.join()

    assert (ended.status, ended.counts.done, ended.counts.failed) == ("completed", 12, 0)
    assert model_server.stats().duplicates <= 2  # those in flight
    assert rows("SELECT count(DISTINCT worker_id) FROM call") == [(2,)]
    assert rows("SELECT * FROM claim") == []
