"""The stored result of a cell: values with their evidence, and the marks that an answer earned on its way in."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from winnow.answers import AnswerStatus
from winnow.documents import Box

Mark = Literal["exact", "normalised", "approximate", "absent"]
Value = str | float | bool
"""A value as stored: text, ISO dates and categories as text, numbers and booleans as themselves."""

Completeness = Literal["complete", "truncated", "uncertain"]
"""Whether all of a document was read, and all that it announces was found."""

Flag = Literal[
    "evidence_absent",  # the quote is not in the document
    "no_evidence",  # a value came without a quote
    "low_confidence",  # below the variable's threshold
    "unclear",  # the model says that the document leaves it open
    "not_readable",  # the value cannot be read as the variable's type
    "invalid",  # the value breaks the variable's validation
    "several_values",  # more values than the variable takes
    "conflict",  # parts of the document give different values
    "no_value",  # status found, but no value given
    "check_failed",  # the row breaks a check of the codebook
    "incomplete",  # a part of the document could not be read
]


@dataclass(frozen=True, kw_only=True)
class Place:
    """A stretch of the document's text, on one page: `text[start:end]`."""

    start: int
    end: int
    page: int | None = None
    boxes: tuple[Box, ...] = ()  # around its words, a box per line; else the block's


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A verbatim quote and where it stands. A quote with gaps, or over two pages, has several places."""

    quote: str
    mark: Mark
    score: float = 1.0  # how much of the quote stands there: 1 but for approximate evidence; 0 where it is absent
    places: tuple[Place, ...] = ()

    @property
    def start(self) -> int | None:
        """Where it begins, in characters of the document's text."""
        return self.places[0].start if self.places else None

    @property
    def end(self) -> int | None:
        """Where its last piece ends."""
        return self.places[-1].end if self.places else None

    @property
    def page(self) -> int | None:
        """The page on which it begins."""
        return self.places[0].page if self.places else None


@dataclass(frozen=True, kw_only=True)
class FoundValue:
    """One value of a cell. `value` is None where what the model wrote (`raw`) cannot be read or is not valid."""

    value: Value | None
    raw: str
    evidence: tuple[Evidence, ...] = ()  # one for each part of the document that gave the value
    problem: str | None = None  # why the value is not accepted, for people
    confidence: float | None = None  # of the answer that it stood in


@dataclass(frozen=True, kw_only=True)
class Signals:
    """What speaks for an extraction, each between 0 and 1; None where there is nothing to go by.

    They are combined by `winnow.confidence`, and kept apart for whoever wants to weigh them otherwise.
    """

    said: float | None = None  # by the model
    grounding: float | None = None  # how the evidence was found
    validation: float | None = None  # whether the value passed what the codebook asks
    tokens: float | None = None  # the log-probabilities of the reply's tokens, as a probability


@dataclass(frozen=True, kw_only=True)
class Unread:
    """A stretch of the document that no reply covers, and why: the reason of an OutputError or RejectedCallError."""

    start: int
    end: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """What is known about a cell."""

    status: AnswerStatus
    values: tuple[FoundValue, ...] = ()
    confidence: float = 0.0
    signals: Signals = Signals()
    flags: tuple[Flag, ...] = ()
    default: Value | None = None  # filled in by the codebook where the document states nothing
    unread: tuple[Unread, ...] = ()
    announced: int | None = None  # how many entities the document says it has, where they were listed
    detail: str | None = None  # what a flag is about, where the flag alone does not say it

    @property
    def flagged(self) -> bool:
        """Whether a person should look at it."""
        return bool(self.flags)

    @property
    def accepted(self) -> tuple[Value, ...]:
        """The values that passed, or the default."""
        passed = tuple(found.value for found in self.values if found.value is not None)
        return passed or ((self.default,) if self.default is not None else ())


@dataclass(frozen=True, kw_only=True)
class DocumentAccount:
    """What became of one document of a dataset: whether all of it was read, and all its rows were found."""

    document: str
    document_hash: str
    status: Completeness | Literal["failed"]  # failed: the document gave no text, or its entities could not be listed
    announced: int | None  # entities that the document itself says there are
    listed: int | None  # entities that the model listed
    rows: int
    unread: int  # characters that no reply covers
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class DatasetCell:
    """One cell of the dataset as exports see it: the newest accepted extraction, or why there is none."""

    document: str
    document_hash: str
    variable: str
    status: str  # an AnswerStatus, or `failed`, `skipped` or `not_asked`
    entity: str | None = None  # the entity's stable id, where rows are entities
    entity_name: str | None = None
    completeness: Completeness | None = None  # of the document, where its rows are entities
    reason: str | None = None
    extraction: Extraction | None = None
    prompt_version: int | None = None
    job: int | None = None
    model: str | None = None
    answered_at: datetime | None = None
