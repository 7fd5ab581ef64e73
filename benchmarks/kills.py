"""`python -m benchmarks.kills`: a job whose process is killed at random points, again and again, until it is done.

Each corpus is run once undisturbed, and once with its `winnow run` killed (SIGKILL) while it starts, plans, asks,
stores and ends, and started again. The dataset must come out the same; no reply that was stored may be bought again;
and no more requests may be repeated than were in flight at the kills. Exits with 1 where that does not hold.
"""

import argparse
import random
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from benchmarks import chaos
from benchmarks.chaos import Corpus, Life, Store, Stored
from benchmarks.command import Winnow, head, line
from tests.openai_client import OpenAIServer
from tests.openai_settings import Json

HEAD = (
    "rows are", "cells", "requests, undisturbed", "kills", "before their first request", "after the last request",
    "requests", "repeated", "in flight at kills", "most at one", "answered, not stored", "most at one",
    "bought again", "dataset", "seconds",
)  # fmt: skip
ENDING = 3  # kills of each corpus that come when all is asked


@dataclass
class Outcome:
    """What came of one corpus."""

    corpus: Corpus
    cells: int = 0
    undisturbed: int = 0  # requests
    requests: int = 0
    kills: int = 0
    early: int = 0  # kills before the first request of their life
    late: int = 0  # kills after the last request of all
    repeated: int = 0
    in_flight: list[int] = field(default_factory=list)  # at each kill
    unstored: list[int] = field(default_factory=list)  # replies that had come by then
    again: int = 0  # stored replies that were bought again
    same: bool = False  # the dataset
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0  # of the disturbed run


class Killing:
    """One corpus, with databases, model server and process of its own."""

    def __init__(
        self, corpus: Corpus, folder: Path, store: Store, server: OpenAIServer, asked: argparse.Namespace
    ) -> None:
        self._corpus, self._folder, self._store, self._server, self._asked = corpus, folder, store, server, asked
        self._drawn = random.Random(f"{asked.seed} {corpus.name}")
        self._starts: list[float] = []  # seconds from a process's start to its first request
        self._lives: list[tuple[Life, dict[int, Stored]]] = []  # and the replies that were stored at their ends
        self._job = (corpus.name, "--concurrency", asked.slots)
        self.outcome = Outcome(corpus)

    def run(self, kills: int) -> Outcome:
        """Undisturbed, then disturbed; then compare."""
        outcome = self.outcome
        read, calm, wild = map(self._winnow, ("read", "calm", "wild"))
        self._store.copy(read.home.name)
        chaos.prepare(read, self._corpus, self._folder / "documents")
        for winnow in (calm, wild):
            self._store.copy(winnow.home.name, template=read.home.name)
        outcome.cells = calm("run", *self._job, may_fail=True)["cells"]["total"]
        log = self._server.requests()
        outcome.undisturbed = len(log)

        self._server.reset()
        began = time.monotonic()
        while outcome.kills < kills:
            self._live(wild, kills - outcome.kills)
        self._live(wild, 0)
        outcome.seconds = time.monotonic() - began
        self._compare(calm, wild)
        self._account(log)
        return outcome

    def _winnow(self, what: str) -> Winnow:
        name = f"{self._corpus.name}-{what}"
        return Winnow(self._folder / "homes" / name, self._server.url, self._store.address(name))

    def _live(self, winnow: Winnow, left: int) -> None:
        """Run until the next kill; without kills left, to the end."""
        before = self._server.stats().requests
        life = Life(winnow, "run", *self._job)
        try:
            self._wait(life, before, left)
        finally:
            killed = life.kill()
        self._store.settle(winnow.home.name)
        self._lives.append((life, self._store.replies(winnow.home.name)))
        self.outcome.kills += killed
        self.outcome.early += killed and self._server.stats().requests == before
        if not killed and life.process.returncode:
            self.outcome.wrong.append(f"a run ended by itself with {life.process.returncode}: {life.last_words}")

    def _wait(self, life: Life, before: int, left: int) -> None:
        """Wait for the moment of the next kill, or for the end of the process."""
        further, seconds = self._moment(left)
        until = None if further else life.began + seconds
        started = False
        while not life.over() and (until is None or time.monotonic() < until):
            asked = self._server.stats().requests - before
            if asked and not started:
                started = True
                self._starts.append(time.monotonic() - life.began)
            if until is None and asked >= further:
                until = time.monotonic() + seconds
            time.sleep(0.03)

    def _moment(self, left: int) -> tuple[int, float]:
        """After how many further requests the next kill comes, and how many seconds after the last of them.

        A quarter of the kills come by the clock, anywhere in start and plan. The others are spread over the requests
        that are left, so that the job is not done before the last kills; those come when it ends.
        """
        to_ask = self.outcome.undisturbed - (len(self._lives[-1][1]) if self._lives else 0)
        if not left:
            return 0, float("inf")
        if left <= ENDING:
            return max(0, to_ask), self._drawn.uniform(0, 3)
        if to_ask <= 0 or self._drawn.random() < 0.25:
            return 0, self._drawn.uniform(0, 1.2 * chaos.median_or(self._starts, 4.0))
        mean = max(1.0, to_ask / (left - ENDING))
        return self._drawn.randint(1, max(1, round(2 * mean) - 1)), self._drawn.uniform(0, self._asked.latency)

    def _compare(self, calm: Winnow, wild: Winnow) -> None:
        (job, *_) = wild("jobs")["jobs"]
        datasets = [chaos.dataset(winnow, self._corpus, self._folder) for winnow in (calm, wild)]
        differing = chaos.differences(*datasets)
        self.outcome.same = not differing
        self.outcome.wrong += [*chaos.miscounted(job), *differing]

    def _account(self, calm: Sequence[Json]) -> None:
        """Find out, request by request, what was lost and what was bought again."""
        outcome, log = self.outcome, self._server.requests()
        stored = self._lives[-1][1]
        again = chaos.bought_again(log, stored)
        outcome.requests, outcome.repeated, outcome.again = len(log), len(chaos.repeated(log)), len(again)
        outcome.wrong += again
        if {one["digest"] for one in calm} != {one["digest"] for one in log}:
            outcome.wrong.append("other requests were made than undisturbed")
        starts = [life.began for life, _ in self._lives[1:]]
        for (life, there), (begin, end) in zip(self._lives, pairwise([0.0, *starts, float("inf")]), strict=True):
            gone = chaos.lost([one for one in log if begin <= one["at"] < end], there)
            unstored = sum(1 for one in gone if one["at"] + one["seconds"] < life.ended)
            outcome.in_flight.append(len(gone) - unstored)
            outcome.unstored.append(unstored)
            outcome.late += life.process.returncode != 0 and life.ended > log[-1]["at"]
            if life.process.returncode == 0 and gone:
                outcome.wrong.append(f"{len(gone)} replies are not stored, though nothing killed their run")
            if missing := there.keys() - stored.keys():
                outcome.wrong.append(f"{len(missing)} replies that were stored are gone")
        outcome.wrong += self._too_many()

    def _too_many(self) -> list[str]:
        """More in flight than may be; more replies still to be stored than task runs; more repeated than lost."""
        outcome, slots = self.outcome, self._asked.slots
        lost = sum(outcome.in_flight) + sum(outcome.unstored)
        said = {
            f"{max(outcome.in_flight)} requests were in flight, of {slots}": max(outcome.in_flight) > slots,
            f"{max(outcome.unstored)} replies waited to be stored": max(outcome.unstored) > 2 * slots,
            f"{outcome.repeated} requests were repeated, and {lost} lost": outcome.repeated > lost,
        }
        return [what for what, holds in said.items() if holds]


