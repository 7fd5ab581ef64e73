"""A job while this process drives it: held against others, steered by its row, and left in an honest state."""

import contextlib
import time
from collections.abc import Iterator

from prefect.exceptions import Pause

from db import calls, jobs
from db.session import transaction
from tasks import job_context, observe
from tasks.follow_prefect import Follower, following
from tasks.gates import Gate
from winnow.exceptions import BudgetReachedError, JobPausedError, StayingError, WinnowError
from winnow.jobs import BY_HAND, Counts, Job

_LOOK_EVERY = 1.0  # seconds between looks at the job's row: pause and cancel are rows


class Run:
    """What the flow sees of the job it drives."""

    def __init__(self, job: Job, gate: Gate, follower: Follower) -> None:
        self._job, self._gate, self._follower = job, gate, follower
        self._counts, self._looked = job.counts, 0.0

    @property
    def counts(self) -> Counts:
        """The job's cells by status, at most a second old."""
        self._look()
        return self._counts

    @property
    def stopped(self) -> bool:
        """Whether the job was paused or cancelled: then no new call starts."""
        self._look()
        return self._gate.closed

    @property
    def cancelled_in_prefect(self) -> bool:
        """Whether somebody cancelled its flow run."""
        return self._follower.cancelled

    def interrupt(self) -> None:
        """Start no new call: the process was asked to end."""
        self._gate.close("the run was interrupted")

    def _look(self) -> None:
        if time.monotonic() - self._looked < _LOOK_EVERY:
            return
        with transaction() as connection:
            self._counts = jobs.counts(connection, self._job.id)
            status = jobs.status(connection, self._job.id)
        if status != "running":
            self._gate.close(f"the job is {status}")
        self._looked = time.monotonic()


@contextlib.contextmanager
def running(job: Job, slots: int) -> Iterator[Run]:
    """Drive a job in this process, with so many calls in flight at once.

    The job ends `completed` or `completed_with_errors`, or stays `paused` where the provider refused or the process
    was asked to end; then the next run goes on with it.

    Raises:
        BusyError: another process drives it.
        JobPausedError: somebody paused it.
        Pause: somebody paused its flow run in Prefect.
        BudgetReachedError: the next call could cost more than the job may.
        StayingError: the provider refuses every call; the message says what to do. A job that has nothing answered,
            and has bought nothing, is withdrawn, as if it had not been asked for.
    """
    with jobs.held(job.id), observe.running(job) as left:
        try:
            with job_context.opened(job, slots) as context, following(job.id, context.gate) as follower:
                yield Run(job, context.gate, follower)
        except BaseException as error:  # signals too: raised again, but the job says that it stopped
            with transaction() as connection:
                jobs.set_status(connection, job.id, "paused", f"interrupted: {type(error).__name__}")
                left(jobs.get(connection, job.id))
            raise
        with transaction() as connection:
            jobs.finish(connection, job.id)
            ended = jobs.get(connection, job.id)
            if ended.status == "paused" and not _by_hand(ended) and not calls.spending(connection, job.id).calls:
                jobs.withdraw(connection, job.id)
        left(ended)
        if ended.status == "paused" and follower.stopped_by:
            raise Pause(state=follower.stopped_by)  # Prefect leaves the flow run as it is, and runs it again when asked
        if ended.status == "paused":
            raise _why(ended)


def _by_hand(job: Job) -> bool:
    return job.reason is not None and job.reason.endswith(BY_HAND)


def _why(job: Job) -> WinnowError:
    if _by_hand(job):
        return JobPausedError(f"Job {job.id} was {job.reason}. Go on with it by `winnow resume {job.id}`.")
    reason = job.reason or "The job was paused."
    return BudgetReachedError(reason) if reason.startswith("The budget") else StayingError(reason)
