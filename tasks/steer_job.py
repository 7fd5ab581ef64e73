"""Pause, cancel and reopen jobs, from wherever: the row says it, and every call looks at the row before it starts."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection

from db import cells, jobs, projects, workers
from db.session import transaction
from db.upgrade import ready
from winnow.exceptions import DefinitionError
from winnow.jobs import BY_HAND, UNFINISHED, Job


def pause_job(job_id: int) -> Job:
    """Start no new call for a job. Calls in flight are kept when they return.

    Raises:
        DefinitionError: there is no such job, or it has ended.
    """
    return _stop(job_id, jobs.pause, f"paused {BY_HAND}")


def cancel_job(job_id: int) -> Job:
    """End a job where it stands. What was answered is kept, and the job can be resumed.

    Raises:
        DefinitionError: there is no such job, or it has ended.
    """
    return _stop(job_id, jobs.cancel, f"cancelled {BY_HAND}")


def _stop(job_id: int, stop: Callable[[Connection, int, str], bool], reason: str) -> Job:
    ready()
    with transaction() as connection:
        job = jobs.get(connection, job_id)
        if job.status not in UNFINISHED:
            raise DefinitionError(f"Job {job_id} has ended already: {_words(job)}.")
        stop(connection, job_id, reason)
        return jobs.get(connection, job_id)


def reopen_job(job_id: int, *, retry_failed: bool = False) -> Job:
    """Let a paused or cancelled job be run on: by the next run with its options.

    Args:
        retry_failed: also one that has ended, for its cells that failed or were skipped.

    Raises:
        DefinitionError: there is no such job, or nothing is left to do in it.
        BusyError: another process runs it, or another job of its project is unfinished.
    """
    ready()
    with transaction() as connection:
        job = jobs.get(connection, job_id)
        if workers.alive(connection, job_id):
            raise jobs.busy(job_id)
        if retry_failed:
            cells.reopen_failed(connection, job_id)
        if not jobs.counts(connection, job_id).pending:
            raise DefinitionError(
                f"Job {job_id} has nothing left to do: {_words(job)}. "
                f"Run its project again with `winnow run {job.project!r}` for what is new."
            )
        jobs.refuse_second(connection, jobs.project_id(connection, job_id), job_id)
        jobs.reopen(connection, job_id)
        return jobs.get(connection, job_id)


def newest_job(project: str) -> int:
    """The id of a project's newest job.

    Raises:
        DefinitionError: there is no such project, or it has no job.
    """
    ready()
    with transaction() as connection:
        found = jobs.newest_id(connection, projects.get(connection, project).id)
    if found is None:
        raise DefinitionError(f"Project {project!r} has no job yet. Start one with `winnow run {project!r}`.")
    return found


def run_parameters(job: Job) -> dict[str, Any]:
    """The parameters of the flow `extract-variables` that goes on with a job."""
    options = job.options
    return {
        "sample": options.sample or 0,
        "variables": list(options.variables),
        "model": options.model,
        "variables_per_call": options.variables_per_call,
        "budget": options.budget or 0.0,
        "seed": options.seed,
    }


def _words(job: Job) -> str:
    return job.status.replace("_", " ")
