"""What the Prefect UI shows of a job: one progress bar while it runs, one table and one page of text at its end."""

import contextlib
import re
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from db import extractions, jobs, projects
from db.session import transaction
from tasks.job_figures import job_figures
from winnow.jobs import Counts, Job

_EVERY = 1.0  # seconds between updates


class Progress:
    """The job's progress artifact, brought up to date at most once a second."""

    def __init__(self, artifact: UUID) -> None:
        self._artifact, self._shown_at, self._shown = artifact, time.monotonic(), -1.0

    def show(self, counts: Counts) -> None:
        """Show how far the job is."""
        share = 100.0 * counts.done / counts.total if counts.total else 100.0
        due = time.monotonic() - self._shown_at >= _EVERY
        if due and share != self._shown:
            update_progress_artifact(artifact_id=self._artifact, progress=share)
            self._shown_at, self._shown = time.monotonic(), share


@contextlib.contextmanager
def progress(job: Job) -> Iterator[Progress]:
    """A progress artifact while the block runs; at its end it shows where the job stands."""
    artifact = create_progress_artifact(
        progress=100.0 * job.counts.done / job.counts.total if job.counts.total else 100.0,
        key=f"{_slug(job.project)}-progress",
        description=f"Job {job.id} of {job.project}: {job.counts.total} cells",
    )
    assert isinstance(artifact, UUID)  # noqa: S101 # a coroutine only where this is awaited
    bar = Progress(artifact)
    try:
        yield bar
    finally:
        with transaction() as connection:
            counts = jobs.counts(connection, job.id)
        bar._shown_at = 0.0
        bar.show(counts)


def report(job_id: int) -> dict[str, Any]:
    """Show the ended job as a table by variable and a page of text; give its figures as plain data."""
    figures = job_figures(job_id)
    with transaction() as connection:
        project = projects.get(connection, figures["project"])
        dataset = extractions.dataset(connection, project.id, job_id)
    from winnow.frames import summary_frame

    slug = _slug(project.name)
    create_table_artifact(
        table=summary_frame(dataset, project.codebook).to_dicts(),
        key=f"{slug}-variables",
        description=f"Job {job_id} of {project.name}",
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
