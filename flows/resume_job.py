"""Go on with a job that was paused or cancelled.

Core: `tasks.steer_job`, then the flow `extract-variables`. On the command line: `winnow resume ID`.
"""

from typing import Any

from prefect import flow

from flows.extract_variables import extract_variables
from flows.parameters import Concurrency, JobId, RetryFailed
from tasks.steer_job import reopen_job, run_parameters


@flow(
    name="resume-job",
    flow_run_name="resume-job-{job}",
    description="Go on with a job that was paused or cancelled, with the options that it was started with.",
)
def resume_job(job: JobId, concurrency: Concurrency = 0, retry_failed: RetryFailed = False) -> dict[str, Any]:
    """Go on with a job that was paused or cancelled, with the options that it was started with."""
    reopened = reopen_job(job, retry_failed=retry_failed)
    figures: dict[str, Any] = extract_variables(reopened.project, concurrency=concurrency, **run_parameters(reopened))
    return figures


if __name__ == "__main__":
    resume_job.serve()
