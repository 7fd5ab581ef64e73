"""Gold values from a CSV table with the columns document, variable and value."""

import csv
import io
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from winnow.agreement import SEPARATOR, Gold
from winnow.codebook import name_key
from winnow.exceptions import DefinitionError

COLUMNS = ("document", "variable", "value")


def read_gold(path: Path) -> Gold:
    """Read gold values: a line per document and variable, several values joined by "; ", empty where not stated.

    More columns are allowed and not read. Commas, semicolons and tabs may separate the columns.

    Raises:
        DefinitionError: with the line, where the table is not as it should be.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DefinitionError(f"{path} is not UTF-8 text; save it as CSV (UTF-8).") from error
    except OSError as error:
        raise DefinitionError(f"Cannot read {path}: {error.strerror}.") from error
    gold: dict[tuple[str, str], tuple[str, ...]] = {}
    lines: dict[tuple[str, str], int] = {}
    for line, row in _rows(text, path):
        document, variable = row["document"].strip(), row["variable"].strip()
        if not document or not variable:
            raise DefinitionError(f"{path}, line {line}: the document or the variable is missing; fill it in.")
        same = (unicodedata.normalize("NFC", document), name_key(variable))
        first = lines.setdefault(same, line)
        if first != line:
            raise DefinitionError(
                f"{path}, line {line}: {document}, {variable} stands in line {first} already; keep one line, "
                f'with several values joined by "{SEPARATOR}".'
            )
        gold[document, variable] = tuple(part.strip() for part in row["value"].split(SEPARATOR) if part.strip())
    return gold


def _rows(text: str, path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    delimiter = max(",;\t", key=text.split("\n", 1)[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    line = 1
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                if header is None:
                    header = _header(fields, path)
                elif len(fields) == len(header):
                    yield line, dict(zip(header, fields, strict=True))
                else:
                    raise _uneven(path, line, len(fields), len(header))
            line = reader.line_num + 1
    except csv.Error as error:
        raise DefinitionError(f"{path}, line {line}: this is not CSV: {error}.") from error
    if header is None:
        raise DefinitionError(f"{path} is empty; it needs the columns {', '.join(COLUMNS)}.")


def _header(fields: list[str], path: Path) -> list[str]:
    names = [name_key(field) for field in fields]
    wrong = [column for column in COLUMNS if names.count(column) != 1]
    if wrong:
        raise DefinitionError(
            f"{path}: the header needs the columns {', '.join(COLUMNS)}, once each; look at {', '.join(wrong)}."
        )
    return names


def _uneven(path: Path, line: int, have: int, need: int) -> DefinitionError:
    return DefinitionError(
        f"{path}, line {line}: there are {have} columns where the header has {need}; "
        "put a value that holds the separator in quotes."
    )
