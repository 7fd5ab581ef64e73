"""The dataset as tables: wide (a row per document), long (a row per value), and a summary per variable.

The only module of the domain that knows polars. `wide_columns`, `rows_by_document` and `column_value` serve writers
that need a cell and its value at once, such as the Excel workbook.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import count
from typing import Literal, get_args

import polars as pl

from winnow.agreement import SEPARATOR, shown_values, value_text
from winnow.codebook import Codebook, Variable, name_key
from winnow.extractions import DatasetCell, Extraction, FoundValue

Extra = Literal["confidence", "evidence", "page", "status"]
EXTRAS: tuple[Extra, ...] = get_args(Extra)
"""What can stand beside a variable, in the order in which it does."""

Scalar = str | float | int | bool | date | None
Rows = dict[tuple[str, str], dict[str, DatasetCell]]
"""(document, its hash) -> `name_key` of the variable -> cell."""

_QUOTE_SEPARATOR = " | "  # quotes often hold "; "
_FULL_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


@dataclass(frozen=True)
class Column:
    """A column of the wide dataset: the document's name, a variable, or something about a variable."""

    name: str
    variable: Variable | None = None
    extra: Extra | None = None


def wide_columns(codebook: Codebook, extras: Collection[Extra] = ()) -> list[Column]:
    """The columns in order. Variables keep their names; what would repeat a name gets `_2`, `_3` and so on."""
    taken = {"document", *(name_key(variable.name) for variable in codebook.variables)}
    columns = [Column("document")]
    for variable in codebook.variables:
        name = _free(variable.name, taken) if name_key(variable.name) == "document" else variable.name
        columns.append(Column(name, variable))
        columns += [Column(_free(f"{name}_{extra}", taken), variable, extra) for extra in EXTRAS if extra in extras]
    return columns


def _free(name: str, taken: set[str]) -> str:
    spellings = (name if number == 1 else f"{name}_{number}" for number in count(1))
    free = next(spelling for spelling in spellings if name_key(spelling) not in taken)
    taken.add(name_key(free))
    return free


def rows_by_document(cells: Iterable[DatasetCell]) -> Rows:
    """The cells of each document, documents in the order in which they come."""
    rows: Rows = {}
    keys: dict[str, str] = {}
    for cell in cells:
        key = keys.get(cell.variable) or keys.setdefault(cell.variable, name_key(cell.variable))
        rows.setdefault((cell.document, cell.document_hash), {})[key] = cell
    return rows


def column_value(column: Column, cell: DatasetCell | None) -> Scalar:
    """What stands in a column for a cell. A value that does not fit its variable's type comes as text."""
    if cell is None or column.variable is None:
        return None
    if column.extra == "status":
        return cell.status
    return _known(column.variable, column.extra, cell.extraction) if cell.extraction else None


def _known(variable: Variable, extra: Extra | None, extraction: Extraction) -> Scalar:
    if extra is None:
        return _value(variable, extraction)
    if extra == "confidence":
        return extraction.confidence
    evidence = [found.evidence for found in _shown(variable, extraction) if found.evidence]
    if extra == "evidence":
        return _QUOTE_SEPARATOR.join(dict.fromkeys(proof.quote for proof in evidence)) or None
    pages = list(dict.fromkeys(proof.page for proof in evidence if proof.page is not None))
    return SEPARATOR.join(map(str, pages)) if len(pages) > 1 else next(iter(pages), None)


def _value(variable: Variable, extraction: Extraction) -> Scalar:
    values = shown_values(variable, extraction)
    if not values:
        return None
    if variable.takes_several:
        return SEPARATOR.join(map(value_text, values))
    value = values[0]
    if variable.type == "boolean" and isinstance(value, bool):
        return value
    if variable.type == "number" and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    text = value_text(value)
    return (_full_date(text) or text) if variable.type == "date" else text


