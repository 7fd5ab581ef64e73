"""The whole way in one run: ingest, extract, export.

Made for schedules: a folder that grows is read again, and only what is new is asked. On the command line it is
`winnow ingest`, `winnow run` and `winnow export` one after the other.
"""

from typing import Any, Literal

from prefect import flow

from flows.export_dataset import export_dataset
from flows.extract_variables import extract_variables
from flows.ingest_documents import ingest_documents


@flow(
    name="run-pipeline",
    flow_run_name="pipeline-{project}",
    description="Read new documents, ask for what is not answered yet, and write the dataset.",
)
def run_pipeline(
    project: str,
    paths: list[str],
    output: str,
    format: Literal["csv", "xlsx"] = "xlsx",  # the word of the command line
    model: str = "",
) -> dict[str, Any]:
    """Read new documents, ask for what is not answered yet, and write the dataset.

    Args:
        project: Name of the project, as its codebook gives it.
        paths: Files and folders on the machine of the worker; folders are walked through.
        output: File to write, on the machine of the worker; one that is there is replaced.
        format: CSV, or an Excel workbook with the data, the codebook and the run.
        model: Model as provider:name, such as openai:gpt-4.1-mini, or baseline; empty for the one that is set.
    """
    ingested = ingest_documents(project, paths)
    job = extract_variables(project, model=model)
    written = export_dataset(project, output, format=format)
    return {"ingested": ingested, "job": job, "written": written}


if __name__ == "__main__":
    run_pipeline.serve()
