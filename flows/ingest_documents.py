"""Ingest files into a project: collect, then parse each once.

Core: `tasks.collect_files`, `tasks.ingest_file`. On the command line: `winnow ingest PROJECT PATH...`.
"""

from collections import Counter

from prefect import flow, unmapped
from prefect.task_runners import ThreadPoolTaskRunner

from db import projects
from db.session import transaction
from db.upgrade import ready
from flows.map_windows import map_windows
from flows.parameters import Paths, Project
from tasks.collect_files import collect_files
from tasks.ingest_file import ingest_file
from tasks.log_lines import use_log_lines
from tasks.parse_pool import parse_pool

_AT_ONCE = 4  # parsing is work for processors; beyond their number, one file is stored while another is parsed


@flow(
    name="ingest-documents",
    flow_run_name="ingest-{project}",
    description="Read files and folders into a project. The same bytes are read once.",
    task_runner=ThreadPoolTaskRunner(max_workers=_AT_ONCE),  # type: ignore[arg-type] # its own futures
)
def ingest_documents(project: Project, paths: Paths) -> dict[str, int]:
    """Read files and folders into a project."""
    use_log_lines()
    ready()
    with transaction() as connection:
        project_id = projects.get(connection, project).id
    files = collect_files(paths)
    ended = map_windows(
        lambda batch: ingest_file.map(
            [file.path for file in batch], [file.name for file in batch], project_id=unmapped(project_id)
        ),
        ([[file]] for file in files),
        window=4 * _AT_ONCE,
    )
    try:
        return dict(Counter(str(future.result()) for future in ended))
    finally:
        parse_pool().end_idle()


if __name__ == "__main__":
    ingest_documents.serve()
