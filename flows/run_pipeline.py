"""The whole way in one run: ingest, extract, export.

Made for schedules: a folder that grows is read again, and only what is new is asked. On the command line it is
`winnow ingest`, `winnow run` and `winnow export` one after the other.
"""

from typing import Any

from prefect import flow

from flows.export_dataset import export_dataset
from flows.extract_variables import extract_variables
from flows.ingest_documents import ingest_documents
from flows.parameters import FileFormat, ModelName, Output, Paths, Project


@flow(
    name="run-pipeline",
    flow_run_name="pipeline-{project}",
    description="Read new documents, ask for what is not answered yet, and write the dataset.",
)
def run_pipeline(
    project: Project,
    paths: Paths,
    output: Output,
    format: FileFormat = "xlsx",
    model: ModelName = "",
) -> dict[str, Any]:
    """Read new documents, ask for what is not answered yet, and write the dataset."""
    ingested = ingest_documents(project, paths)
    job = extract_variables(project, model=model)
    written = export_dataset(project, output, format=format)
    return {"ingested": ingested, "job": job, "written": written}


if __name__ == "__main__":
    run_pipeline.serve()
