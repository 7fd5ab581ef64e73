"""What every reader shares: candidates, their evidence, and an honest confidence."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from winnow.answers import AnswerValue
from winnow.baseline.passages import Index, Passage
from winnow.baseline.scoring import Row

_PLACEHOLDER = re.compile(
    r"\W*(?:n/?a|none|nil|unknown|pending|tb[acd]|to be \w+|keine?(?: angaben?)?|unbekannt|offen|néant|aucune?"
    r"|not (?:yet )?(?:stated|known|named|available|applicable|given|assigned))(?:\W|$)",
    re.IGNORECASE,
)
_SEMICOLON = re.compile(r"\s*;\s*")
_LISTING = re.compile(
    r"\s*,(?![0-9]|\s*(?:Inc|LLC|Ltd|L\.P|LP|Corp|Co)\b)\s*(?:(?:and|und|et)\s+)?|\s+(?:and|und|et|&)\s+"
)
_EVIDENCE = 320  # characters; a longer passage is cut around the value


@dataclass(frozen=True)
class Reading:
    """Values with their evidence; none where the document states nothing."""

    values: tuple[AnswerValue, ...] = ()
    confidence: float = 0.5


@dataclass(frozen=True, slots=True)
class Candidate:
    """A value that may be meant, where it stands, and how much speaks for it."""

    value: str
    evidence: tuple[int, int]
    score: float


def is_placeholder(text: str) -> bool:
    """Whether a labelled value says that there is none yet."""
    return bool(_PLACEHOLDER.match(text))


def listed_in(text: str) -> list[str]:
    """The parts of a list in one line: at its semicolons, else at its commas and "and"."""
    return (_SEMICOLON if ";" in text else _LISTING).split(text)


def evidence_in(index: Index, passage: Passage, start: int, end: int) -> tuple[int, int]:
    """The passage, or where it is long the part of it around a value, cut between words."""
    if passage.end - passage.start <= _EVIDENCE:
        return passage.start, passage.end
    room = max(0, _EVIDENCE - (end - start)) // 2
    first, last = max(passage.start, start - room), min(passage.end, end + room)
    while first > passage.start and first < start and not index.text[first - 1].isspace():
        first += 1
    while last < passage.end and last > end and not index.text[last].isspace():
        last -= 1
    return first, last


def from_row(row: Row) -> float:
    """The confidence in a value that the document itself labels."""
    return round(min(0.88, 0.2 + 0.68 * row.match), 2)


def left_open(index: Index, row: Row) -> Reading | None:
    """The reading of a label with a placeholder behind it; None for any other, and where the label may be another's."""
    open_ = row.match > 0.8 and is_placeholder(index.quote(row.start, row.end))
    return Reading((), from_row(row)) if open_ else None


def from_scores(best: float, second: float = 0.0) -> float:
    """The confidence in a candidate by its score and by how far the next one is behind."""
    margin = 1 - second / best if best > 0 else 0.0
    return round(0.25 + 0.25 * min(1.2, best) + 0.1 * margin, 2)


def absent(best: float, least: float) -> Reading:
    """Nothing passed: the surer, the further the best passage stayed behind."""
    return Reading((), round(0.6 - 0.15 * min(1.0, best / least), 2))


def stated(index: Index, found: Iterable[tuple[str, tuple[int, int]]], confidence: float) -> Reading:
    """Values with the passages that prove them, none of them twice."""
    values: dict[str, AnswerValue] = {}
    for value, (start, end) in found:
        values.setdefault(value.casefold(), AnswerValue(value=value, evidence=index.quote(start, end)))
    return Reading(tuple(values.values()), confidence)


def chosen(index: Index, candidates: list[Candidate], most: int, least: float) -> Reading:
    """The best candidates of different values, if the first passes the threshold."""
    order = sorted(candidates, key=lambda one: (-one.score, one.evidence))
    best = order[0].score if order else 0.0
    if best < least:
        return absent(best, least)
    others = [one.score for one in order if one.value != order[0].value]
    kept = [one for one in order if one.evidence == order[0].evidence and one.score >= 0.5 * best]
    found = [(one.value, one.evidence) for one in (kept if most > 1 else order[:1])]
    reading = stated(index, found, from_scores(best, others[0] if others and most == 1 else 0.0))
    return Reading(reading.values[:most], reading.confidence)
