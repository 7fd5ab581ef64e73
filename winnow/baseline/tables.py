"""Tables as parsers write them: a line per row, with bars or tabs between the cells."""

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from winnow.baseline.question import Question, label_match
from winnow.baseline.words import stems

_LINE = re.compile(r"[^\n]+")
_RULE = re.compile(r"[\s|:=+-]*")  # what stands under the header of a table in Markdown
_LABEL = 0.6  # how well the name of a column must fit a variable's


@dataclass(frozen=True, slots=True)
class TableRow:
    """A line of a table: `text[start:end]`."""

    start: int
    end: int
    cells: tuple[str, ...]


Table = tuple[TableRow, ...]


@lru_cache(maxsize=16)
def tables_of(text: str) -> tuple[Table, ...]:
    """The tables of a text: two rows or more, one under the other."""
    tables: list[list[TableRow]] = [[]]
    for match in _LINE.finditer(text):
        if _RULE.fullmatch(match.group()):
            continue
        row = _row(match)
        below = bool(tables[-1]) and not text[tables[-1][-1].end : match.start()].strip(" \t\n|:=+-")
        if row is None or not below:
            tables.append([])
        if row:
            tables[-1].append(row)
    return tuple(tuple(table) for table in tables if len(table) > 1)


def _row(line: re.Match[str]) -> TableRow | None:
    said = line.group().strip()
    if "|" in said:
        framed = said.startswith("|") and said.endswith("|") and len(said) > 1
        cells = (said[1:-1] if framed else said).split("|")
    else:
        cells = said.split("\t")
    named = tuple(" ".join(cell.split()) for cell in cells)
    start = line.start() + line.group().index(said)
    return TableRow(start, start + len(said), named) if sum(map(bool, named)) > 1 else None


def table_at(text: str, position: int) -> tuple[Table, TableRow] | None:
    """The table and the row in which a position of the text stands."""
    for table in tables_of(text):
        if table[0].start <= position < table[-1].end:
            return table, table[max(0, bisect_right(table, position, key=lambda row: row.start) - 1)]
    return None


def header_of(table: Table, questions: Sequence[Question]) -> tuple[str, ...]:
    """The names of a table's columns; none where its first row is a row like the others.

    A table of two columns whose first one holds the names of variables is a record, and has no such names.
    """
    first, *others = table
    if _has_digits(first) or is_record(table, questions):
        return ()
    named = any(column_for(question, first.cells) is not None for question in questions)
    return first.cells if named or any(map(_has_digits, others)) else ()


def is_record(table: Table, questions: Sequence[Question]) -> bool:
    """Whether the rows of a table are labels with their values."""
    labels = [stems(row.cells[0]) for row in table[1:] if len(row.cells) == 2]
    return any(label_match(question, label, strict=True) >= 0.8 for label in labels for question in questions)


def column_for(question: Question, header: Sequence[str]) -> int | None:
    """The column whose name fits a variable best."""
    fits = [(_fit(question, stems(name)), -place) for place, name in enumerate(header)]
    best, place = max(fits, default=(0.0, 0))
    return -place if best >= _LABEL else None


def _fit(question: Question, name: list[str]) -> float:
    """How well a column's name fits: as a label, or at least by words that all stand in the instructions."""
    described = bool(name) and set(name) <= set(question.hints)
    return max(label_match(question, name), _LABEL if described else 0.0)


def _has_digits(row: TableRow) -> bool:
    return any(character.isdigit() for cell in row.cells for character in cell)
