"""What became of a job's flow run in the Prefect UI while no process drove it."""

import pytest
from prefect import get_client
from prefect.flows import Flow
from prefect.states import Cancelled, Suspended

from db import jobs
from db.session import transaction
from tasks.follow_prefect import settle_cancelled
from tasks.plan_job import plan_job
from tests.factories import options
from tests.flows.conftest import Make, dataset, run
from winnow.jobs import Job

pytestmark = pytest.mark.usefixtures("model_server")


def suspended(name: str) -> tuple[Job, str]:
    """A job that was paused in the UI, and its flow run."""
    with get_client(sync_client=True) as client:
        flow_run = client.create_flow_run(Flow(lambda: None, name="suspended"), state=Suspended())
    job = plan_job(name, options(), str(flow_run.id))
    with transaction() as connection:
        jobs.pause(connection, job.id, "paused in Prefect by a person")
    return job, str(flow_run.id)


def cancel(flow_run: str) -> None:
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run, Cancelled(), force=True)


def status(job: Job) -> tuple[str, str | None]:
    with transaction() as connection:
        now = jobs.get(connection, job.id)
    return now.status, now.reason


def test_a_suspended_run_that_is_cancelled_takes_its_job_with_it_and_others_stay(project: Make) -> None:
    (cancelled, flow_run), (paused, _) = suspended(project("title")), suspended(project("title", name="Other"))
    cancel(flow_run)
    settle_cancelled()
    assert status(cancelled) == ("cancelled", "cancelled in Prefect by a person")
    assert status(paused) == ("paused", "paused in Prefect by a person")


def test_a_run_with_other_options_is_not_refused_for_a_job_that_was_cancelled_while_suspended(
    project: Make,
) -> None:
    name = project("title", "price")
    _, flow_run = suspended(name)
    cancel(flow_run)
    assert run(name, variables=["price"])["status"] == "completed"
    assert len(dataset(name)) == 4
