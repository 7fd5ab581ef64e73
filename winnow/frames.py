"""The dataset as tables: wide (a row per document or entity), long (a row per value), and a summary per variable.

The only module of the domain that knows polars.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import chain, islice

import polars as pl

from winnow.agreement import SEPARATOR, value_text
from winnow.codebook import Codebook, EntityUnit, Variable, name_key
from winnow.extractions import DatasetCell, DocumentAccount, Extraction, FoundValue
from winnow.rows import EXTRAS, Column, Extra, Scalar, of_rows, row_by_row, row_value, surest, wide_columns

__all__ = ["EXTRAS", "Extra", "long_frame", "summary_frame", "wide_frame"]


def wide_frame(cells: Iterable[DatasetCell], codebook: Codebook, extras: Collection[Extra] = ()) -> pl.DataFrame:
    """A row per document or entity, a column per variable in the codebook's order, its extras directly after it.

    The cells of a row stand together.

    A column has its variable's type where every value fits it, and is text where one does not (a partial date) or
    where cells hold several values. A document in which no entity was found has no row.
    """
    columns = wide_columns(codebook, extras)
    rows = [[row_value(column, row) for column in columns] for _, row in row_by_row(of_rows(cells, codebook))]
    return pl.DataFrame([_series(column, [row[at] for row in rows]) for at, column in enumerate(columns)])


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


_ENTITY: dict[str, type[pl.DataType]] = {
    "entity_id": pl.String,
    "entity": pl.String,
    "completeness": pl.String,
}
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
    "said": pl.Float64,
    "value_confidence": pl.Float64,
    "flags": pl.String,
    "evidence": pl.String,
    "mark": pl.String,
    "score": pl.Float64,
    "places": pl.Int64,
    "start": pl.Int64,
    "end": pl.Int64,
    "page": pl.Int64,
    "prompt_version": pl.Int64,
    "model": pl.String,
    "job": pl.Int64,
    "answered_at": pl.Datetime,
    "reason": pl.String,
}

_Record = dict[str, Scalar]


_AT_ONCE = 1000  # rows of the dataset that become part of the long table together


def long_frame(
    cells: Iterable[DatasetCell], codebook: Codebook, accounts: Sequence[DocumentAccount] = ()
) -> pl.DataFrame:
    """A row per value, in the order of documents and of the codebook; a cell without a value has one row.

    The cells of a row of the dataset stand together. A document of the accounts that has no cell, because no entity
    was found in it, has one row, without a variable.
    """
    schema, known = _long_columns(codebook), set[tuple[str, str]]()
    variables = [(name_key(variable.name), variable) for variable in codebook.variables]
    rows, parts = row_by_row(cells), [pl.DataFrame(schema=schema)]
    while together := list(islice(rows, _AT_ONCE)):
        known.update((document, sha256) for (document, sha256, _), _ in together)
        of_cells = (_records(row[key], variable) for _, row in together for key, variable in variables if key in row)
        parts.append(pl.DataFrame(list(chain.from_iterable(of_cells)), schema=schema))
    records = [_record_of(account) for account in accounts if (account.document, account.document_hash) not in known]
    parts.append(pl.DataFrame(records, schema=schema))
    return pl.concat(parts).with_columns(pl.col("answered_at").dt.replace_time_zone("UTC"))


def _long_columns(codebook: Codebook) -> dict[str, type[pl.DataType]]:
    document = {name: _LONG[name] for name in ("document", "document_sha256")}
    return document | (_ENTITY if isinstance(codebook.unit_of_observation, EntityUnit) else {}) | _LONG


def _record_of(account: DocumentAccount) -> _Record:
    failed = account.status == "failed"
    return {
        "document": account.document,
        "document_sha256": account.document_hash,
        "completeness": None if failed else account.status,
        "status": "failed" if failed else None,
        "reason": account.reason,
    }


def _records(cell: DatasetCell, variable: Variable) -> list[_Record]:
    extraction = cell.extraction
    about: _Record = {
        "document": cell.document,
        "document_sha256": cell.document_hash,
        "entity_id": cell.entity,
        "entity": cell.entity_name,
        "completeness": cell.completeness,
        "variable": variable.name,
        "label": variable.label,
        "type": variable.type,
        "status": cell.status,
        "confidence": extraction.confidence if extraction else None,
        "said": extraction.signals.said if extraction else None,
        "flags": (SEPARATOR.join(extraction.flags) or None) if extraction else None,
        "prompt_version": cell.prompt_version,
        "model": cell.model,
        "job": cell.job,
        "answered_at": _utc(cell.answered_at),
    }
    return [about | _found(found) | {"reason": _reason(cell, found)} for found in _values(extraction)]


def _values(extraction: Extraction | None) -> list[FoundValue | None]:
    if extraction is None:
        return [None]
    values: list[FoundValue | None] = list(extraction.values)
    if extraction.default is not None and all(found.value is None for found in extraction.values):
        values.append(FoundValue(value=extraction.default, raw="", problem="default of the codebook"))
    return values or [None]


def _found(found: FoundValue | None) -> _Record:
    """What a row says about one value. Of several pieces of evidence the surest stands for all."""
    if found is None:
        return {}
    proof = surest(found.evidence)
    about: _Record = {
        "value": None if found.value is None else value_text(found.value),
        "raw_value": found.raw or None,
        "value_confidence": found.confidence,
    }
    if proof is None:
        return about
    return about | {
        "evidence": proof.quote,
        "mark": proof.mark,
        "score": proof.score,
        "places": len({(place.start, place.end) for given in found.evidence for place in given.places}),
        "start": proof.start,
        "end": proof.end,
        "page": proof.page,
    }


def _reason(cell: DatasetCell, found: FoundValue | None) -> str | None:
    detail = cell.extraction.detail if cell.extraction else None
    reasons = (cell.reason, found.problem if found else None, detail)
    return SEPARATOR.join(reason for reason in reasons if reason) or None


def _utc(moment: datetime | None) -> datetime | None:
    # The zone is put on by polars, whose time zones are built in: Python's may be missing in a small container.
    return moment.astimezone(UTC).replace(tzinfo=None) if moment and moment.tzinfo else moment


def summary_frame(cells: Iterable[DatasetCell], codebook: Codebook) -> pl.DataFrame:
    """A row per variable: how many cells, and what became of them.

    `n` counts the rows, documents or entities, with a cell. A cell can be found and flagged; `missing_share` is the
    share without a value. The cells of a row stand together.
    """
    tallies = {name_key(variable.name): _Tally() for variable in codebook.variables}
    for _, row in row_by_row(of_rows(cells, codebook)):
        for key in tallies.keys() & row.keys():
            tallies[key].count(row[key])
    records = [_summary(variable, tallies[name_key(variable.name)]) for variable in codebook.variables]
    return pl.DataFrame(records, schema=_SUMMARY, orient="row")


@dataclass
class _Tally:
    """The cells of a variable, counted."""

    statuses: Counter[str] = field(default_factory=Counter)
    answered: int = 0
    confidence: float = 0.0  # the sum
    flagged: int = 0
    missing: int = 0

    def count(self, cell: DatasetCell) -> None:
        self.statuses[cell.status] += 1
        self.missing += not (cell.extraction and cell.extraction.accepted)
        if cell.extraction:
            self.answered += 1
            self.confidence += cell.extraction.confidence
            self.flagged += cell.extraction.flagged


_SUMMARY: dict[str, type[pl.DataType]] = {
    "variable": pl.String,
    "label": pl.String,
    "type": pl.String,
    "n": pl.Int64,
    "found": pl.Int64,
    "not_stated": pl.Int64,
    "not_applicable": pl.Int64,
    "unclear": pl.Int64,
    "flagged": pl.Int64,
    "failed": pl.Int64,
    "skipped": pl.Int64,
    "missing_share": pl.Float64,
    "mean_confidence": pl.Float64,
}


def _summary(variable: Variable, tally: _Tally) -> tuple[Scalar, ...]:
    cells = tally.statuses.total()
    return (
        variable.name,
        variable.label,
        variable.type,
        cells,
        *(tally.statuses[status] for status in ("found", "not_stated", "not_applicable", "unclear")),
        tally.flagged,
        tally.statuses["failed"],
        tally.statuses["skipped"],
        tally.missing / cells if cells else None,
        tally.confidence / tally.answered if tally.answered else None,
    )
