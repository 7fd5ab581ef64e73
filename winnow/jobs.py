"""Jobs and cells: what a run over documents × variables is, and how its cells are counted."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Literal

JobKind = Literal["sample", "full"]
JobStatus = Literal["running", "paused", "completed", "completed_with_errors", "cancelled"]
CellStatus = Literal["pending", "extracted", "flagged", "failed", "skipped"]

UNFINISHED: tuple[JobStatus, ...] = ("running", "paused")


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


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job as stored."""

    id: int
    project: str
    status: JobStatus
    options: JobOptions
    counts: Counts
    reason: str | None = None
    created_at: datetime
    finished_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Spending:
    """What a job's calls cost. Tokens are None-free sums over the calls whose provider reported them."""

    calls: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class CellRef:
    """A cell as a Prefect task run knows it: names and ids, nothing of what stands in the document."""

    id: int
    job: int
    document: str
    variable: str


def draw_sample(documents: Sequence[int], size: int, seed: int) -> list[int]:
    """A random sample of document ids: the same for the same ids, size and seed, in the order given."""
    drawn = set(random.Random(seed).sample(sorted(documents), min(size, len(documents))))  # noqa: S311 # not a secret
    return [document for document in documents if document in drawn]
