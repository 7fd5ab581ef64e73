"""What the chaos tests share: corpora, databases with them, runs that may be killed, and the account of every reply.

The model server numbers its requests and writes the number into the reply. So the database says of every request
whether its reply was stored, and when; what was answered and is not stored was lost, and had to be bought again.
"""

import csv
import io
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psycopg
import yaml

from benchmarks.command import Winnow
from tests import entity_corpus
from tests.openai_settings import SPOILED, Json
from winnow.jobs import JobStatus

CONTRACTS: dict[str, Any] = {
    "checks": [{"expression": "ends >= signed", "message": "it ends before it was signed"}],
    "variables": [
        {"name": "signed", "type": "date", "instructions": "The day on which the contract was signed."},
        {"name": "ends", "type": "date", "instructions": "The last day of the contract."},
        {"name": "buyer", "type": "text", "instructions": "Who buys."},
        {"name": "price", "type": "number", "instructions": "The price in euros."},
        {"name": "has_penalty", "type": "boolean", "instructions": "Whether there is a penalty for late delivery."},
        {
            "name": "penalty", "type": "number", "instructions": "The penalty for late delivery, in euros.",
            "depends_on": [{"variable": "has_penalty", "condition": "equals", "value": True}],
        },
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Corpus:
    """A project that can be asked about, with what the model server needs for its answers."""

    name: str
    codebook: dict[str, Any]
    documents: dict[str, str]
    truth: dict[str, Any] = field(default_factory=dict)


def contracts(name: str, documents: int) -> Corpus:
    """Rows are documents. One variable in six depends on another, and one contract in seven breaks the check."""
    texts, truth = {}, {}
    for number in range(documents):
        drawn = random.Random(f"{name} {number}")
        signed = date(2001, 1, 1) + timedelta(days=drawn.randrange(8000))
        ends = signed + timedelta(days=drawn.randrange(30, 3000) * (1 if number % 7 else -1))
        said: dict[str, tuple[object, str]] = {
            "signed": (signed, f"This contract was signed on {signed}."),
            "ends": (ends, f"It ends on {ends}, without notice."),
            "buyer": (buyer := f"{drawn.choice(entity_corpus.PLACES)} Works Ltd", f"The buyer is {buyer}."),
            "price": (price := drawn.randrange(1000, 900_000), f"The price is {price} euros."),
            "has_penalty": ("true", penalty := f"Late delivery costs {price // 10} euros."),
            "penalty": (price // 10, penalty),
        }
        if number % 2:
            said["has_penalty"] = ("false", "There is no penalty for late delivery.")
        texts[f"contract {number:04}.txt"] = "\n\n".join([f"Contract {name} No. {number:04}.", *_words(said)]) + "\n"
        truth[f"Contract {name} No. {number:04}."] = {
            variable: {"values": [{"value": str(value), "evidence": words}]}
            for variable, (value, words) in said.items()
        }
    return Corpus(name, {**CONTRACTS, "project": name}, texts, truth)


def _words(said: dict[str, tuple[object, str]]) -> list[str]:
    return list(dict.fromkeys(words for name, (_, words) in said.items() if name != "penalty"))


def protests(name: str, documents: int, entities: int = 12) -> Corpus:
    """Rows are entities: a document's list of them is asked first, and then each of their variables."""
    kinds: tuple[entity_corpus.Kind, ...] = ("table", "list", "prose", "mixed")
    texts = {
        f"monitor {number:04}.txt": entity_corpus.entity_document(
            entities, seed=hash_of(name) + number, kind=kinds[number % 4], pages=False
        ).text
        for number in range(documents)
    }
    return Corpus(name, {**entity_corpus.CODEBOOK, "project": name}, texts)


def hash_of(name: str) -> int:
    """The same number for the same name, in every process."""
    return sum(position * ord(letter) for position, letter in enumerate(name, 1))


def answers(corpora: Sequence[Corpus]) -> Json:
    """The model server's settings under which it answers all of them truly."""
    return {
        "truth": {key: known for corpus in corpora for key, known in corpus.truth.items()},
        "entity_pattern": entity_corpus.ENTITY_PATTERN,
        "announced_pattern": entity_corpus.ANNOUNCED_PATTERN,
        "identified_by": list(entity_corpus.CODEBOOK["unit_of_observation"]["identified_by"]),
    }


@dataclass(frozen=True)
class Store:
    """A PostgreSQL on which every run gets a database of its own."""

    address: Callable[[str], str]  # of a database, by its name

    def copy(self, name: str, template: str = "template1") -> str:
        """A new database, as the template is. Its address."""
        with psycopg.connect(self.address("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.address(name)

    def rows(self, name: str, query: str) -> list[tuple[Any, ...]]:
        """What a query finds in a database."""
        with psycopg.connect(self.address(name), autocommit=True) as connection:
            return connection.execute(query).fetchall()

    def replies(self, name: str) -> dict[int, "Stored"]:
        """The replies that are stored, by the model server's number of the request."""
        found = self.rows(
            name,
            "SELECT substring(reply::text from 'chatcmpl-([0-9]+)')::int, status,"
            " extract(epoch FROM answered_at)::float FROM call WHERE reply IS NOT NULL",
        )
        return {number: Stored(status == "answered", at) for number, status, at in found}

    def settle(self, name: str) -> None:
        """Wait until what a killed process had begun is committed or rolled back."""
        query = f"SELECT 1 FROM pg_stat_activity WHERE datname = '{name}' AND application_name LIKE 'winnow%'"
        for _ in range(500):
            if not self.rows("postgres", query):
                return
            time.sleep(0.01)
        raise RuntimeError("connections of a killed process are still open after 5 s")


@dataclass(frozen=True)
class Stored:
    """A reply in the database."""

    usable: bool
    at: float  # seconds since 1970


_JOIN = """
import sys
from flows.prefect_environment import use_prefect
use_prefect()
from flows.extract_variables import extract_variables
figures = extract_variables(sys.argv[1], concurrency=int(sys.argv[2]), job=int(sys.argv[3]))
sys.exit(not figures["status"].startswith("completed"))
"""
"""What a further run of a deployment does, as a program."""


class Life:
    """One `winnow run`, or a further run that joins its job, from its start to its end, however it ends."""

    def __init__(self, winnow: Winnow, *arguments: object, joins: bool = False) -> None:
        command, how = winnow.process(*arguments)
        if joins:
            command = [sys.executable, "-c", _JOIN, *map(str, arguments)]
        self.began = time.monotonic()
        self.log = winnow.home / f"run-{time.time_ns()}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.ended: float | None = None
        self.killed_by: signal.Signals | None = None
        self.struck_at = 0.0
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, **how, stdout=subprocess.DEVNULL, stderr=log)

    def send(self, number: signal.Signals) -> None:
        """Send a signal; SIGKILL and SIGTERM are noted as why it ended."""
        with suppress(ProcessLookupError):
            self.process.send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            self.killed_by, self.struck_at = number, time.monotonic()

    def kill(self) -> bool:
        """Kill it, and wait until it is gone. False where it had ended before."""
        self.send(signal.SIGKILL)
        ended = self.process.wait()
        self.over()
        return ended == -signal.SIGKILL

    def over(self) -> bool:
        """Whether it has ended."""
        if self.process.poll() is None:
            return False
        if self.ended is None:
            self.ended = time.monotonic()
        return True

    @property
    def last_words(self) -> str:
        """The last line that it wrote to standard error."""
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else "nothing said"


def prepare(winnow: Winnow, corpus: Corpus, folder: Path) -> None:
    """Apply the codebook and read the documents."""
    own = folder / corpus.name
    own.mkdir(parents=True)
    (own / "codebook.yaml").write_text(yaml.safe_dump(corpus.codebook, sort_keys=False))
    for name, text in corpus.documents.items():
        (own / name).write_text(text)
    winnow("apply", own / "codebook.yaml")
    winnow("ingest", corpus.name, *(own / name for name in corpus.documents))


def dataset(winnow: Winnow, corpus: Corpus, folder: Path) -> list[dict[str, str]]:
    """The exported rows, one per value, in one order, without the job's number and the time."""
    written = folder / f"{corpus.name} {time.monotonic_ns()}.csv"
    winnow("export", corpus.name, "--shape", "long", "--output", written)
    rows = list(csv.DictReader(io.StringIO(written.read_text(encoding="utf-8-sig"))))
    for row in rows:
        del row["job"], row["answered_at"]
    return sorted(rows, key=lambda row: tuple(row.values()))


def differences(undisturbed: list[dict[str, str]], rows: list[dict[str, str]]) -> list[str]:
    """What is not the same in two datasets, a line for each of the first rows."""
    before, after = (Counter(tuple(row.items()) for row in table) for table in (undisturbed, rows))
    missing, more = list((before - after).elements()), list((after - before).elements())
    said = [f"rows are missing: {len(missing)}, rows are new: {len(more)}"] if missing or more else []
    for kind, table in (("missing", missing), ("new", more)):
        said += [f"{kind}: { {name: value for name, value in row if value} }" for row in table[:3]]
    return said


def paid(line: Json) -> bool:
    """Whether a request was answered, and has to be paid for."""
    return bool(line["status"] == 200) and line["fault"] != "error_in_200"


def repeated(log: Sequence[Json]) -> list[Json]:
    """The requests that were made before and answered then."""
    seen: set[str] = set()
    found = []
    for line in log:
        if line["digest"] in seen:
            found.append(line)
        if paid(line) and line["fault"] not in SPOILED:
            seen.add(line["digest"])
    return found


def bought_again(log: Sequence[Json], stored: dict[int, Stored]) -> list[str]:
    """The requests that were made after a usable reply to them had been stored: there must be none."""
    offset = time.time() - time.monotonic()
    answered: dict[str, float] = {}
    for line in log:
        reply = stored.get(line["number"])
        if reply and reply.usable:
            answered[line["digest"]] = min(reply.at - offset, answered.get(line["digest"], float("inf")))
    return [
        f"request {line['number']} was made {line['at'] - answered[line['digest']]:.2f} s after its reply was stored"
        for line in log
        if line["at"] > answered.get(line["digest"], line["at"])
    ]


def overtaken(log: Sequence[Json], stored: dict[int, Stored]) -> list[Json]:
    """The repeated requests whose first reply was stored later: by a worker that was taken for gone, and was not."""
    offset = time.time() - time.monotonic()
    kept: dict[str, float] = {}
    found = []
    for line in log:
        if kept.get(line["digest"], line["at"]) > line["at"]:
            found.append(line)
        if reply := stored.get(line["number"]):
            kept.setdefault(line["digest"], reply.at - offset)
    return found


def lost(log: Sequence[Json], stored: dict[int, Stored]) -> list[Json]:
    """The requests that were answered, and whose reply is not stored."""
    return [line for line in log if paid(line) and line["number"] not in stored]


def miscounted(figures: dict[str, Any]) -> list[str]:
    """What is wrong with the counts of an ended job."""
    cells = figures["cells"]
    total = sum(count for status, count in cells.items() if status != "total")
    said = [] if total == cells["total"] else [f"the counts do not add up: {cells}"]
    if cells["pending"] or cells["failed"] or cells["skipped"]:
        said.append(f"not all cells were answered: {cells}, {figures['failures']}")
    ended: JobStatus = "completed"
    return said if figures["status"] == ended else [*said, f"the job is {figures['status']}: {figures['reason']}"]


@contextmanager
def scratch(kept: Path | None) -> Iterator[Path]:
    """A folder for everything, which goes away with the block unless it was asked for. Winnow's home lies in it."""
    with tempfile.TemporaryDirectory(prefix="winnow-chaos-", ignore_cleanup_errors=True) as folder:
        chosen = kept.resolve() if kept else Path(folder)
        chosen.mkdir(parents=True, exist_ok=True)
        os.environ["WINNOW_HOME"] = str(chosen / "home")
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # asked to end, stop the servers as at Ctrl-C
        yield chosen


@contextmanager
def postgres(folder: Path) -> Iterator[Any]:
    """An embedded server of our own, which goes away with the block."""
    from db import embedded

    server = embedded.server(folder)
    try:
        yield server
    finally:
        server.cleanup()


def median_or(values: Sequence[float], otherwise: float) -> float:
    """The middle one; something else where there is none."""
    return sorted(values)[len(values) // 2] if values else otherwise
