"""`python -m benchmarks.entities`: whether long lists come back whole from a model whose replies are cut.

Documents with known entities (tests/entity_corpus.py), as PDF, are read by Winnow from a model server that answers
truly but ends every reply after 1,000 tokens; then again from one that also spoils some replies and fails at others.
The exported table is compared with the truth: the entities, and the values of all their variables.
"""

import argparse
import csv
import json
import tempfile
from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from benchmarks.command import head, line, own_winnow
from tests.entity_corpus import ANNOUNCED_PATTERN, CODEBOOK, ENTITY_PATTERN, Kind, entity_document
from tests.openai_server import OpenAIServer, Stats

Row = dict[str, str]

KINDS: tuple[Kind, ...] = ("table", "list", "prose", "mixed")
UNIT = str(CODEBOOK["unit_of_observation"]["entity"])
IDENTIFIED_BY = list(CODEBOOK["unit_of_observation"]["identified_by"])
TYPES = {str(variable["name"]): str(variable["type"]) for variable in CODEBOOK["variables"]}

HEAD = (
    "the model", "entities", "entity recall", "entity precision", "value recall", "value precision", "documents",
    "calls", "asked twice", "spoiled or failed", "seconds",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Match:
    """How many things there are, how many were found, and how many of these are right, each with its number."""

    known: int
    found: int
    right: int

    @classmethod
    def of(cls, known: Iterator[Hashable], found: Iterator[Hashable]) -> "Match":
        """What is found twice is right once."""
        truth, listed = Counter(known), Counter(found)
        return cls(known=truth.total(), found=listed.total(), right=(truth & listed).total())

    @property
    def recall(self) -> float:
        """The share of what there is that was found."""
        return self.right / self.known

    @property
    def precision(self) -> float:
        """The share of what was found that is right."""
        return self.right / self.found if self.found else 0.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one corpus and one behaviour of the model."""

    model: str
    entities: Match
    values: Match
    documents: dict[str, int]  # by their completeness
    cells: dict[str, int]  # by their status
    calls: int
    asked_twice: int  # the same request, answered before or still under way
    faults: dict[str, int]
    seconds: float  # from the first request to the last reply


def main() -> None:
    """Both behaviours, one after the other, over the same documents."""
    arguments = _arguments()
    faults = {"malformed": arguments.faults, "server_error": arguments.faults}
    models = {"answers truly": {}, f"{arguments.faults:.0%} malformed, {arguments.faults:.0%} failing": faults}
    outcomes = []
    if not arguments.json:
        _tell_what(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        truth = write_corpus(Path(scratch), arguments.entities)
        for title, rates in models.items():
            outcomes.append(measure(title, Path(scratch), truth, arguments, rates))
            if not arguments.json:
                print(line(_row(outcomes[-1])), flush=True)  # at once: a run that is stopped leaves what it has
    if arguments.json:
        print(json.dumps({"entities": arguments.entities, "outcomes": [asdict(one) for one in outcomes]}, indent=2))


def _tell_what(arguments: argparse.Namespace) -> None:
    print(
        f"Documents of {', '.join(f'{number:,}' for number in arguments.entities)} entities, {len(TYPES)} variables; "
        f"replies end after {arguments.limit:,} tokens; {arguments.variables_per_call or 'all'} variables per call, "
        f"{arguments.slots} calls in flight, {arguments.latency:g} s each.\n"
    )
    print(head(HEAD), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", type=int, nargs="+", default=[5, 20, 100, 400, 1000, 3200], help="per document")
    parser.add_argument("--limit", type=int, default=1000, help="tokens after which a reply is cut")
    parser.add_argument("--faults", type=float, default=0.05, help="share of malformed, and of failing replies")
    parser.add_argument("--variables-per-call", type=int, default=0, help="0: all of an entity")
    parser.add_argument("--latency", type=float, default=0.01, help="seconds before a reply")
    parser.add_argument("--slots", type=int, default=32, help="calls in flight")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def write_corpus(folder: Path, sizes: list[int]) -> dict[str, list[Row]]:
    """A codebook and a PDF of each size. Returns the entities by the file's name."""
    (folder / "codebook.yaml").write_text(yaml.safe_dump(CODEBOOK, sort_keys=False))
    truth = {}
    for number, size in enumerate(sizes):
        document = entity_document(size, seed=number, kind=KINDS[number % len(KINDS)])
        assert document.pdf_bytes
        name = f"monitor {number + 1}.pdf"
        (folder / name).write_bytes(document.pdf_bytes)
        truth[name] = document.entities
    return truth


def measure(
    title: str, folder: Path, truth: dict[str, list[Row]], arguments: argparse.Namespace, rates: dict[str, float]
) -> Outcome:
    """Run Winnow over the corpus, and compare what it exports."""
    with (
        OpenAIServer(
            latency=arguments.latency, max_output_tokens=arguments.limit, rates=rates, identified_by=IDENTIFIED_BY,
            entity_pattern=ENTITY_PATTERN, announced_pattern=ANNOUNCED_PATTERN,
        ) as server,
        own_winnow(server.url) as winnow,
    ):  # fmt: skip
        project = winnow("apply", folder / "codebook.yaml")["project"]
        winnow("ingest", project, *sorted(folder.glob("*.pdf")))
        how = ("--variables-per-call", arguments.variables_per_call, "--concurrency", arguments.slots)
        job = winnow("run", project, *how, may_fail=True)
        documents = winnow("job", job["job"], "--documents")["documents"]
        winnow("export", project, "--output", folder / "dataset.csv")
        stats = server.stats()
    found = read_rows(folder / "dataset.csv")
    return Outcome(
        model=title,
        entities=Match.of(names_of(truth), ((document, row[UNIT]) for document, row in found)),
        values=Match.of(values_of(truth), values_in(found)),
        documents=dict(Counter(document["status"] for document in documents)),
        cells=job["cells"],
        calls=stats.requests,
        asked_twice=stats.duplicates,
        faults=stats.faults,
        seconds=_seconds(stats),
    )


def read_rows(path: Path) -> list[tuple[str, Row]]:
    """The rows of an exported table, each with its document."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [(row["document"], row) for row in csv.DictReader(file)]


def names_of(truth: dict[str, list[Row]]) -> Iterator[Hashable]:
    """The entities that there are, as a table names them."""
    for document, entities in truth.items():
        for entity in entities:
            yield document, _name(entity)


def values_of(truth: dict[str, list[Row]]) -> Iterator[Hashable]:
    """Every value that there is, with what its entity is."""
    rows = [(document, entity) for document, entities in truth.items() for entity in entities]
    yield from values_in([(document, {**entity, UNIT: _name(entity)}) for document, entity in rows])


def values_in(rows: list[tuple[str, Row]]) -> Iterator[Hashable]:
    """Every value of a table, with its document and entity; empty fields are none."""
    for document, row in rows:
        for name, kind in TYPES.items():
            if value := row[name]:
                yield document, row[UNIT], name, float(value) if kind == "number" else value


def _name(entity: Row) -> str:
    return " | ".join(entity[name] for name in IDENTIFIED_BY)


def _seconds(stats: Stats) -> float:
    return (stats.last_reply_at or 0.0) - (stats.first_request_at or 0.0)


def _row(outcome: Outcome) -> tuple[str, ...]:
    shares = (outcome.entities.recall, outcome.entities.precision, outcome.values.recall, outcome.values.precision)
    return (
        outcome.model,
        f"{outcome.entities.known:,}",
        *(_share(share) for share in shares),
        ", ".join(f"{count} {state}" for state, count in outcome.documents.items()),
        f"{outcome.calls:,}",
        str(outcome.asked_twice),
        f"{sum(outcome.faults.values()):,}",
        f"{outcome.seconds:.0f}",
    )


def _share(share: float) -> str:
    return "1.0" if share == 1 else f"{share:.4f}"


if __name__ == "__main__":
    main()
