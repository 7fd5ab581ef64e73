"""Jobs whose processes are gone: found by their leases, and gone on with, or set down in an honest state."""

from dataclasses import dataclass, field

from db import jobs, workers
from db.session import transaction
from db.upgrade import ready
from winnow.jobs import Job

_IN_VAIN = 3  # times that a job is taken over without a cell ended in between


@dataclass
class Reaped:
    """What was found."""

    workers: int = 0  # that are gone
    orphans: list[Job] = field(default_factory=list)  # jobs that wait for another run of their deployment
    paused: list[Job] = field(default_factory=list)  # jobs that only a person can go on with


def reap_jobs() -> Reaped:
    """Strike out the workers whose lease has ended, and find the jobs that nobody works on any more.

    A job that was started by a command is paused: where its key and its model are, that person knows.
    """
    ready()
    reaped = Reaped()
    with transaction() as connection:
        reaped.workers = workers.reap(connection)
        for job in jobs.orphaned(connection):
            why = f"its process is gone: `winnow resume {job.id}` goes on with it"
            if job.deployed and jobs.take_over(connection, job) > _IN_VAIN:
                why = f"{_IN_VAIN} of its runs were lost without a cell ended; see their logs. Then {why}"
            elif job.deployed:
                reaped.orphans.append(job)
                continue
            jobs.pause(connection, job.id, why)
            reaped.paused.append(job)
    return reaped
