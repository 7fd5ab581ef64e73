"""Gold values from a CSV table with the columns document, variable and value, and entity where rows are entities."""

import csv
import io
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from winnow.agreement import SEPARATOR, Gold
from winnow.codebook import name_key
from winnow.exceptions import DefinitionError

COLUMNS = ("document", "variable", "value")
ENTITY = "entity"


def read_gold(path: Path) -> Gold:
    """Read gold values: a line per document and variable, several values joined by "; ", empty where not stated.

    With a column `entity`, which holds an entity's name as the dataset shows it, a line per entity and variable. More
    columns are allowed and not read. Commas, semicolons and tabs may separate the columns.

    Raises:
        DefinitionError: with the line, where the table is not as it should be.
    """
    gold: dict[tuple[str, ...], tuple[str, ...]] = {}
    lines: dict[tuple[str, ...], int] = {}
    for line, row in _rows(_text(path), path, COLUMNS):
        document, variable, *entity = key = _key(row)
        if not document or not variable:
            raise DefinitionError(f"{path}, line {line}: the document or the variable is missing; fill it in.")
        same = (unicodedata.normalize("NFC", document), name_key(variable), *map(name_key, entity))
        first = lines.setdefault(same, line)
        if first != line:
            raise DefinitionError(
                f"{path}, line {line}: {', '.join(key)} stands in line {first} already; keep one line, "
                f'with several values joined by "{SEPARATOR}".'
            )
        gold[key] = tuple(part.strip() for part in row["value"].split(SEPARATOR) if part.strip())
    return gold


def read_gold_entities(path: Path) -> set[tuple[str, str]]:
    """Read the entities that are known to be in the documents, as (document, name), from the same or a shorter table.

    Only the columns `document` and `entity` are needed; an entity may stand in many lines, and a line without one
    counts for nothing.

    Raises:
        DefinitionError: with the line, where the table is not as it should be.
    """
    found = set()
    for line, row in _rows(_text(path), path, ("document", ENTITY)):
        document, entity = row["document"].strip(), row[ENTITY].strip()
        if not document:
            raise DefinitionError(f"{path}, line {line}: the document is missing; fill it in.")
        if entity:
            found.add((document, entity))
    return found


def _key(row: Mapping[str, str]) -> tuple[str, ...]:
    entity = row.get(ENTITY, "").strip()
    return (row["document"].strip(), row["variable"].strip(), *((entity,) if entity else ()))


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DefinitionError(f"{path} is not UTF-8 text; save it as CSV (UTF-8).") from error
    except OSError as error:
        raise DefinitionError(f"Cannot read {path}: {error.strerror}.") from error


def _rows(text: str, path: Path, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    delimiter = max(",;\t", key=text.split("\n", 1)[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    line = 1
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                if header is None:
                    header = _header(fields, path, needed)
                elif len(fields) == len(header):
                    yield line, dict(zip(header, fields, strict=True))
                else:
                    raise _uneven(path, line, len(fields), len(header))
            line = reader.line_num + 1
    except csv.Error as error:
        raise DefinitionError(f"{path}, line {line}: this is not CSV: {error}.") from error
    if header is None:
        raise DefinitionError(f"{path} is empty; it needs the columns {', '.join(needed)}.")


def _header(fields: list[str], path: Path, needed: Sequence[str]) -> list[str]:
    names = [name_key(field) for field in fields]
    wrong = [column for column in needed if names.count(column) != 1]
    if ENTITY not in needed and names.count(ENTITY) > 1:
        wrong.append(ENTITY)
    if wrong:
        raise DefinitionError(
            f"{path}: the header needs the columns {', '.join(needed)}, once each; look at {', '.join(wrong)}."
        )
    return names


def _uneven(path: Path, line: int, have: int, need: int) -> DefinitionError:
    return DefinitionError(
        f"{path}, line {line}: there are {have} columns where the header has {need}; "
        "put a value that holds the separator in quotes."
    )
