"""The rows and columns of the wide dataset, and what stands where they meet."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import count, groupby
from typing import Literal, get_args

from winnow.agreement import SEPARATOR, shown_values, value_text
from winnow.codebook import Codebook, EntityUnit, Variable, name_key
from winnow.extractions import DatasetCell, Evidence, Extraction, FoundValue

Extra = Literal["confidence", "evidence", "page", "status"]
EXTRAS: tuple[Extra, ...] = get_args(Extra)
"""What can stand beside a variable, in the order in which it does."""

Scalar = str | float | int | bool | date | None
Row = Mapping[str, DatasetCell]
"""`name_key` of the variable -> cell. No row is empty."""
RowKey = tuple[str, str, str | None]
"""(document, its hash, the entity's id)."""
Rows = dict[RowKey, dict[str, DatasetCell]]

_Head = Literal["document", "entity_id", "entity", "completeness"]

_QUOTE_SEPARATOR = " | "  # quotes often hold "; "
_FULL_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_MARKS = ("exact", "normalised", "approximate", "absent")  # the best first


@dataclass(frozen=True)
class Column:
    """A column of the wide dataset: what the row is, a variable, or something about a variable."""

    name: str
    variable: Variable | None = None
    extra: Extra | None = None
    head: _Head | None = None


def wide_columns(codebook: Codebook, extras: Collection[Extra] = ()) -> list[Column]:
    """The columns in order. Variables keep their names; what would repeat a name gets `_2`, `_3` and so on."""
    columns = [Column("document", head="document")]
    unit = codebook.unit_of_observation
    if isinstance(unit, EntityUnit):
        columns += [Column("entity_id", head="entity_id"), Column("completeness", head="completeness")]
    fixed = {column.name for column in columns}
    taken = fixed | {name_key(variable.name) for variable in codebook.variables}
    if isinstance(unit, EntityUnit):
        columns.insert(2, Column(_free(" ".join(unit.entity.split()), taken), head="entity"))
    for variable in codebook.variables:
        name = _free(variable.name, taken) if name_key(variable.name) in fixed else variable.name
        columns.append(Column(name, variable))
        columns += [Column(_free(f"{name}_{extra}", taken), variable, extra) for extra in EXTRAS if extra in extras]
    return columns


def _free(name: str, taken: set[str]) -> str:
    spellings = (name if number == 1 else f"{name}_{number}" for number in count(1))
    free = next(spelling for spelling in spellings if name_key(spelling) not in taken)
    taken.add(name_key(free))
    return free


def rows_of(cells: Iterable[DatasetCell], codebook: Codebook) -> Rows:
    """The rows of the wide dataset in the order in which they come: one per document, or one per entity."""
    rows: Rows = {}
    for key, row in row_by_row(of_rows(cells, codebook)):
        rows.setdefault(key, {}).update(row)
    return rows


def of_rows(cells: Iterable[DatasetCell], codebook: Codebook) -> Iterable[DatasetCell]:
    """The cells that stand in rows of the wide dataset: not those of a document in which no entity was found."""
    if isinstance(codebook.unit_of_observation, EntityUnit):
        return (cell for cell in cells if cell.entity is not None)
    return cells


def row_by_row(cells: Iterable[DatasetCell]) -> Iterator[tuple[RowKey, dict[str, DatasetCell]]]:
    """The rows one after the other, so that not all have to be in memory. The cells of a row stand together."""
    keys: dict[str, str] = {}
    for about, together in groupby(cells, key=lambda cell: (cell.document, cell.document_hash, cell.entity)):
        yield about, {keys.get(c.variable) or keys.setdefault(c.variable, name_key(c.variable)): c for c in together}


def row_value(column: Column, row: Row) -> Scalar:
    """What stands in a column for a row. A value that does not fit its variable's type comes as text."""
    if column.variable:
        return column_value(column, row.get(name_key(column.variable.name)))
    cell = next(iter(row.values()))
    match column.head:
        case "entity_id":
            return cell.entity
        case "entity":
            return cell.entity_name
        case "completeness":
            return cell.completeness
        case _:
            return cell.document


def column_value(column: Column, cell: DatasetCell | None) -> Scalar:
    """What stands in a variable's column for its cell."""
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
    evidence = [proof for found in _shown(variable, extraction) if (proof := surest(found.evidence))]
    if extra == "evidence":
        return _QUOTE_SEPARATOR.join(dict.fromkeys(proof.quote for proof in evidence)) or None
    pages = list(dict.fromkeys(proof.page for proof in evidence if proof.page is not None))
    return SEPARATOR.join(map(str, pages)) if len(pages) > 1 else next(iter(pages), None)


def surest(evidence: Sequence[Evidence]) -> Evidence | None:
    """The surest piece of evidence, the first among equals."""
    return min(evidence, key=lambda proof: (_MARKS.index(proof.mark), -proof.score), default=None)


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
