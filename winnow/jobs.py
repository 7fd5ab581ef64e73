"""Jobs and cells: what a run over documents × variables is, and how its cells are counted."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Literal

JobKind = Literal["sample", "full"]
JobStatus = Literal["pending", "running", "paused", "completed", "completed_with_errors", "failed", "cancelled"]
CellStatus = Literal["pending", "extracted", "flagged", "failed", "skipped"]

UNFINISHED: tuple[JobStatus, ...] = ("pending", "running", "paused")
ENDED: tuple[JobStatus, ...] = ("completed", "completed_with_errors", "failed", "cancelled")

BY_HAND = "by a person"
"""How the reason of a job ends that somebody paused or cancelled."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Cells by status. At every moment they add up to `total`."""

    pending: int = 0
    extracted: int = 0
    flagged: int = 0
    failed: int = 0
    skipped: int = 0

    @property
    def total(self) -> int:
        """All cells of the job."""
        return sum(getattr(self, field.name) for field in fields(self))

    @property
    def done(self) -> int:
        """The cells that need no more work."""
        return self.total - self.pending


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """What a job was asked to do. Two runs with the same options go on with the same unfinished job."""

    kind: JobKind
    model: str
    variables: tuple[str, ...] = ()  # empty: all of the codebook
    sample: int | None = None  # how many documents
    seed: int | None = None  # of the random sample
    variables_per_call: int = 1  # how many variables of a document one call asks; 0: all
    budget: float | None = None  # US dollars that the job's calls may cost; None: no limit

    @property
    def task(self) -> "JobOptions":
        """What is asked for, whatever it may cost: the same for a job and for the run that goes on with it."""
        return replace(self, variables_per_call=1, budget=None)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job as stored."""

    id: int
    project: str
    status: JobStatus
    options: JobOptions
    counts: Counts
    reason: str | None = None
    deployed: bool = False  # its runs are those of a deployment: another can be started in place of one that is lost
    created_at: datetime
    finished_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Spending:
    """What calls cost. Tokens are sums over the calls whose provider reported them; `cost` is in US dollars."""

    calls: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None  # None where no call has a price
    estimated: int = 0  # calls whose cost rests on our own count of tokens


@dataclass(frozen=True, kw_only=True)
class CellRef:
    """A cell as a worker knows it: names and ids, nothing of what stands in the document."""

    id: int
    document_id: int
    document: str
    variable: str
    prompt_id: int
    question_key: str
    entity_id: int | None = None
    entity: str | None = None  # its stable id: its name stands in the document
    layer: int = 0
    pending: bool = True
    checked: bool = True  # False: once it is answered, its row's checks are to be made
    unit: bool = False  # asks for the document's entities
    wait: float = 0.0  # seconds until its next try is due


@dataclass(frozen=True, kw_only=True)
class WorkItem:
    """Cells of one document that are asked together: one task run."""

    cells: tuple[int, ...]
    document: str
    variable: str  # the names of the variables, for people
    check: bool = False  # the cells are answered: hold their rows against the codebook's checks


def draw_sample(documents: Sequence[int], size: int, seed: int) -> list[int]:
    """A random sample of document ids: the same for the same ids, size and seed, in the order given."""
    drawn = set(random.Random(seed).sample(sorted(documents), min(size, len(documents))))  # noqa: S311 # not a secret
    return [document for document in documents if document in drawn]
