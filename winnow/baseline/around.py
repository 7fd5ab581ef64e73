"""How variables are read for one entity: from the passage that shows it, then from what stands around it."""

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from winnow.baseline.numbers import unit_of
from winnow.baseline.passages import Index, build_index
from winnow.baseline.phrases import LAST_RESORT
from winnow.baseline.question import Question
from winnow.baseline.readers import read
from winnow.baseline.reading import Reading, stated
from winnow.baseline.tables import column_for, header_of, table_at
from winnow.baseline.words import stems

_WIDEST = 2000  # characters around an entity that are still about it


@dataclass(frozen=True)
class _Part:
    """A part of the document about the entity, nearer ones first."""

    index: Index
    evidence: str | None = None  # the document's own words, where the part is rewritten
    whole: bool = False  # whether all of it is about the entity


def read_around(index: Index, questions: Sequence[Question], entity: Mapping[str, Any]) -> list[Reading]:
    """What the document says about one entity; nothing where the entity's passage is not in it."""
    place = _located(index, str(entity.get("evidence") or ""), str(entity.get("name") or ""))
    parts = list(_parts(index, questions, place)) if place else []
    return [_read(parts, question) for question in questions]


def _read(parts: list[_Part], question: Question) -> Reading:
    nothing = Reading((), 0.5)
    for part in parts:
        reading = read(part.index, question)
        if not reading.values and part.whole:
            reading = _only_one(part.index, question)
        if reading.confidence <= LAST_RESORT and not part.whole:
            continue
        if reading.values and part.evidence is not None:
            proven = tuple(value.model_copy(update={"evidence": part.evidence}) for value in reading.values)
            reading = replace(reading, values=proven)
        if reading.values:
            return reading
    return nothing


def _only_one(index: Index, question: Question) -> Reading:
    """The one date of a passage, or its one number in the unit asked for: there is no other that could be meant."""
    spans: list[tuple[str, int]] = []
    if question.type == "date":
        spans = [(date.value, number) for number, dates in index.dates.items() for date in dates]
    elif question.type == "number" and (wanted := unit_of(question.unit)):
        found = ((one, number) for number, numbers in index.numbers.items() for one in numbers)
        spans = [(one.value, number) for one, number in found if one.unit == wanted]
    if len(spans) != 1:
        return Reading()
    value, number = spans[0]
    passage = index.passages[number]
    return stated(index, [(value, (passage.start, passage.end))], 0.35)


def _located(index: Index, evidence: str, name: str) -> tuple[int, int] | None:
    """Where an entity's evidence stands, else the passage with most words of its name."""
    if not index.passages:
        return None
    words = evidence.split()
    found = re.search(r"\s+".join(map(re.escape, words[:200])), index.text) if words else None
    if found:
        return found.span()
    wanted = set(stems(name))
    held: dict[int, int] = {}
    for root in wanted:
        for number, strength in index.postings.get(root, {}).items():
            held[number] = held.get(number, 0) + (strength == 1.0)
    best = max(held, key=lambda number: (held[number], -number), default=None)
    if best is None or 2 * held[best] <= len(wanted):
        return None
    return index.passages[best].start, index.passages[best].end


def _parts(index: Index, questions: Sequence[Question], place: tuple[int, int]) -> Iterator[_Part]:
    if at := table_at(index.text, place[0]):
        table, row = at
        header = header_of(table, questions)
        if place[1] <= row.end + 1:
            said = index.quote(row.start, row.end)
            yield _Part(build_index(_labelled(header, row.cells, questions) or said, index), said, whole=True)
            return
    first, last = _passages_of(index, place)
    start, end = index.passages[first].start, index.passages[last].end
    yield _Part(build_index(index.quote(start, end), index), whole=True)
    wider = _wider(index, first, last)
    if wider > end:
        yield _Part(build_index(index.quote(start, wider), index))


def _labelled(header: Sequence[str], cells: Sequence[str], questions: Sequence[Question]) -> str:
    """A row of a table as lines "name: value", under the variables' own names where a column is theirs."""
    columns = {question.name.replace("_", " "): column_for(question, header) for question in questions}
    lines = [(name, cells[at]) for name, at in columns.items() if at is not None and at < len(cells)]
    pairs = enumerate(zip(header, cells, strict=False))
    lines += [pair for at, pair in pairs if at not in columns.values()]
    return "\n".join(f"{name}: {cell}" for name, cell in lines if name and cell)


def _passages_of(index: Index, place: tuple[int, int]) -> tuple[int, int]:
    """The first and the last passage that the evidence touches."""
    last = max(0, bisect_left(index.passages, place[1], key=lambda passage: passage.start) - 1)
    first = last
    while first > 0 and index.passages[first - 1].end > place[0]:
        first -= 1
    return first, last


def _wider(index: Index, first: int, last: int) -> int:
    """Where the text about the entity ends: its section under a heading, its record, or its paragraph."""
    passages = index.passages
    head = passages[first]
    end = passages[last].end
    for number in range(last + 1, len(passages)):
        passage = passages[number]
        if passage.end - head.start > _WIDEST or not _goes_on(index, first, number):
            break
        end = passage.end
    return end


def _goes_on(index: Index, first: int, number: int) -> bool:
    head, passage = index.passages[first], index.passages[number]
    dates, others = ({date.value for date in index.dates.get(at, ())} for at in (first, number))
    if dates and others - dates:
        return False  # what has another date is another thing
    if passage.heading == first:
        return True
    if head.label and passage.label:
        again = stems(index.quote(*passage.label)) == stems(index.quote(*head.label))
        return not again and passage.heading == head.heading
    before = index.passages[number - 1].end
    return passage.kind == "sentence" and "\n\n" not in index.text[before : passage.start]
