"""The dataset as an Excel workbook: the data, what became of each document and of each variable, and the run."""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from xlsxwriter.exceptions import XlsxWriterException

from tasks.export_files import RunItem, replacing
from tasks.workbook_sheets import COLOURS, MAX_ROWS, Book, Cell, Widths, accepted
from winnow.agreement import value_text
from winnow.codebook import Codebook, Variable, name_key
from winnow.exceptions import DefinitionError
from winnow.extractions import DatasetCell, DocumentAccount
from winnow.frames import summary_frame
from winnow.rows import Column, Extra, Row, Rows, row_value, rows_of, wide_columns

MAX_COLUMNS = 16_384  # of a sheet


def write_workbook(
    path: Path,
    *,
    cells: Sequence[DatasetCell],
    codebook: Codebook,
    prompt_versions: Mapping[str, int],
    run: Sequence[RunItem],
    extras: Collection[Extra] = (),
    accounts: Sequence[DocumentAccount] = (),
) -> None:
    """Write the sheets `data` (and `data_2`, ... for many rows), `codebook`, `run`, and `long_texts` if needed.

    With accounts of the documents there is a sheet `documents` too.

    Raises:
        DefinitionError: too many columns for Excel, or the file cannot be written there.
    """
    columns = wide_columns(codebook, extras)
    if len(columns) > MAX_COLUMNS:
        raise DefinitionError(f"Excel holds {MAX_COLUMNS:,} columns, the dataset has {len(columns):,}; export CSV.")
    rows = rows_of(cells, codebook)
    with replacing(path) as temporary:
        try:
            data_sheets = math.ceil(len(rows) / (MAX_ROWS - 1))
            book = Book(temporary, codebook.project, data_sheets=data_sheets, documents=bool(accounts))
            with book.workbook:  # which writes the file at its end
                _write_data(book, columns, rows)
                _write_documents(book, accounts, rows)
                _write_codebook(book, codebook, cells, prompt_versions)
                _write_run(book, run)
        except XlsxWriterException as error:
            raise DefinitionError(f"The workbook {path} cannot be written: {error}") from error


def _write_data(book: Book, columns: Sequence[Column], rows: Rows) -> None:
    widths = _data_widths(columns, rows)
    lines = (_data_line(columns, row) for row in rows.values())
    light = {column.name for column in columns if column.extra or column.head in ("entity_id", "completeness")}
    for sheet in book.data:
        last = book.table(sheet, widths, islice(lines, MAX_ROWS - 1), most_lines=3, light=light)
        accepted(sheet.autofilter(0, 0, last, len(widths) - 1))


def _data_line(columns: Sequence[Column], row: Row) -> list[Cell]:
    any_cell = next(iter(row.values()))
    line = []
    for column in columns:
        cell = row.get(name_key(column.variable.name)) if column.variable else None
        style = "confidence" if column.extra == "confidence" else ""
        fill = _fill(cell) if column.extra is None else None
        if column.head == "completeness":
            fill = _completeness_fill(any_cell.completeness)
        line.append(Cell(row_value(column, row), style, fill, (any_cell.document, column.name)))
    return line


def _completeness_fill(status: str | None) -> str | None:
    return status if status == "failed" else None if status in (None, "complete") else "incomplete"


def _fill(cell: DatasetCell | None) -> str | None:
    if cell is None:
        return None
    if cell.status in ("failed", "skipped"):
        return cell.status
    flags = cell.extraction.flags if cell.extraction else ()
    return None if not flags else "low confidence" if set(flags) == {"low_confidence"} else "flagged"


