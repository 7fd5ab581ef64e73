"""An Excel workbook as it is written: cells by the type of their value, long texts in a sheet of their own.

xlsxwriter cuts text and drops cells without a word, and tells it by return codes alone: here every code is looked at.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

from xlsxwriter import Workbook

from winnow.exceptions import WinnowError
from winnow.rows import Scalar

MAX_ROWS = 1_048_576  # of a sheet
MAX_TEXT = 32_767  # in UTF-16 units, as Excel counts

_FIRST_SAFE_DATE = date(1900, 3, 1)  # spreadsheets disagree on the serial numbers before it
_PIECE, _SHOWN = 32_000, 1_000  # characters of a long text in a cell of its own sheet, and where it belongs
_LINE = 15  # points, of one line of text

_TEXT = {"valign": "top", "num_format": "@", "text_wrap": True}
_NUMBER = {"valign": "top", "align": "left"}
_HEADER = {**_TEXT, "bold": True, "valign": "vcenter", "font_color": "#FFFFFF", "bg_color": "#33475B"}
_STYLES: dict[str, dict[str, Any]] = {
    "text": _TEXT,
    "name": {**_TEXT, "bold": True},
    "note": {"num_format": "@"},
    "header": _HEADER,
    "light": {**_HEADER, "bold": False, "bg_color": "#70859B"},
    "number": {"valign": "top", "align": "right", "indent": 1},
    "count": {**_NUMBER, "num_format": "#,##0"},
    "share": {**_NUMBER, "num_format": "0%"},
    "confidence": {**_NUMBER, "num_format": "0.00"},
    "boolean": {**_NUMBER, "num_format": '"TRUE";;"FALSE"'},  # LibreOffice would show 1 and 0
    "date": {**_NUMBER, "num_format": "yyyy-mm-dd"},
    "moment": {**_NUMBER, "num_format": 'yyyy-mm-dd hh:mm "UTC"'},
}
COLOURS = {
    "low confidence": ("#FFF2CC", "The model's confidence is below the variable's threshold."),
    "flagged": ("#F8CBAD", "Look at it: the document has no such evidence, or the value is unclear or breaks a rule."),
    "failed": ("#D9D9D9", "No answer, because the call or the reply failed."),
    "skipped": ("#E4DFEC", "Not asked, because a variable that it depends on has no answer."),
    "incomplete": ("#DDEBF7", "Not all of the document was read, or not all that it announces was found."),
}
"""What a cell can be filled with, and what it means."""


class Cell(NamedTuple):
    """What stands in a cell of a sheet."""

    value: Scalar | datetime
    style: str = ""  # empty: by the value's type
    fill: str | None = None
    source: tuple[str, str] = ("", "")  # the document and column of a text


Line = Sequence[Cell]
Widths = Mapping[str, int]  # of the columns, by name and in order


class Book:
    """An open workbook. It writes a cell by its value's type, and moves long text to a sheet of its own."""

    def __init__(self, path: Path, title: str, data_sheets: int, documents: bool) -> None:
        guesses = dict.fromkeys(("strings_to_formulas", "strings_to_urls", "strings_to_numbers"), False)
        options = {"constant_memory": True, "default_date_format": "yyyy-mm-dd"}
        self.workbook = Workbook(str(path), options | guesses)
        self.workbook.use_zip64()
        self.workbook.set_properties({"title": title, "comments": "Made by Winnow"})
        self._formats: dict[tuple[str, str | None], Any] = {}
        names = ["data", *(f"data_{number}" for number in range(2, data_sheets + 1))]  # one at least
        self.data = [self.workbook.add_worksheet(name) for name in names]
        self.documents = self.workbook.add_worksheet("documents") if documents else None
        self.codebook = self.workbook.add_worksheet("codebook")
        self.run = self.workbook.add_worksheet("run")
        self._long: Any = None
        self._long_row = 0

    def table(
        self, sheet: Any, widths: Widths, lines: Iterable[Line], most_lines: int, light: Collection[str] = ()
    ) -> int:
        """Write a header that stays in sight, paler for the columns in `light`, and the lines. Returns the last row."""
        for place, width in enumerate(widths.values()):
            accepted(sheet.set_column(place, place, width))
        self._line(sheet, 0, widths, [Cell(name, "light" if name in light else "header") for name in widths], 3)
        last = 0
        for last, line in enumerate(lines, 1):
            self._line(sheet, last, widths, line, most_lines)
        sheet.freeze_panes(1, 1)
        sheet.ignore_errors({"number_stored_as_text": f"A1:XFD{MAX_ROWS}"})  # no green corners: 00123 is meant
        sheet.set_landscape()
        sheet.repeat_rows(0)
        if sum(widths.values()) <= 320:  # on paper, more would be too small to read
            sheet.fit_to_pages(1, 0)
        return last

    def _line(self, sheet: Any, row: int, widths: Widths, line: Line, most_lines: int) -> None:
        for column, cell in enumerate(line):
            self.put(sheet, row, column, cell)
        # A height that is set keeps wrapped text from making the row as tall as its longest text.
        need = max(_lines(cell.value, width) for cell, width in zip(line, widths.values(), strict=True))
        accepted(sheet.set_row(row, _LINE * min(need, most_lines) + (6 if row == 0 else 0)))

    def put(self, sheet: Any, row: int, column: int, cell: Cell) -> None:
        """Write one cell. Rows must come in order."""
        value, style = _for_excel(cell.value, cell.style)
        form = self._format(style, cell.fill)
        if value is None or value == "":
            code = sheet.write_blank(row, column, None, form) if cell.fill else 0
        elif isinstance(value, bool):
            code = sheet.write_boolean(row, column, value, form)
        elif isinstance(value, str):
            code = sheet.write_string(row, column, self._fitting(value, cell.source), form)
        elif isinstance(value, date):
            code = sheet.write_datetime(row, column, value, form)
        else:
            code = sheet.write_number(row, column, value, form)
        accepted(code)

    def _format(self, style: str, fill: str | None) -> Any:
        key = (style, fill)
        if key not in self._formats:
            colour = {"bg_color": COLOURS[fill][0], "border": 1, "border_color": "#D0D0D0"} if fill else {}
            self._formats[key] = self.workbook.add_format(_STYLES[style] | colour)
        return self._formats[key]

    def _fitting(self, text: str, source: tuple[str, str]) -> str:
        """Text that a cell can hold. What is longer stands whole in `long_texts`, and the cell says where."""
        units = len(text) if len(text) <= MAX_TEXT // 2 else len(text.encode("utf-16-le")) // 2
        if units <= MAX_TEXT:
            return text
        size = _PIECE if units == len(text) else _PIECE // 2
        pieces = [text[start : start + size] for start in range(0, len(text), size)]
        for part, piece in enumerate(pieces, 1):
            self._keep([*source, f"{part} of {len(pieces)}", piece])
        return f"{text[:_SHOWN]}… [full text in sheet long_texts, row {self._long_row - len(pieces) + 2}]"

    def _keep(self, line: Sequence[str]) -> None:
        if self._long is None:
            self._long = self.workbook.add_worksheet("long_texts")
            self.table(self._long, _LONG_WIDTHS, (), most_lines=1)
        self._long_row += 1
        self._line(self._long, self._long_row, _LONG_WIDTHS, [Cell(text) for text in line], most_lines=6)


