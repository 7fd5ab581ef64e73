"""A job while this process works on it, steered by its row, and left in an honest state."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

from prefect.exceptions import Pause, TerminationSignal

from db import calls, cells, jobs, workers
from db.session import patiently, transaction
from tasks import job_context, observe
from tasks.follow_prefect import Follower, following
from tasks.gates import Gate
from tasks.grace import end_within_grace
from tasks.job_context import JobContext
from tasks.work_stages import Stages, documents_of
from winnow.exceptions import BudgetReachedError, JobPausedError, JobStoppedError, StayingError, WinnowError
from winnow.jobs import BY_HAND, Counts, Job

_LOOK_EVERY = 1.0  # seconds between looks at the job's row: pause and cancel are rows
_REST = 50  # times as long as counting its cells took


class Run:
    """What the flow sees of the job that it works on."""

    def __init__(self, context: JobContext, follower: Follower) -> None:
        self._context, self._follower = context, follower
        self._counts, self._looked, self._count_at = context.job.counts, 0.0, 0.0

    @property
    def counts(self) -> Counts:
        """The job's cells by status, a second old or, in a large job, some seconds."""
        self._look()
        return self._counts

    @property
    def stopped(self) -> bool:
        """Whether the job was paused or cancelled: then no new call starts."""
        self._look()
        return self._context.gate.closed

    def documents(self) -> Iterator[Stages]:
        """The stages of every document that can be claimed now."""
        return documents_of(self._context)

    def has_more(self) -> bool:
        """Wait until there may be something to claim: at once at first, then as others leave or are lost.

        False where the job has nothing left to do, or was stopped.
        """
        with contextlib.suppress(JobStoppedError):
            if not self.stopped and self._claimable():
                return True
            while not self.stopped and self._any_open():
                self._context.gate.wait(_LOOK_EVERY)
                if self._claimable():
                    return True
        return False

    def interrupt(self) -> None:
        """Start no new call: the run breaks off. A process that was asked to end does so within its grace."""
        self._context.gate.close("the run was interrupted")
        error = sys.exc_info()[1]
        while error is not None and not isinstance(error, TerminationSignal):
            error = error.__context__  # what closes a generator stands before what made it close
        if error:
            end_within_grace(partial(_give_up, self._context, error))

    def _look(self) -> None:
        if time.monotonic() - self._looked < _LOOK_EVERY:
            return
        with contextlib.suppress(JobStoppedError):
            status = patiently(self._read, self._context.gate.wait)
            if status != "running":
                self._context.gate.close(f"the job is {status}")
        self._looked = time.monotonic()

    def _read(self) -> str:
        with transaction() as connection:
            if (began := time.monotonic()) >= self._count_at:
                self._counts = jobs.counts(connection, self._context.job_id)
                self._count_at = time.monotonic() + _REST * (time.monotonic() - began)
            return jobs.status(connection, self._context.job_id)

    def _any_open(self) -> bool:
        def read() -> bool:
            with transaction() as connection:
                return cells.any_open(connection, self._context.job_id)

        return patiently(read, self._context.gate.wait)

    def _claimable(self) -> bool:
        def read() -> bool:
            with transaction() as connection:
                workers.reap(connection, self._context.job_id)
                return workers.claimable(connection, self._context.job_id)

        return patiently(read, self._context.gate.wait)


@contextlib.contextmanager
def running(job: Job, slots: int) -> Iterator[Run]:
    """Work on a job in this process, with so many calls in flight at once. Others may do the same.

    The job ends `completed` or `completed_with_errors`, or stays `paused` where the provider refused or its last
    process was asked to end; then the next run goes on with it. A mistake of ours leaves it `failed`.

    Raises:
        JobPausedError: somebody paused it.
        Pause: somebody paused its flow run in Prefect.
        BudgetReachedError: the next call could cost more than the job may.
        StayingError: the provider refuses every call; the message says what to do. A job that has nothing answered,
            and has bought nothing, is withdrawn, as if it had not been asked for.
    """
    with observe.running(job) as left:
        try:
            with job_context.opened(job, slots) as context, following(job.id, context.gate) as follower:
                with transaction() as connection:
                    jobs.start(connection, job.id)
                yield Run(context, follower)
        except BaseException as error:  # signals too: raised again, but the job says that it stopped
            left(_at_last(partial(_left_early, job, error)))
            raise
        ended = _at_last(partial(_left, job.id))
        left(ended)
        if ended.status == "paused" and follower.stopped_by:
            raise Pause(state=follower.stopped_by)  # Prefect leaves the flow run as it is, and runs it again when asked
        if ended.status == "paused":
            raise _why(ended)


def _left(job_id: int) -> Job:
    """The job after all that there was to do is done."""
    with transaction() as connection:
        jobs.finish(connection, job_id)
        ended = jobs.get(connection, job_id)
        if ended.status == "paused" and not _by_hand(ended) and not calls.spending(connection, job_id).calls:
            jobs.withdraw(connection, job_id)
    return ended


def _left_early(job: Job, error: BaseException) -> Job:
    """The job after this process broke off. Others go on where there are others."""
    with transaction() as connection:
        if not workers.alive(connection, job.id):
            if isinstance(error, TerminationSignal) and job.deployed:
                jobs.log(connection, job.id, "left", "the process was asked to end")  # `reap-jobs` starts another
            elif isinstance(error, Exception) and not isinstance(error, WinnowError):
                jobs.fail(connection, job.id, f"a mistake of Winnow's: {type(error).__name__}")
            else:
                jobs.pause(connection, job.id, f"interrupted: {type(error).__name__}")
        return jobs.get(connection, job.id)


def _give_up(context: JobContext, error: BaseException) -> None:
    """Let others take over at once what is still held, though calls are in flight."""
    context.holdings.give_up()
    _left_early(context.job, error)


def _at_last(work: Callable[[], Job]) -> Job:
    """What is to be stored at the end: while the database is down it is waited for, but not for ever."""
    gate = Gate(0)
    gate.close("the run has ended")
    return patiently(work, gate.linger)


def _by_hand(job: Job) -> bool:
    return job.reason is not None and job.reason.endswith(BY_HAND)


def _why(job: Job) -> WinnowError:
    if _by_hand(job):
        return JobPausedError(f"Job {job.id} was {job.reason}. Go on with it by `winnow resume {job.id}`.")
    reason = job.reason or "The job was paused."
    return BudgetReachedError(reason) if reason.startswith("The budget") else StayingError(reason)
