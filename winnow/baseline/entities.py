"""How the entities of a text are listed: rows of tables, records of labelled values, or passages, in their order.

A thing is told by what identifies it: a date for a date, a number for a number, a name for a text. It is a simple
rule, which counts a passage on the same thing that words it otherwise as another thing.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from winnow.baseline.dates import WEEKDAYS
from winnow.baseline.numbers import FoundNumber
from winnow.baseline.passages import Index, Passage, build_index
from winnow.baseline.phrases import LAST_RESORT, names
from winnow.baseline.question import Question, label_match, read_question
from winnow.baseline.readers import read
from winnow.baseline.reading import Reading, absent, evidence_in, is_placeholder, stated
from winnow.baseline.scoring import rows
from winnow.baseline.tables import TableRow, column_for, header_of, is_record, tables_of
from winnow.baseline.words import WORD, is_stop, stem, stems

JOINT = " | "
"""What stands between the values that identify an entity."""

_APART = re.compile(r"[,;:.()|\n]")
_LONGEST = 80  # characters of a value that tells two things apart
_EVIDENCE = 600
_Found = tuple[list[str], tuple[int, int]]  # what identifies an entity, and the passage that shows it


@dataclass(frozen=True)
class Unit:
    """What a row of the dataset is."""

    name: str
    roots: frozenset[str]  # stems of its name
    about: frozenset[str]  # other stems of its definition
    identified_by: tuple[Question, ...]


def read_unit(variable: Mapping[str, Any]) -> Unit:
    """The unit in a variable of type `entities`."""
    name, definition = str(variable.get("variable") or ""), str(variable.get("definition") or "")
    listed = variable.get("identified_by")
    given = [known for known in listed if isinstance(known, Mapping)] if isinstance(listed, list) else []
    roots = frozenset(stems(name.replace("_", " ")))
    return Unit(name, roots, frozenset(stems(definition)) - roots, tuple(map(read_question, given)))


def list_entities(index: Index, unit: Unit) -> Reading:
    """One value for each entity that the text shows, in the order in which they stand."""
    for confidence, form in ((0.6, _in_tables), (0.6, _in_records), (0.4, _in_passages)):
        found = [
            (JOINT.join(value.replace("|", "/") for value in values), span)
            for values, span in form(index, unit)
            if any(values) and 2 * sum(map(bool, values)) > len(unit.identified_by)
        ]
        if found:
            return stated(index, found, confidence)
    return Reading((), 0.4)


def read_count(index: Index, unit: Unit, question: Question) -> Reading:
    """The number beside the unit's word: "the 45 protests", "Protests: 45". Nothing is counted."""
    for row in rows(index, question, least=0.8):
        beside = {root for root in stems(index.quote(row.start, row.end)) if not root.isdigit()}
        numbers = [one for one in index.numbers.get(row.number, ()) if row.start <= one.start < row.end]
        if len(numbers) == 1 and beside <= unit.roots | set(stems(index.quote(numbers[0].start, numbers[0].end))):
            return stated(index, [(numbers[0].value, row.evidence)], 0.7)
    for number, found in index.numbers.items():
        for one in found:
            if _counts(unit, one):
                return stated(index, [(one.value, evidence_in(index, index.passages[number], one.start, one.end))], 0.5)
    return absent(0, 1)


def _counts(unit: Unit, number: FoundNumber) -> bool:
    """Whether the unit's word follows a number, with two words between at most: "45 large protests", not "45 of"."""
    year = len(number.value) == 4 and "1500" <= number.value <= "2199"
    if year or number.unit or "." in number.value or number.value.startswith("-"):
        return False
    for match in list(WORD.finditer(number.after))[:3]:
        word = match.group()
        if _APART.search(number.after, 0, match.start()):
            return False
        if stem(word) in unit.roots:
            return True
        if is_stop(word) or word[0].isdigit():
            return False
    return False


def _in_tables(index: Index, unit: Unit) -> Iterator[_Found]:
    for table in tables_of(index.text):
        header = header_of(table, unit.identified_by)
        if is_record(table, unit.identified_by) or not _is_about(index, unit, header, table[0]):
            continue
        for row in table[1:] if header else table:
            yield _from_cells(index, unit, header, row), (row.start, row.end)


def _is_about(index: Index, unit: Unit, header: tuple[str, ...], first: TableRow) -> bool:
    """Whether a table's columns, or the line above it, speak of the unit.

    Of a table without a header, which may have begun in an earlier part of the document, the row itself must tell.
    """
    if header:
        fits = any(column_for(question, header) is not None for question in unit.identified_by)
        above = index.text[: first.start].rstrip().rpartition("\n")[2][-200:]
        return fits or bool(unit.roots & set(stems(" ".join((above, *header)))))
    typed = [question for question in unit.identified_by if question.type in ("date", "number")]
    values = _from_cells(index, unit, (), first)
    return bool(typed) and len(unit.identified_by) > 1 and all(values)


