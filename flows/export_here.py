"""`winnow export`: the dataset from this process, without a Prefect run."""

from pathlib import Path
from typing import Any, Literal, cast, get_args

from db.upgrade import ready
from tasks.export_files import ExportOptions, Format
from tasks.export_project import write_export
from winnow.exceptions import DefinitionError
from winnow.frames import Extra


def export_here(
    project: str, output: Path | None, file_format: Format | None, shape: Literal["wide", "long"], columns: str
) -> str:
    """Write the dataset and give the file's path.

    Raises:
        DefinitionError: no such project, column or format, or the file cannot be written.
    """
    target = output or Path(f"{project}.{file_format or 'csv'}")
    chosen = file_format or _format_of(target)
    ready()
    options = ExportOptions(format=chosen, shape=shape, extras=_extras(columns))
    written: str = write_export.fn(project, str(target), options)
    return written


def _format_of(target: Path) -> Format:
    ending = target.suffix.lower().removeprefix(".")
    if ending not in get_args(Format):
        raise DefinitionError(f"{target} does not say its format. Add `--format csv` or `--format xlsx`.")
    return cast(Format, ending)


def _extras(columns: str) -> tuple[Extra, ...]:
    names: list[Any] = [name.strip() for name in columns.split(",") if name.strip()]
    unknown = [name for name in names if name not in get_args(Extra)]
    if unknown:
        raise DefinitionError(f"There are no columns {', '.join(unknown)}; --with takes {', '.join(get_args(Extra))}.")
    return tuple(names)
