"""A job's figures as plain data: for `--json`, for a flow's result and for the page in the Prefect UI."""

import logging
from dataclasses import asdict
from typing import Any

from db import calls, cells, extractions, jobs, projects
from db.session import transaction
from winnow.exceptions import DefinitionError
from winnow.jobs import ENDED

logger = logging.getLogger(__name__)


def job_figures(job_id: int) -> dict[str, Any]:
    """A job's options, its cells by status, why cells failed, and what its calls cost.

    Raises:
        DefinitionError: there is no such job.
    """
    with transaction() as connection:
        job = jobs.get(connection, job_id)
        spending = calls.spending(connection, job_id)
        failures = cells.failures(connection, job_id)
    return {
        "job": job.id,
        "project": job.project,
        "kind": job.options.kind,
        "model": job.options.model,
        "sample": job.options.sample,
        "seed": job.options.seed,
        "status": job.status,
        "reason": job.reason,
        "created_at": job.created_at.isoformat(),
        "finished_at": job.finished_at.isoformat() if job.finished_at else None,
        "cells": {"total": job.counts.total, **asdict(job.counts)},
        "failures": failures,
        **asdict(spending),
        "budget": job.options.budget,
    }


def figures_without_prefect(project: str) -> dict[str, Any]:
    """The figures of a project's newest job, whose run could not tell Prefect's server how it ended.

    Raises:
        DefinitionError: the job has not ended.
    """
    with transaction() as connection:
        job_id = jobs.newest_id(connection, projects.get(connection, project).id)
    figures = job_figures(job_id) if job_id else None
    if figures is None or figures["status"] not in ENDED:
        raise DefinitionError(
            "Prefect's server is away, and so the run ended early. What was answered is kept; run again to go on."
        )
    logger.warning("Prefect's server was away at the end: the run may be shown there as it was before")
    return figures


def job_costs(job_id: int) -> dict[str, list[dict[str, Any]]]:
    """What a job has bought, by variable, document and model."""
    with transaction() as connection:
        return {
            what: [{what: name, **asdict(spent)} for name, spent in calls.spending_by(connection, job_id, what)]
            for what in ("variable", "document", "model")
        }


def job_documents(job_id: int) -> list[dict[str, Any]]:
    """Of every document of a job, whether all of it was read, and all that it announces was found."""
    with transaction() as connection:
        accounts = extractions.document_accounts(connection, jobs.project_id(connection, job_id), job_id)
        return [asdict(account) for account in accounts]
