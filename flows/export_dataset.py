"""Write a project's dataset to a file.

Core: `tasks.export_project`, `winnow.frames`. On the command line: `winnow export PROJECT`.
"""

from prefect import flow

from db.upgrade import ready
from flows.parameters import Extras, FileFormat, FileShape, Output, Project
from tasks.export_files import ExportOptions
from tasks.export_project import write_export


@flow(
    name="export-dataset",
    flow_run_name="export-{project}",
    description="Write the dataset as CSV, or as an Excel workbook with its codebook.",
)
def export_dataset(
    project: Project,
    output: Output,
    format: FileFormat = "csv",
    shape: FileShape = "wide",
    extras: Extras = (),
) -> str:
    """Write the dataset to a file."""
    ready()
    return write_export(project, output, ExportOptions(format=format, shape=shape, extras=tuple(extras)))


if __name__ == "__main__":
    export_dataset.serve()
