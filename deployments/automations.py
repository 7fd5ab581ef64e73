"""The automation that marks flow runs as Crashed whose process is gone: `python -m deployments.automations`.

A run that a machine takes with it would stay Running for ever, and keep its place in the deployment's limit. It changes
what Prefect shows, and no result: those are in Winnow's own database, and another run goes on with the job.
"""

from datetime import timedelta

from prefect.automations import Automation
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.settings import get_current_settings

NAME = "Winnow: mark runs without a heartbeat as Crashed"
TAG = "winnow"  # of all deployments in prefect.yaml, and so of their runs
MISSED_BEATS = 4  # one may be lost and one late, where the server is busy, and the run still lives
_HEARTBEAT = "prefect.flow-run.heartbeat"
_ENDS = ("Completed", "Failed", "Cancelled", "Crashed", "Suspended")  # after these no heartbeat is missed


def main() -> None:
    """Set the automation up on the server that Prefect's settings name."""
    heartbeat = get_current_settings().flows.heartbeat_frequency
    if heartbeat is None:
        print("PREFECT_FLOWS_HEARTBEAT_FREQUENCY is off: nothing can tell a run that lives from one that is gone.")
        return
    set_up(crash_zombies(timedelta(seconds=heartbeat)))


def crash_zombies(heartbeat: timedelta) -> Automation:
    """The automation that fits runs with that time between two heartbeats."""
    return Automation(
        name=NAME,
        description=f"A run whose last heartbeat is {MISSED_BEATS} × {heartbeat.seconds} s ago has lost its process.",
        trigger=EventTrigger(
            after={_HEARTBEAT},
            expect={_HEARTBEAT, *(f"prefect.flow-run.{state}" for state in _ENDS)},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            # Other flows of the server may beat more slowly.
            match_related=ResourceSpecification({"prefect.resource.id": [f"prefect.tag.{TAG}"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=MISSED_BEATS * heartbeat,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message="No heartbeat: the process of this run is gone. Run the deployment again to go on.",
            )
        ],
    )


def set_up(wanted: Automation) -> None:
    """Create the automation, or bring it up to date. Whether it is switched on is left as it was."""
    with get_client(sync_client=True) as client:
        known = client.read_automations_by_name(wanted.name)
    if not known:
        wanted.create()
        return
    first, *others = (Automation(**automation.model_dump()) for automation in known)
    for other in others:  # two set-ups ran at the same time
        other.delete()
    changed = wanted.model_copy(update={"id": first.id, "enabled": first.enabled})
    if _content(changed) != _content(first):
        changed.update()


def _content(automation: Automation) -> dict[str, object]:
    return automation.model_dump(include=set(AutomationCore.model_fields) - {"owner_resource"})


if __name__ == "__main__":
    main()