def main() -> None:
    """Both corpora at once, each with half of the kills."""
    asked = _arguments()
    corpora = chaos.contracts("contracts", asked.documents), chaos.protests("protests", max(1, asked.documents // 8))
    with (
        chaos.scratch(asked.folder) as folder,
        chaos.postgres(folder / "home") as server,
        ThreadPoolExecutor(len(corpora)) as threads,
    ):
        from flows.prefect_environment import use_prefect

        use_prefect()  # one Prefect server for all lives, as with `winnow up`
        store = Store(lambda database: str(server.get_uri(database=database)))

        def kill(corpus: Corpus) -> Outcome:
            settings = {"latency": asked.latency, "jitter": asked.jitter, **chaos.answers([corpus])}
            with OpenAIServer(**settings) as model:
                return Killing(corpus, folder, store, model, asked).run(asked.kills // len(corpora))

        outcomes = list(threads.map(kill, corpora))
    print(head(HEAD))
    for outcome in outcomes:
        print(line(_row(outcome)))
    wrong = [f"{outcome.corpus.name}: {said}" for outcome in outcomes for said in outcome.wrong]
    print("\n".join(wrong), file=sys.stderr)
    sys.exit(bool(wrong))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--documents", type=int, default=96, help="contracts; an eighth as many lists of protests")
    parser.add_argument("--slots", type=int, default=8, help="calls in flight")
    parser.add_argument("--latency", type=float, default=0.1, help="seconds before a reply, at the least")
    parser.add_argument("--jitter", type=float, default=0.2, help="up to so many seconds more")
    parser.add_argument("--seed", type=int, default=4, help="of the moments")
    parser.add_argument("--folder", type=Path, help="a new one, which is kept, with databases and logs")
    return parser.parse_args()


def _row(outcome: Outcome) -> tuple[str, ...]:
    return (
        str(outcome.corpus.codebook.get("unit_of_observation", {}).get("entity", "contract")),
        f"{outcome.cells:,}",
        f"{outcome.undisturbed:,}",
        str(outcome.kills),
        str(outcome.early),
        str(outcome.late),
        f"{outcome.requests:,}",
        str(outcome.repeated),
        str(sum(outcome.in_flight)),
        str(max(outcome.in_flight)),
        str(sum(outcome.unstored)),
        str(max(outcome.unstored)),
        str(outcome.again),
        "the same" if outcome.same else "DIFFERS",
        f"{outcome.seconds:.0f}",
    )


if __name__ == "__main__":
    main()
