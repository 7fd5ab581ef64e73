"""Go on with jobs whose runs are gone: a machine that was switched off, a process that was killed.

Core: `tasks.reap_jobs`. Its deployment runs on a schedule; every run of a job strikes out the lost workers of that job
by itself.
"""

from typing import Any

from prefect import flow

from flows import further_runs
from tasks import reap_jobs as core
from tasks.follow_prefect import settle_cancelled


@flow(
    name="reap-jobs",
    flow_run_name="reap-jobs",
    description="Find jobs whose runs are gone, and start another run for each.",
)
def reap_jobs() -> dict[str, Any]:
    """Find jobs whose runs are gone, and start another run for each."""
    settle_cancelled()
    reaped = core.reap_jobs()
    for job in reaped.orphans:
        further_runs.start_again(job)
    return {
        "workers_lost": reaped.workers,
        "jobs_started_again": [job.id for job in reaped.orphans],
        "jobs_paused": [job.id for job in reaped.paused],
    }


if __name__ == "__main__":
    reap_jobs.serve()
