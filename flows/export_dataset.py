"""Write a project's dataset to a file.

Core: `tasks.export_project`, `winnow.frames`. On the command line: `winnow export PROJECT`.
"""

from typing import Literal

from prefect import flow

from db.upgrade import ready
from tasks.export_files import ExportOptions
from tasks.export_project import write_export


@flow(
    name="export-dataset",
    flow_run_name="export-{project}",
    description="Write the dataset as CSV, or as an Excel workbook with its codebook.",
)
def export_dataset(
    project: str,
    output: str,
    format: Literal["csv", "xlsx"] = "csv",  # the word of the command line
    shape: Literal["wide", "long"] = "wide",
    extras: list[Literal["confidence", "evidence", "page", "status"]] | None = None,
) -> str:
    """Write the dataset to a file.

    Args:
        project: Name of the project, as its codebook gives it.
        output: File to write, on the machine of the worker; one that is there is replaced.
        format: CSV, or an Excel workbook with the data, the codebook and the run.
        shape: A row per document, or a row per extracted value (CSV only).
        extras: Columns to add beside every variable.
    """
    ready()
    return write_export(project, output, ExportOptions(format=format, shape=shape, extras=tuple(extras or ())))


if __name__ == "__main__":
    export_dataset.serve()
