"""The dataset as files. A file appears whole or not at all, and nothing in it runs when a spreadsheet opens it."""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Literal

from winnow.codebook import Codebook
from winnow.exceptions import DefinitionError
from winnow.extractions import DatasetCell, DocumentAccount

if TYPE_CHECKING:
    import polars as pl

    from winnow.rows import Extra

Format = Literal["csv", "xlsx"]
Shape = Literal["wide", "long", "summary"]
RunItem = tuple[str, str | int | float | datetime]
"""A line about the run for the workbook: ("model", "openai:gpt-4.1-mini")."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What to write. The shape is for CSV; a workbook always has the wide dataset and the summary."""

    format: Format = "csv"
    shape: Shape = "wide"
    extras: Collection["Extra"] = ()
    bom: bool = False  # Excel takes a CSV file for UTF-8 only with a byte order mark


def write_dataset(
    path: Path,
    options: ExportOptions,
    *,
    cells: Iterable[DatasetCell],
    codebook: Codebook,
    prompt_versions: Mapping[str, int] | None = None,
    run: Sequence[RunItem] = (),
    accounts: Sequence[DocumentAccount] = (),
) -> None:
    """Write the dataset to a file. The cells of a row stand together.

    The accounts say what became of each document: the workbook shows them all, the long table those without a cell.

    Raises:
        DefinitionError: the file cannot be written there, or the format cannot hold this dataset.
    """
    if options.format == "csv":
        write_csv(_frame(options, cells, codebook, accounts), path, bom=options.bom)
        return
    if options.shape != "wide":
        raise DefinitionError(f"A workbook holds the wide dataset; the {options.shape} one is exported as CSV.")
    from tasks.workbook import write_workbook

    write_workbook(
        path,
        cells=list(cells),
        codebook=codebook,
        prompt_versions=prompt_versions or {},
        run=run,
        extras=options.extras,
        accounts=accounts,
    )


def _frame(
    options: ExportOptions, cells: Iterable[DatasetCell], codebook: Codebook, accounts: Sequence[DocumentAccount]
) -> "pl.DataFrame":
    from winnow.frames import long_frame, summary_frame, wide_frame

    match options.shape:
        case "wide":
            return wide_frame(cells, codebook, options.extras)
        case "long":
            return long_frame(cells, codebook, accounts)
        case "summary":
            return summary_frame(cells, codebook)


def write_csv(frame: "pl.DataFrame", path: Path, *, bom: bool = False) -> None:
    """Write a table as UTF-8 CSV.

    Text that a spreadsheet would run as a formula gets an apostrophe before it, also in the header. Numbers, dates and
    booleans stay what they are. Take one apostrophe off every text that matches `^'+[=+@...]` to undo it exactly.
    """
    with replacing(path) as temporary:
        _inert(frame).write_csv(temporary, include_bom=bom)


# Text that is guarded already gets one more apostrophe: so no two texts become the same.
_FORMULA = "^('*[=+\\-@\t\r\n＝＋－＠])"


def _inert(frame: "pl.DataFrame") -> "pl.DataFrame":
    import re

    import polars as pl

    guarded = frame.with_columns(pl.col(pl.String).str.replace(_FORMULA, "'${1}"))
    return guarded.rename({name: re.sub(_FORMULA, r"'\1", name) for name in frame.columns})


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to. It takes the place of `path` if all goes well, and vanishes if not.

    Raises:
        DefinitionError: the place cannot be written to.
    """
    temporary = path.with_name(f".winnow-{token_hex(8)}{path.suffix}")
    try:
        temporary.touch()  # a place that cannot be written to shows now, and not after all the work
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise DefinitionError(
            f"Cannot write {path}: {error.strerror or type(error).__name__}. "
            "Does the folder exist, and is the file closed in other programs?"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