_LONG_WIDTHS = {"document": 36, "variable": 24, "part": 10, "text": 100}


def accepted(code: int) -> None:
    """Stop at a return code with which xlsxwriter says that it dropped or cut something."""
    if code:
        raise WinnowError(f"The workbook would lose a cell (xlsxwriter returned {code}); export it as CSV.")


def _lines(value: Scalar | datetime, width: int) -> int:
    """How many lines a text takes in a column, about."""
    if not isinstance(value, str):
        return 1
    return sum(max(1, math.ceil(len(line) / (1.15 * width))) for line in value[:4000].split("\n"))


def _for_excel(value: Scalar | datetime, style: str) -> tuple[Scalar | datetime, str]:
    """The value as Excel can hold it, with its style. Dates and numbers that it cannot hold become text."""
    if isinstance(value, datetime):
        moment = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        return (moment, "moment") if moment.date() >= _FIRST_SAFE_DATE else (moment.isoformat(" "), "text")
    if isinstance(value, date):
        return (value, "date") if value >= _FIRST_SAFE_DATE else (value.isoformat(), "text")
    if isinstance(value, float) and not math.isfinite(value):
        return str(value), "text"
    kinds = {bool: "boolean", int: "count", float: "number"}
    return value, style or kinds.get(type(value), "text")
