"""The automation on a real Prefect server, and deployments made as the set-up of the compose file makes them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from prefect.automations import Automation
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import get_current_settings
from prefect.testing.utilities import prefect_test_harness

from deployments import automations
from flows import start_stack

ROOT = Path(__file__).parent.parent.parent
HEARTBEAT = timedelta(seconds=30)


@pytest.fixture(scope="module", autouse=True)
def _prefect() -> Iterator[None]:
    if get_current_settings().api.url:  # of other tests of this run
        yield
        return
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(autouse=True)
def _none_left() -> Iterator[None]:
    yield
    for automation in known():
        automation.delete()


def known() -> list[Automation]:
    with get_client(sync_client=True) as client:
        found = client.read_automations_by_name(automations.NAME)
    return [Automation(**automation.model_dump()) for automation in found]


def test_set_up_twice_there_is_one() -> None:
    automations.set_up(automations.crash_zombies(HEARTBEAT))
    (first,) = known()
    automations.set_up(automations.crash_zombies(HEARTBEAT))

    assert known() == [first]
    assert first.enabled
    assert first.trigger.within >= 3 * HEARTBEAT


def test_another_heartbeat_updates_it_and_leaves_it_switched_off() -> None:
    automations.set_up(automations.crash_zombies(HEARTBEAT))
    (first,) = known()
    first.disable()
    automations.set_up(automations.crash_zombies(2 * HEARTBEAT))

    (changed,) = known()
    assert changed.id == first.id
    assert changed.trigger.within == 2 * first.trigger.within
    assert not changed.enabled


def test_what_two_set_ups_made_at_the_same_time_becomes_one() -> None:
    for _ in range(2):
        automations.crash_zombies(HEARTBEAT).create()
    automations.set_up(automations.crash_zombies(HEARTBEAT))

    assert len(known()) == 1


def test_the_command_takes_the_heartbeat_from_the_settings() -> None:
    run("-m", "deployments.automations", PREFECT_FLOWS_HEARTBEAT_FREQUENCY="45")

    (made,) = known()
    assert made.trigger.within == automations.MISSED_BEATS * timedelta(seconds=45)


def test_deployments_note_the_folder_they_are_made_in_as_the_place_of_their_code() -> None:
    """So that an image, where every container has that folder, needs no storage for code."""
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=start_stack.POOL, type="process"))
        run("-m", "prefect", "--no-prompt", "deploy", "--name", "extract-variables")
        made = client.read_deployment_by_name("extract-variables/extract-variables")
    assert made.pull_steps == [{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}]
    assert automations.TAG in made.tags


def test_a_server_takes_the_pool_for_kubernetes() -> None:
    template = json.loads((ROOT / "deployments" / "kubernetes-pool.json").read_text())

    with get_client(sync_client=True) as client:
        made = client.create_work_pool(
            WorkPoolCreate(name="on-kubernetes", type="kubernetes", base_job_template=template)
        )
    assert made.base_job_template == template


def run(*arguments: str, **environment: str) -> None:
    api = get_current_settings().api.url
    assert api
    subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "PREFECT_API_URL": api, **environment},
        check=True,
        capture_output=True,
    )
