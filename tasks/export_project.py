"""A project's dataset, gathered from the database and written to a file."""

from itertools import chain
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from db import calls, extractions, jobs, projects
from db.session import transaction
from tasks.export_files import ExportOptions, RunItem, write_dataset
from winnow import __version__
from winnow.exceptions import NothingToDoError
from winnow.jobs import Job, Spending


@task(name="write-export", task_run_name="{path}", cache_policy=NO_CACHE, persist_result=False)
def write_export(project: str, path: str, options: ExportOptions) -> str:
    """Write a project's dataset to a file, and give the file's absolute path.

    Raises:
        DefinitionError: there is no such project, or the file cannot be written.
    """
    target = Path(path).expanduser().absolute()
    with transaction() as connection:
        known = projects.get(connection, project)
        accounts = extractions.document_accounts(connection, known.id)
        prompts = projects.prompts(connection, known.id)
        job_id = jobs.newest_id(connection, known.id)
        job = jobs.get(connection, job_id) if job_id else None
        spending = calls.spending(connection, job_id) if job_id else Spending()
        cells = extractions.dataset_cells(connection, known.id)
        first = next(cells, None)
        if first is None:
            raise NothingToDoError(
                f"Project {known.name!r} has nothing to export: it needs variables and documents. Add them with "
                "`winnow apply CODEBOOK` and `winnow ingest PROJECT PATH`."
            )
        write_dataset(
            target,
            options,
            cells=chain([first], cells),  # written as they come: they may be more than fit into memory
            codebook=known.codebook,
            prompt_versions={prompt.variable.name: prompt.version for prompt in prompts},
            run=_run_items(known.name, known.version, job, spending),
            accounts=accounts,
        )
    return str(target)


def _run_items(project: str, version: int, job: Job | None, spending: Spending) -> list[RunItem]:
    """What the workbook says about the newest job."""
    items: list[RunItem] = [("Project", project), ("Codebook version", version), ("Winnow", __version__)]
    if job is None:
        return [*items, ("Newest job", "none yet")]
    items += [
        ("Newest job", str(job.id)),
        ("Kind", job.options.kind),
        ("Model", job.options.model),
        ("Status", job.status.replace("_", " ")),
        ("Started", job.created_at),
    ]
    if job.finished_at:
        items.append(("Ended", job.finished_at))
    if job.options.kind == "sample" and job.options.seed is not None:
        items += [("Sampled documents", job.options.sample or 0), ("Seed of the sample", job.options.seed)]
    counts = job.counts
    items += [
        ("Cells", counts.total),
        ("Extracted", counts.extracted),
        ("Flagged", counts.flagged),
        ("Failed", counts.failed),
        ("Skipped", counts.skipped),
        ("Pending", counts.pending),
        ("Calls", spending.calls),
        ("Prompt tokens", spending.prompt_tokens),
        ("Cached prompt tokens", spending.cached_tokens),
        ("Completion tokens", spending.completion_tokens),
    ]
    return items if spending.cost is None else [*items, ("Cost in US dollars", round(spending.cost, 6))]
