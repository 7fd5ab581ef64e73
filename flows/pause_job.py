"""Start no new call for a job.

Core: `tasks.steer_job`. On the command line: `winnow pause ID`.
"""

from typing import Any

from prefect import flow

from flows.parameters import JobId
from tasks import steer_job
from tasks.job_figures import job_figures


@flow(
    name="pause-job",
    flow_run_name="pause-job-{job}",
    description="Start no new call for a job. Calls in flight are kept; `resume-job` goes on with it.",
)
def pause_job(job: JobId) -> dict[str, Any]:
    """Start no new call for a job. Calls in flight are kept; `resume-job` goes on with it."""
    steer_job.pause_job(job)
    return job_figures(job)


if __name__ == "__main__":
    pause_job.serve()
