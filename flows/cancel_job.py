"""End a job where it stands.

Core: `tasks.steer_job`. On the command line: `winnow cancel ID`.
"""

from typing import Any

from prefect import flow

from flows.parameters import JobId
from tasks import steer_job
from tasks.job_figures import job_figures


@flow(
    name="cancel-job",
    flow_run_name="cancel-job-{job}",
    description="End a job where it stands. What was answered is kept, and the job can be resumed.",
)
def cancel_job(job: JobId) -> dict[str, Any]:
    """End a job where it stands. What was answered is kept, and the job can be resumed."""
    steer_job.cancel_job(job)
    return job_figures(job)


if __name__ == "__main__":
    cancel_job.serve()
