"""Further runs of the deployment, which share a large job: on any number of machines, whoever has a free worker.

The run that planned the job works on it too and waits for nobody, so that no worker's place is held by one that waits.
A further run that finds nothing left to do ends at once.
"""

import logging

from prefect import runtime
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound

from db import jobs
from db.session import transaction
from winnow.jobs import Job
from winnow.settings import settings

logger = logging.getLogger(__name__)

_EXTRACT, _RESUME = "extract-variables/extract-variables", "resume-job/resume-job"  # as prefect.yaml names them


def deployed() -> bool:
    """Whether this is the run of a deployment, or a part of one."""
    return bool(runtime.deployment.get_id())


def start(job: Job, concurrency: int) -> None:
    """Start as many further runs as the job's open cells are worth, where it is a deployment that runs.

    They are not started twice for the same plan, however often this is called.
    """
    if not job.deployed or job.options.budget is not None:  # a budget is kept by one process
        return
    worth = -(-job.counts.pending // settings().cells_per_run)
    with transaction() as connection:
        planned = jobs.planned_by(connection, job.id)
    for number in range(1, min(worth, settings().runs_per_job)):
        try:
            run_deployment(
                _deployment(),
                parameters={"project": job.project, "job": job.id, "concurrency": concurrency},
                idempotency_key=f"winnow-job-{job.id}-{planned}-{number}",
                timeout=0,  # nobody waits for it
            )
        except ObjectNotFound:
            logger.warning("There is no deployment %s, so that this run works on the job alone", _EXTRACT)
            return


def start_again(job: Job) -> None:
    """Start a run that goes on with a job whose runs are gone: one for each loss, however often that is found."""
    with transaction() as connection:
        found = jobs.planned_by(connection, job.id)
    run_deployment(
        _RESUME, parameters={"job": job.id}, idempotency_key=f"winnow-job-{job.id}-{found}-again", timeout=0,
        as_subflow=False,
    )  # fmt: skip


def _deployment() -> str:
    """This run's own deployment, unless it is another flow's, which runs this one as a part of its own."""
    is_part = runtime.flow_run.get_parent_flow_run_id() is not None
    return _EXTRACT if is_part else str(runtime.deployment.get_id())
