"""What the Prefect UI shows of a job: one progress bar while it runs, one table and one page of text at its end."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from typing import Any
from uuid import UUID

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from db import cells, extractions, jobs, projects
from db.session import transaction
from tasks.job_figures import job_figures
from tasks.showing import reachable, shown
from winnow.exceptions import DatabaseDownError
from winnow.jobs import Counts, Job

_EVERY = 1.0  # seconds between updates
_PATIENCE = 5.0  # seconds for the last one


class Progress:
    """The job's progress artifact, brought up to date once a second, by a thread: Prefect's server may be slow."""

    def __init__(self, artifact: UUID, counts: Counts) -> None:
        self._artifact, self._shown, self._share = artifact, _share(counts), _share(counts)
        self._ended = threading.Event()
        self._telling = threading.Thread(target=copy_context().run, args=(self._tell,), daemon=True)
        self._telling.start()

    def show(self, counts: Counts) -> None:
        """Show how far the job is."""
        self._share = _share(counts)

    def end(self, counts: Counts) -> None:
        """Show it for the last time."""
        self.show(counts)
        self._ended.set()
        self._telling.join(_PATIENCE)

    def _tell(self) -> None:
        ended = False
        while not ended:
            ended = self._ended.wait(_EVERY)
            share = self._share
            if share != self._shown:
                with shown("the job's progress"):
                    update_progress_artifact(artifact_id=self._artifact, progress=share)
                    self._shown = share


def _share(counts: Counts) -> float:
    return 100.0 * counts.done / counts.total if counts.total else 100.0


@contextmanager
def progress(job: Job) -> Iterator[Progress]:
    """A progress artifact while the block runs; at its end it shows where the job stands."""
    artifact = create_progress_artifact(
        progress=_share(job.counts),
        key=f"{_slug(job.project)}-progress",
        description=f"Job {job.id} of {job.project}: {job.counts.total} cells",
    )
    assert isinstance(artifact, UUID)  # noqa: S101 # a coroutine only where this is awaited
    bar = Progress(artifact, job.counts)
    try:
        yield bar
    finally:
        with suppress(DatabaseDownError), transaction() as connection:
            bar.end(jobs.counts(connection, job.id))


def report(job_id: int) -> dict[str, Any]:
    """Show the ended job as a table by variable and a page of text; give its figures as plain data."""
    from winnow.frames import summary_frame

    figures = job_figures(job_id)
    if not reachable():
        return figures
    with transaction() as connection:
        project = projects.get(connection, figures["project"])
        cells.analyze(connection)  # a quick job ends before the database knows that its cells are no longer pending
        summary = summary_frame(extractions.dataset_cells(connection, project.id, job_id), project.codebook)
    slug = _slug(project.name)
    with shown("the job's report"):
        create_table_artifact(
            table=summary.to_dicts(), key=f"{slug}-variables", description=f"Job {job_id} of {project.name}"
        )
        create_markdown_artifact(markdown=_page(figures), key=f"{slug}-report")
    return figures


def _page(figures: dict[str, Any]) -> str:
    cells = figures["cells"]
    lines = [
        f"# Job {figures['job']} of {figures['project']}: {figures['status'].replace('_', ' ')}",
        "",
        f"{cells['total']} cells asked of `{figures['model']}`: {cells['extracted']} extracted, {cells['flagged']} "
        f"flagged for a look, {cells['failed']} failed, {cells['skipped']} skipped, {cells['pending']} pending.",
        "",
        f"{figures['calls']} new calls: {figures['prompt_tokens']} prompt tokens ({figures['cached_tokens']} from the "
        f"provider's cache), {figures['completion_tokens']} completion tokens{_money(figures)}.",
    ]
    if figures["kind"] == "sample":
        lines += ["", f"A sample of {figures['sample']} documents, drawn with seed {figures['seed']}."]
    if figures["failures"]:
        lines += ["", "| why cells have no answer | cells |", "|---|---|"]
        lines += [f"| {reason} | {number} |" for reason, number in figures["failures"].items()]
    return "\n".join(lines)


def _money(figures: dict[str, Any]) -> str:
    if figures["cost"] is None:
        return ""
    return f", ${figures['cost']:.4f}" + (" (partly estimated)" if figures["estimated"] else "")


def _slug(name: str) -> str:
    """A project's name as an artifact key may be: lower-case ASCII letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "project"