def _full_date(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if _FULL_DATE.fullmatch(text) else None
    except ValueError:
        return None


def _shown(variable: Variable, extraction: Extraction) -> Sequence[FoundValue]:
    """The values found that stand behind what the cell shows; those refused, where it shows nothing."""
    accepted = [found for found in extraction.values if found.value is not None]
    found = accepted or (() if extraction.accepted else extraction.values)  # nothing stands behind a default
    return found if variable.takes_several else found[:1]


def wide_frame(cells: Sequence[DatasetCell], codebook: Codebook, extras: Collection[Extra] = ()) -> pl.DataFrame:
    """A row per document, a column per variable in the codebook's order, with its extras directly after it.

    A column has its variable's type where every value fits it, and is text where one does not (a partial date) or
    where cells hold several values.
    """
    rows = rows_by_document(cells)
    series = [pl.Series("document", [document for document, _ in rows], pl.String)]
    for column in wide_columns(codebook, extras)[1:]:
        key = name_key(column.variable.name) if column.variable else ""
        values = [column_value(column, row.get(key)) for row in rows.values()]
        series.append(_series(column, values))
    return pl.DataFrame(series)


_TYPES: dict[str, tuple[type, type[pl.DataType]]] = {
    "number": (float, pl.Float64),
    "boolean": (bool, pl.Boolean),
    "date": (date, pl.Date),
    "confidence": (float, pl.Float64),
    "page": (int, pl.Int64),
}


def _series(column: Column, values: list[Scalar]) -> pl.Series:
    several = column.variable is not None and column.variable.takes_several
    kind = column.extra or (column.variable.type if column.variable else "text")
    python, dtype = _TYPES.get(kind, (str, pl.String))
    as_text = several and column.extra in (None, "page")  # the type must not hang on how many values were found
    if not as_text and all(value is None or isinstance(value, python) for value in values):
        return pl.Series(column.name, values, dtype)
    return pl.Series(column.name, [_text(value) for value in values], pl.String)


def _text(value: Scalar) -> str | None:
    if value is None:
        return None
    return value.isoformat() if isinstance(value, date) else value_text(value)


_LONG: dict[str, type[pl.DataType]] = {
    "document": pl.String,
    "document_sha256": pl.String,
    "variable": pl.String,
    "label": pl.String,
    "type": pl.String,
    "status": pl.String,
    "value": pl.String,
    "raw_value": pl.String,
    "confidence": pl.Float64,
    "flags": pl.String,
    "evidence": pl.String,
    "mark": pl.String,
    "start": pl.Int64,
    "end": pl.Int64,
    "page": pl.Int64,
    "prompt_version": pl.Int64,
    "model": pl.String,
    "job": pl.Int64,
    "answered_at": pl.Datetime,
    "reason": pl.String,
}


def long_frame(cells: Sequence[DatasetCell], codebook: Codebook) -> pl.DataFrame:
    """A row per value, in the order of documents and of the codebook; a cell without a value has one row."""
    records = [
        record
        for row in rows_by_document(cells).values()
        for variable in codebook.variables
        if (cell := row.get(name_key(variable.name))) is not None
        for record in _records(cell, variable)
    ]
    frame = pl.DataFrame(records, schema=_LONG, orient="row")
    return frame.with_columns(pl.col("answered_at").dt.replace_time_zone("UTC"))


def _records(cell: DatasetCell, variable: Variable) -> list[tuple[Scalar, ...]]:
    extraction = cell.extraction
    head = (cell.document, cell.document_hash, variable.name, variable.label, variable.type, cell.status)
    known = (extraction.confidence, SEPARATOR.join(extraction.flags) or None) if extraction else (None, None)
    tail = (cell.prompt_version, cell.model, cell.job, _utc(cell.answered_at))
    return [
        (*head, *_found(found)[:2], *known, *_found(found)[2:], *tail, _reason(cell, found))
        for found in _values(extraction)
    ]


def _values(extraction: Extraction | None) -> list[FoundValue | None]:
    if extraction is None:
        return [None]
    values: list[FoundValue | None] = list(extraction.values)
    if extraction.default is not None and all(found.value is None for found in extraction.values):
        values.append(FoundValue(value=extraction.default, raw="", problem="default of the codebook"))
    return values or [None]


def _found(found: FoundValue | None) -> tuple[Scalar, ...]:
    """value, raw value, evidence, mark, start, end, page."""
    if found is None:
        return (None,) * 7
    value = None if found.value is None else value_text(found.value)
    proof = found.evidence
    place = (proof.quote, proof.mark, proof.start, proof.end, proof.page) if proof else (None,) * 5
    return (value, found.raw or None, *place)


def _reason(cell: DatasetCell, found: FoundValue | None) -> str | None:
    reasons = (cell.reason, found.problem if found else None)
    return SEPARATOR.join(reason for reason in reasons if reason) or None


def _utc(moment: datetime | None) -> datetime | None:
    # The zone is put on by polars, whose time zones are built in: Python's may be missing in a small container.
    return moment.astimezone(UTC).replace(tzinfo=None) if moment and moment.tzinfo else moment


def summary_frame(cells: Sequence[DatasetCell], codebook: Codebook) -> pl.DataFrame:
    """A row per variable: how many cells, and what became of them.

    `n` counts the documents with a cell. A cell can be found and flagged; `missing_share` is the share without a value.
    """
    of: dict[str, list[DatasetCell]] = {name_key(variable.name): [] for variable in codebook.variables}
    for row in rows_by_document(cells).values():
        for key in of.keys() & row.keys():
            of[key].append(row[key])
    records = [_summary(variable, of[name_key(variable.name)]) for variable in codebook.variables]
    return pl.DataFrame(records, schema=_SUMMARY, orient="row")


_SUMMARY: dict[str, type[pl.DataType]] = {
    "variable": pl.String,
    "label": pl.String,
    "type": pl.String,
    "n": pl.Int64,
    "found": pl.Int64,
    "not_stated": pl.Int64,
    "flagged": pl.Int64,
    "failed": pl.Int64,
    "missing_share": pl.Float64,
    "mean_confidence": pl.Float64,
}


def _summary(variable: Variable, cells: Sequence[DatasetCell]) -> tuple[Scalar, ...]:
    def with_status(status: str) -> int:
        return sum(cell.status == status for cell in cells)

    known = [cell.extraction for cell in cells if cell.extraction]
    missing = len(cells) - sum(bool(extraction.accepted) for extraction in known)
    return (
        variable.name,
        variable.label,
        variable.type,
        len(cells),
        with_status("found"),
        with_status("not_stated"),
        sum(extraction.flagged for extraction in known),
        with_status("failed"),
        missing / len(cells) if cells else None,
        sum(extraction.confidence for extraction in known) / len(known) if known else None,
    )
