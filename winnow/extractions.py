"""The stored result of a cell: values with their evidence, and the marks that an answer earned on its way in."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from winnow.answers import AnswerStatus
from winnow.documents import Box

Mark = Literal["exact", "normalised", "approximate", "absent"]
Value = str | float | bool
"""A value as stored: text, ISO dates and categories as text, numbers and booleans as themselves."""

Flag = Literal[
    "evidence_absent",  # the quote is not in the document
    "no_evidence",  # a value came without a quote
    "low_confidence",  # below the variable's threshold
    "unclear",  # the model says that the document leaves it open
    "not_readable",  # the value cannot be read as the variable's type
    "invalid",  # the value breaks the variable's validation
    "several_values",  # more values than the variable takes
    "no_value",  # status found, but no value given
]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A verbatim quote and where it stands. `start` and `end` are characters of the document's text."""

    quote: str
    mark: Mark
    start: int | None = None
    end: int | None = None
    page: int | None = None
    box: Box | None = None  # of the block that holds it


@dataclass(frozen=True, kw_only=True)
class FoundValue:
    """One value of a cell. `value` is None where what the model wrote (`raw`) cannot be read or is not valid."""

    value: Value | None
    raw: str
    evidence: Evidence | None = None
    problem: str | None = None  # why the value is not accepted, for people


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """What is known about a cell."""

    status: AnswerStatus
    values: tuple[FoundValue, ...] = ()
    confidence: float = 0.0
    flags: tuple[Flag, ...] = ()
    default: Value | None = None  # filled in by the codebook where the document states nothing

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
class DatasetCell:
    """One cell of the dataset as exports see it: the newest accepted extraction, or why there is none."""

    document: str
    document_hash: str
    variable: str
    status: str  # an AnswerStatus, or `failed` or `not_asked`
    reason: str | None = None
    extraction: Extraction | None = None
    prompt_version: int | None = None
    job: int | None = None
    model: str | None = None
    answered_at: datetime | None = None
