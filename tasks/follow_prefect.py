"""What a person does with a job's flow run in the Prefect UI reaches the job: its state is looked up twice a second.

Cancel and Pause there are states of the flow run, which Prefect's engine does not look at while a flow runs.
"""

import contextlib
import logging
import threading
from collections.abc import Iterator
from uuid import UUID

from prefect import get_client, runtime
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.states import Suspended

from db import jobs
from db.session import transaction
from tasks.gates import Gate
from tasks.showing import AWAY
from winnow.exceptions import DatabaseDownError
from winnow.jobs import BY_HAND, Job, JobStatus

logger = logging.getLogger(__name__)

_EVERY = 0.5  # seconds
_PATIENCE = 5.0  # seconds for a last look: where Prefect's server is away, the client tries for minutes
_MEANS: dict[StateType, JobStatus] = {
    StateType.PAUSED: "paused",
    StateType.CANCELLING: "cancelled",
    StateType.CANCELLED: "cancelled",
}


class Follower:
    """The flow run that a job runs in."""

    def __init__(self) -> None:
        self.stopped_by: State | None = None  # the state that somebody put it into

    @property
    def cancelled(self) -> bool:
        """Whether somebody cancelled it."""
        return self.stopped_by is not None and _MEANS[self.stopped_by.type] == "cancelled"

    def follow(self, job_id: int, flow_run_id: UUID, gate: Gate, ended: threading.Event) -> None:
        """Look at the flow run until the job has ended, or somebody stops it."""
        with get_client(sync_client=True) as client:
            while not ended.wait(_EVERY):
                try:
                    state = client.read_flow_run(flow_run_id).state
                    if state and state.type in _MEANS:
                        self._stop(job_id, flow_run_id, state, gate)
                        if state.state_details.pause_timeout:
                            self.stopped_by = _until_resumed(job_id)
                            client.set_flow_run_state(flow_run_id, self.stopped_by, force=True)
                        return
                except (*AWAY, DatabaseDownError):
                    logger.debug("The flow run could not be looked at; the job goes on")

    def _stop(self, job_id: int, flow_run_id: UUID, state: State, gate: Gate) -> None:
        status = _MEANS[state.type]
        with transaction() as connection:
            stop = jobs.pause if status == "paused" else jobs.cancel
            stop(connection, job_id, f"{status} in Prefect {BY_HAND}")
            if status == "paused":
                jobs.paused_by_flow_run(connection, job_id, str(flow_run_id))
        self.stopped_by = state
        gate.close(f"the job was {status}")


def _until_resumed(job_id: int) -> State:
    """A pause without an end. The UI gives its own one, and Prefect's server fails a flow run that it finds past it."""
    said = f"Job {job_id} was paused. Calls in flight are kept; Resume goes on with it, whenever that is."
    return Suspended(message=said)


def resumed(job: Job) -> bool:
    """Whether this flow run is that by which the job was paused: then it was resumed, and the job goes on with it."""
    with transaction() as connection:
        return job.status == "paused" and job.id in jobs.of_flow_run(connection, str(runtime.flow_run.get_id()))


def settle_cancelled() -> None:
    """Cancel the paused jobs whose flow run was cancelled since: a suspended run has no process that would see it."""
    with transaction() as connection:
        paused = jobs.paused_flow_runs(connection)
    if not paused:
        return
    chosen = FlowRunFilter(
        id=FlowRunFilterId(any_=[UUID(flow_run_id) for flow_run_id in paused]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CANCELLED])),
    )
    with contextlib.suppress(*AWAY), get_client(sync_client=True) as client:
        for flow_run in client.read_flow_runs(flow_run_filter=chosen):
            with transaction() as connection:
                jobs.cancel(connection, paused[str(flow_run.id)], f"cancelled in Prefect {BY_HAND}")


@contextlib.contextmanager
def following(job_id: int, gate: Gate) -> Iterator[Follower]:
    """Follow the flow run of this process while the block runs; without one, nothing is followed."""
    follower, ended = Follower(), threading.Event()
    flow_run_id = runtime.flow_run.get_id()
    if not flow_run_id:
        yield follower
        return
    thread = threading.Thread(
        target=follower.follow, args=(job_id, UUID(flow_run_id), gate, ended), name="winnow-follow", daemon=True
    )
    thread.start()
    try:
        yield follower
    finally:
        ended.set()
        thread.join(_PATIENCE)
