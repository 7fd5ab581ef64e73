"""What a person does with a job's flow run in the Prefect UI reaches the job: its state is looked up every second.

Cancel and Pause there are states of the flow run, which Prefect's engine does not look at while a flow runs.
"""

import contextlib
import logging
import threading
from collections.abc import Iterator
from uuid import UUID

import httpx
from prefect import get_client, runtime
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import PrefectException
from sqlalchemy.exc import DBAPIError

from db import jobs
from db.session import transaction
from tasks.gates import Gate
from winnow.exceptions import DefinitionError
from winnow.jobs import BY_HAND, JobStatus

logger = logging.getLogger(__name__)

_EVERY = 1.0  # seconds
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
                        self._stop(job_id, state, gate)
                        return
                except (httpx.HTTPError, PrefectException, DBAPIError, DefinitionError):
                    logger.debug("The flow run could not be looked at; the job goes on")

    def _stop(self, job_id: int, state: State, gate: Gate) -> None:
        status = _MEANS[state.type]
        with transaction() as connection:
            jobs.set_status(connection, job_id, status, f"{status} in Prefect {BY_HAND}")
        self.stopped_by = state
        gate.close(f"the job was {status}")


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
        thread.join()
