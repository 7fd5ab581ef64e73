"""Run a job: plan its cells, map one task run per (document, variable) or group of variables, report.

Core: `tasks.plan_job`, `tasks.extract_cell`. On the command line: `winnow run PROJECT`.
"""

from collections.abc import Sequence
from contextlib import closing
from typing import Any

from prefect import flow, get_run_logger, runtime, unmapped
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelled
from prefect.task_runners import ThreadPoolTaskRunner

from db import jobs
from db.session import transaction
from flows import further_runs
from flows.map_windows import map_windows
from flows.parameters import (
    Budget,
    Concurrency,
    Join,
    ModelName,
    Project,
    Sample,
    Seed,
    Variables,
    VariablesPerCall,
)
from tasks import job_artifacts, models
from tasks.extract_cell import extract_cell
from tasks.follow_prefect import resumed, settle_cancelled
from tasks.job_figures import job_figures
from tasks.plan_job import join_job, plan_job
from tasks.run_job import running
from winnow.exceptions import JobPausedError
from winnow.jobs import Job, JobOptions
from winnow.settings import settings

_MOST_THREADS = 1100  # threads are made as they are needed: twice the concurrency, which settings limit to 512


def _cancel_job(flow: Any, flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001 # Prefect's hook
    with transaction() as connection:
        for job_id in jobs.of_flow_run(connection, str(flow_run.id)):
            jobs.cancel(connection, job_id, "the flow run was cancelled")


def _run_name() -> str:
    given = runtime.flow_run.get_parameters()
    return f"extract-{given['project']}" + (f" (joins job {given['job']})" if given.get("job") else "")


@flow(
    name="extract-variables",
    flow_run_name=_run_name,
    description="Ask a model for every variable of every document, and keep value, confidence and evidence.",
    task_runner=ThreadPoolTaskRunner(max_workers=_MOST_THREADS),  # type: ignore[arg-type] # its own futures
    on_cancellation=[_cancel_job],
)
def extract_variables(
    project: Project,
    sample: Sample = 0,
    variables: Variables = (),
    model: ModelName = "",
    concurrency: Concurrency = 0,
    variables_per_call: VariablesPerCall = 1,
    budget: Budget = 0.0,
    seed: Seed = None,
    job: Join = 0,
) -> dict[str, Any]:
    """Ask a model for every variable of every document of a project.

    What was answered before is not asked again. A run that was interrupted goes on where it stopped.
    """
    if job:
        joined = join_job(job)
        if not resumed(joined):
            return _join(joined, concurrency)
        options = joined.options
    else:
        options = job_options(sample, variables, model, seed, variables_per_call, budget)
    settle_cancelled()
    planned = plan_job(project, options, runtime.flow_run.get_id(), deployed=further_runs.deployed())
    further_runs.start(planned, concurrency)
    figures = _work_on(planned, concurrency)
    if figures["status"] == "cancelled":
        said = f"Job {planned.id} was cancelled; `winnow resume {planned.id}` goes on with it."
        return Cancelled(message=said)  # type: ignore[return-value] # Prefect ends the flow run in this state
    return job_artifacts.report(planned.id)


def _join(job: Job, concurrency: int) -> dict[str, Any]:
    """Work on a job that others work on too, where it still runs."""
    if job.status not in ("pending", "running"):
        return job_figures(job.id)
    try:
        return _work_on(job, concurrency)
    except JobPausedError as paused:  # told by the run that it joined
        return Cancelled(message=str(paused))  # type: ignore[return-value]


def _work_on(job: Job, concurrency: int) -> dict[str, Any]:
    """Work on a job until it has nothing left to do."""
    slots = concurrency or settings().concurrency
    log = get_run_logger()
    log.info("Job %d of %s: %d of %d cells to do", job.id, job.project, job.counts.pending, job.counts.total)
    with running(job, slots) as run, job_artifacts.progress(job) as progress:
        while run.has_more():
            mapped = map_windows(
                lambda batch: extract_cell.map(
                    [list(item.cells) for item in batch],
                    [item.document for item in batch],
                    [item.variable for item in batch],
                    check=[item.check for item in batch],
                    job=unmapped(job.id),
                ),
                run.documents(),
                window=2 * slots,
                interrupted=run.interrupt,
            )
            with closing(mapped) as ended:  # stopped, too, the run ends when all that is under way has
                for _ in ended:
                    if run.stopped:
                        break
                    progress.show(run.counts)
    figures = job_figures(job.id)
    log.info("Job %d is %s: %s", job.id, figures["status"], figures["cells"])
    return figures


def job_options(
    sample: int = 0,
    variables: Sequence[str] = (),
    model: str = "",
    seed: int | None = None,
    variables_per_call: int = 1,
    budget: float = 0.0,
) -> JobOptions:
    """What a run is asked to do, from its parameters."""
    return JobOptions(
        kind="sample" if sample else "full",
        model=models.chosen_model(model),
        variables=tuple(variables),
        sample=sample or None,
        seed=seed,
        variables_per_call=variables_per_call,
        budget=budget or None,
    )


if __name__ == "__main__":
    extract_variables.serve()