def _data_widths(columns: Sequence[Column], rows: Rows) -> dict[str, int]:
    """By what most cells of a column need, as the first thousand rows show."""
    sample = [_data_line(columns, row) for row in islice(rows.values(), 1000)]
    widths = {}
    for place, column in enumerate(columns):
        lengths = sorted(len(str(line[place].value)) for line in sample if line[place].value is not None)
        usual = lengths[len(lengths) * 9 // 10] if lengths else 0
        most = 60 if column.extra == "evidence" else 44
        widths[column.name] = min(max(usual + 2, min(len(column.name) + 4, 28), 10), most)
    return widths


def _write_documents(book: Book, accounts: Sequence[DocumentAccount], rows: Rows) -> None:
    """A line per document: its rows, what became of their cells, and why it is not complete."""
    if book.documents is None:
        return
    counts: dict[tuple[str, str], Counter[str]] = {}
    for (document, document_hash, _), row in rows.items():
        count = counts.setdefault((document, document_hash), Counter())
        for cell in row.values():
            count[cell.status] += 1
            count["flagged"] += bool(cell.extraction and cell.extraction.flagged)
    longest = max(len(account.document) for account in accounts)
    widths = {"document": min(max(longest + 2, 24), 44)} | _DOCUMENT_WIDTHS
    if all(account.announced is None and account.listed is None for account in accounts):
        widths = {name: width for name, width in widths.items() if name not in ("announced", "listed")}
    lines = (
        _document_line(account, counts.get((account.document, account.document_hash), Counter()), widths)
        for account in accounts
    )
    book.table(book.documents, widths, lines, most_lines=6)


_DOCUMENT_WIDTHS = {
    "completeness": 14, "rows": 8, "announced": 11, "listed": 8, "found": 8, "not stated": 8, "not applicable": 11,
    "unclear": 9, "flagged": 9, "failed": 8, "skipped": 9, "not asked": 10, "unread characters": 12, "why": 60,
}  # fmt: skip


def _document_line(account: DocumentAccount, counts: Counter[str], widths: Widths) -> list[Cell]:
    known: dict[str, str | int | None] = {
        "document": account.document,
        "completeness": account.status,
        "rows": account.rows,
        "announced": account.announced,
        "listed": account.listed,
        "unread characters": account.unread,
        "why": account.reason,
    }
    return [
        Cell(
            known[name] if name in known else counts[name.replace(" ", "_")],
            "name" if name == "document" else "",
            _completeness_fill(account.status) if name == "completeness" else None,
            (account.document, name),
        )
        for name in widths
    ]


def _write_codebook(
    book: Book, codebook: Codebook, cells: Sequence[DatasetCell], prompt_versions: Mapping[str, int]
) -> None:
    figures = summary_frame(cells, codebook).rows(named=True)
    lines = [
        _codebook_line(variable, prompt_versions.get(variable.name), figure)
        for variable, figure in zip(codebook.variables, figures, strict=True)
    ]
    book.table(book.codebook, _CODEBOOK_WIDTHS, lines, most_lines=25)
    row = len(lines) + 2
    book.put(book.codebook, row, 0, Cell("Colours", "name"))
    for place, (fill, (_, meaning)) in enumerate(COLOURS.items(), row + 1):
        book.put(book.codebook, place, 0, Cell(fill, "text", fill))
        book.put(book.codebook, place, 1, Cell(meaning, "note"))


_CODEBOOK_WIDTHS = {
    "name": 24, "label": 22, "type": 10, "unit": 9, "instructions": 60, "categories": 44, "validation": 22,
    "prompt version": 9, "N": 7, "found": 8, "not stated": 8, "not applicable": 11, "unclear": 8,
    "flagged": 8, "failed": 8, "skipped": 8, "missing": 9, "mean confidence": 12,
}  # fmt: skip


_COUNTS = ("n", "found", "not_stated", "not_applicable", "unclear", "flagged", "failed", "skipped")


def _codebook_line(variable: Variable, prompt_version: int | None, figure: Mapping[str, Any]) -> list[Cell]:
    about = (variable.label, variable.type, variable.unit, variable.instructions)
    words = (*about, _categories(variable), _rules(variable))
    counts = (prompt_version, *(figure[name] for name in _COUNTS))
    return [
        Cell(variable.name, "name"),
        *(Cell(text, "text", None, ("codebook", variable.name)) for text in words),
        *(Cell(number, "count") for number in counts),
        Cell(figure["missing_share"], "share"),
        Cell(figure["mean_confidence"], "confidence"),
    ]


def _categories(variable: Variable) -> str:
    def line(value: str, label: str | None, description: str | None) -> str:
        named = f"{value} ({label})" if label and label != value else value
        return f"{named}: {description}" if description else named

    return "\n".join(line(item.value, item.label, item.description) for item in variable.categories)


def _rules(variable: Variable) -> str:
    rules = variable.validation
    said = {"at least": rules.min, "at most": rules.max, "pattern": rules.pattern}
    lines = [f"{what} {value_text(limit)}" for what, limit in said.items() if limit is not None]
    return "\n".join([*lines, *(["one of " + ", ".join(rules.allowed)] if rules.allowed else [])])


def _write_run(book: Book, run: Sequence[RunItem]) -> None:
    lines = ([Cell(name, "name"), Cell(value, "", None, ("run", name))] for name, value in run)
    book.table(book.run, {"item": 28, "value": 64}, lines, most_lines=25)
