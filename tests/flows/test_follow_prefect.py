"""What became of a job's flow run in the Prefect UI while no process drove it."""

import threading
from typing import Any
from uuid import UUID

import pytest
from prefect import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow
from prefect.flows import Flow
from prefect.states import Cancelled, Scheduled, Suspended

from db import jobs
from db.session import transaction
from tasks.follow_prefect import settle_cancelled
from tasks.plan_job import plan_job
from tests.factories import options
from tests.flows.conftest import MODEL, Make, dataset, run
from tests.openai_server import OpenAIServer
from tests.tasks.jobs_here import wait_until
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


def another_run(name: str, job: Job) -> FlowRun:
    """A run that is to join a job."""
    from flows.extract_variables import extract_variables

    given = {"project": name, "job": job.id, "concurrency": 2}
    with get_client(sync_client=True) as client:
        return client.create_flow_run(extract_variables, parameters=given)


def again(flow_run: FlowRun) -> Any:
    """What a worker does with a flow run, for the first time or after Resume."""
    from flows.extract_variables import extract_variables

    with get_client(sync_client=True) as client:
        now = client.read_flow_run(flow_run.id)
    return run_flow(extract_variables, flow_run=now, parameters=now.parameters)  # type: ignore[arg-type]


def test_a_job_goes_on_with_the_run_that_was_paused_though_another_had_planned_it(
    project: Make, model_server: OpenAIServer
) -> None:
    name = project("title", documents=8)
    with get_client(sync_client=True) as client:
        first = client.create_flow_run(Flow(lambda: None, name="first"))
        job = plan_job(name, options(model=MODEL), str(first.id))
        joins = another_run(name, job)
        model_server.configure(latency=0.5)

        def pause() -> None:
            wait_until(lambda: model_server.stats().requests > 0)
            client.set_flow_run_state(UUID(str(joins.id)), Suspended(), force=True)

        pausing = threading.Thread(target=pause)
        pausing.start()
        with pytest.raises(Pause):
            again(joins)
        pausing.join()
        assert status(job) == ("paused", "paused in Prefect by a person")

        with transaction() as connection:
            assert jobs.of_flow_run(connection, str(first.id)) == []
        other = another_run(name, job)  # one that begins late, and was not the one that is resumed
        assert again(other)["status"] == "paused"
        client.set_flow_run_state(UUID(str(joins.id)), Scheduled(name="Resuming"), force=True)
    assert again(joins)["status"] == "completed"
    assert again(another_run(name, job))["status"] == "completed"  # it finds nothing left to do
    assert (model_server.stats().requests, model_server.stats().duplicates) == (8, 0)