def _from_cells(index: Index, unit: Unit, header: tuple[str, ...], row: TableRow) -> list[str]:
    """What identifies a row: each value from the column that is called so, else from a cell that holds such a value."""
    columns = [column_for(question, header) for question in unit.identified_by]
    rest = [cell for place, cell in enumerate(row.cells) if place not in columns and cell]
    values = []
    for question, column in zip(unit.identified_by, columns, strict=True):
        if column is not None:
            values.append(_from_cell(index, question, row.cells[column]) if column < len(row.cells) else "")
            continue
        fitting = ((cell, _from_cell(index, question, cell)) for cell in rest if _fits(question, cell))
        cell, value = next((pair for pair in fitting if pair[1]), ("", ""))
        rest = [other for other in rest if other != cell]
        values.append(value)
    return values or [next(filter(None, row.cells))]


def _fits(question: Question, cell: str) -> bool:
    return question.type != "text" or not any(character.isdigit() for character in cell)


def _from_cell(index: Index, question: Question, cell: str) -> str:
    """A value that the document labels, as the variable's type has it; empty where there is none."""
    if not cell or is_placeholder(cell):
        return ""
    if question.type == "text":
        return cell
    return _value(build_index(f"{question.name.replace('_', ' ')}: {cell}", index), question, frozenset())


def _in_records(index: Index, unit: Unit) -> Iterator[_Found]:
    """Labelled values one after the other; where a label comes again, the next entity begins."""
    known: dict[str, str] = {}
    span = (0, 0)
    for passage in index.passages:
        question = _labelled_by(index, unit, passage)
        if question is None or passage.value is None:
            continue
        if question.name in known:
            yield [known.get(each.name, "") for each in unit.identified_by], span
            known = {}
        start = span[0] if known else passage.start
        span = (start, passage.end if passage.end - start <= _EVIDENCE else span[1])
        known[question.name] = _from_cell(index, question, index.quote(*passage.value))
    if known:
        yield [known.get(each.name, "") for each in unit.identified_by], span


def _labelled_by(index: Index, unit: Unit, passage: Passage) -> Question | None:
    if passage.label is None:
        return None
    label = stems(index.quote(*passage.label))
    fits = [(label_match(question, label), question) for question in unit.identified_by]
    best = max(fits, key=lambda fit: fit[0], default=None)
    return best[1] if best and best[0] >= 0.8 else None


def _in_passages(index: Index, unit: Unit) -> Iterator[_Found]:
    """List items, lines and sentences that use the unit's words and hold what identifies it."""
    typed = [question for question in unit.identified_by if question.type in ("date", "number")]
    for number, passage in enumerate(index.passages):
        if not _speaks_of(index, unit, number, bool(typed)):
            continue
        near = build_index(index.quote(passage.start, passage.end), index)
        if not all(_holds(near, question) for question in typed):
            continue
        values: list[str] = []
        for question in unit.identified_by:
            values.append(_value(near, question, unit.roots.union(value.casefold() for value in values)))
        yield values or [_shortened(near.text)], evidence_in(index, passage, passage.start, passage.start)


def _speaks_of(index: Index, unit: Unit, number: int, typed: bool) -> bool:
    """Whether a passage has enough of the unit's words, where its name counts as two words of the definition.

    A date or a number that identifies the entity says more than words: then one is enough, and the heading's count.
    """
    least, strength = (1, 0.0) if typed else (3, 1.0)

    def holds(root: str) -> bool:
        return index.postings.get(root, {}).get(number, -1.0) >= strength

    return 2 * any(map(holds, unit.roots)) + sum(map(holds, unit.about)) >= least


def _holds(near: Index, question: Question) -> bool:
    return bool(near.dates if question.type == "date" else near.numbers)


def _value(near: Index, question: Question, said: frozenset[str]) -> str:
    """What is read for a variable, else the first thing of its type. A text must say more than was said already."""
    reading = read(near, question)
    if reading.values and reading.confidence > LAST_RESORT:
        value = reading.values[0].value
        if question.type != "text" or _is_new(value, said):
            return value
    if question.type == "date":
        return next((date.value for dates in near.dates.values() for date in dates), "")
    if question.type == "number":
        return next((one.value for numbers in near.numbers.values() for one in numbers if not one.unit), "")
    return _name(near, question, said) if question.type == "text" else ""


def _name(near: Index, question: Question, said: frozenset[str]) -> str:
    """The first name, one inside a sentence before one that the sentence begins with. No part of a date is one."""
    found = []
    for number, passage in enumerate(near.passages):
        dates = near.dates.get(number, ())
        for start, end in names(near, passage, question):
            name = near.quote(start, end).rstrip(".,")
            apart = all(end <= date.start or start >= date.end for date in dates)
            if apart and _is_new(name, said):
                found.append((passage.kind == "sentence" and start == passage.start, start, name))
    return min(found)[2] if found else ""


def _is_new(name: str, said: frozenset[str]) -> bool:
    words = {word.casefold() for word in WORD.findall(name)}
    return len(name) <= _LONGEST and name.casefold() not in said and not (words <= WEEKDAYS or set(stems(name)) <= said)


def _shortened(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _LONGEST else words[:_LONGEST].rpartition(" ")[0] or words[:_LONGEST]
