"""Jobs: their states, each changed by one function, and their events, which say who changed it and why."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, func, insert, select, text, update

from db import tables, workers
from winnow.exceptions import BusyError, DefinitionError
from winnow.jobs import ENDED, UNFINISHED, Counts, Job, JobOptions, JobStatus

_job, _event, _cell = (table.__table__ for table in (tables.Job, tables.JobEvent, tables.Cell))
_project = tables.Project.__table__


def busy(job_id: int) -> BusyError:
    """What to say of a job that another process runs."""
    return BusyError(f"Job {job_id} is being run by another process; watch it with `winnow job {job_id}`.")


def lock_planning(connection: Connection, project_id: int) -> None:
    """Let one process at a time plan jobs of a project, until its transaction ends."""
    connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended("winnow plan", project_id))))


def create(
    connection: Connection,
    project_id: int,
    options: JobOptions,
    *,
    rules: str,
    flow_run_id: str | None = None,
    deployed: bool = False,
) -> int:
    """A new pending job without cells. Returns its id."""
    values = {
        "project_id": project_id, "kind": options.kind, "status": "pending", "model": options.model,
        "options": asdict(options), "rules": rules, "flow_run_id": flow_run_id, "deployed": deployed,
    }  # fmt: skip
    job_id = int(connection.execute(insert(_job).values(values).returning(_job.c.id)).scalar_one())
    log(connection, job_id, "created")
    return job_id


def unfinished(connection: Connection, project_id: int, options: JobOptions) -> Job | None:
    """The newest unfinished job that was asked to do the same, at whatever cost. A seed not given fits any seed."""
    rows = connection.execute(
        _with_project()
        .where(_job.c.project_id == project_id, _job.c.status.in_(UNFINISHED), _job.c.kind == options.kind)
        .order_by(_job.c.id.desc())
    )
    wanted = asdict(options.task)
    for row in rows:
        stored = asdict(_options(row.options).task)
        if wanted["seed"] is None:
            stored["seed"] = None
        if stored == wanted:
            return _from_row(connection, row)
    return None


def abandon_others(connection: Connection, project_id: int, job_id: int) -> None:
    """Cancel the project's other unfinished samples that no process works on: this one takes their place."""
    rows = connection.scalars(
        select(_job.c.id).where(
            _job.c.project_id == project_id,
            _job.c.status.in_(UNFINISHED),
            _job.c.id != job_id,
            _job.c.kind == "sample",
        )
    )
    for other in list(rows):
        if not workers.alive(connection, other):
            cancel(connection, other, f"superseded by job {job_id}")


def refuse_second(connection: Connection, project_id: int, job_id: int | None = None) -> None:
    """A project has one full job at a time.

    Args:
        job_id: the one that may be.

    Raises:
        BusyError: there is another that is unfinished.
    """
    unfinished = (_job.c.project_id == project_id, _job.c.status.in_(UNFINISHED), _job.c.kind == "full")
    rows = connection.execute(select(_job.c.id, _job.c.status).where(*unfinished).order_by(_job.c.id))
    other = next((row for row in rows if row.id != job_id), None)
    if other:
        raise BusyError(
            f"Job {other.id} of this project is not finished: it is {other.status}. Go on with it by "
            f"`winnow resume {other.id}`, or end it by `winnow cancel {other.id}`, and run again."
        )


def get(connection: Connection, job_id: int) -> Job:
    """A job with its counts.

    Raises:
        DefinitionError: there is no such job.
    """
    there_may_be = job_id < 2**63  # as many as the column holds
    row = connection.execute(_with_project().where(_job.c.id == job_id)).one_or_none() if there_may_be else None
    if row is None:
        raise DefinitionError(f"There is no job {job_id}. List the jobs with `winnow jobs`.")
    return _from_row(connection, row)


def newest(connection: Connection, limit: int = 20) -> list[Job]:
    """The newest jobs first."""
    rows = connection.execute(_with_project().order_by(_job.c.id.desc()).limit(limit)).all()
    return [_from_row(connection, row) for row in rows]


def newest_id(connection: Connection, project_id: int) -> int | None:
    """The id of a project's newest job."""
    found: int | None = connection.scalar(select(func.max(_job.c.id)).where(_job.c.project_id == project_id))
    return found


def running_id(connection: Connection, project_id: int) -> int | None:
    """The id of a project's newest running job."""
    chosen = select(func.max(_job.c.id)).where(_job.c.project_id == project_id, _job.c.status == "running")
    found: int | None = connection.scalar(chosen)
    return found


def options(connection: Connection, job_id: int) -> JobOptions:
    """What a job was asked to do."""
    return _options(connection.execute(select(_job.c.options).where(_job.c.id == job_id)).scalar_one())


def rules(connection: Connection, job_id: int) -> str:
    """The constant part of a job's prompts."""
    return str(connection.execute(select(_job.c.rules).where(_job.c.id == job_id)).scalar_one())


def project_id(connection: Connection, job_id: int) -> int:
    """The project that a job belongs to."""
    return int(connection.execute(select(_job.c.project_id).where(_job.c.id == job_id)).scalar_one())


def paused_by_flow_run(connection: Connection, job_id: int, flow_run_id: str) -> None:
    """Note by which of its flow runs a job was paused: the one by which it is resumed or cancelled in Prefect."""
    connection.execute(update(_job).where(_job.c.id == job_id).values(flow_run_id=flow_run_id))


def of_flow_run(connection: Connection, flow_run_id: str) -> list[int]:
    """The unfinished jobs that a flow run drives."""
    chosen = select(_job.c.id).where(_job.c.flow_run_id == flow_run_id, _job.c.status.in_(UNFINISHED))
    return list(connection.scalars(chosen))


_ORPHANED = text("""
    SELECT job.id FROM job WHERE status IN ('pending', 'running')
        AND NOT EXISTS (SELECT FROM worker WHERE worker.job_id = job.id)
        AND NOT EXISTS (SELECT FROM job_event WHERE job_event.job_id = job.id
            AND at > clock_timestamp() - make_interval(secs => :lease))
    ORDER BY job.id
""")


def orphaned(connection: Connection) -> list[Job]:
    """Unfinished jobs that no worker works on, and to which nothing happened for the time of a lease."""
    ids = connection.scalars(_ORPHANED, {"lease": workers.LEASE_SECONDS}).all()
    return [get(connection, job_id) for job_id in ids]


def take_over(connection: Connection, job: Job) -> int:
    """Note that another run is to go on with a job. Returns how often that was so since a cell ended the last time."""
    so_far = f"{job.counts.done} cells done"
    log(connection, job.id, "taken over", so_far)
    taken = (_event.c.job_id == job.id, _event.c.event == "taken over", _event.c.detail == so_far)
    return int(connection.execute(select(func.count()).select_from(_event).where(*taken)).scalar_one())


def planned_by(connection: Connection, job_id: int) -> int:
    """The id of the event by which a job was last planned, or taken over: another after every resumption."""
    planned = (_event.c.job_id == job_id, _event.c.event.in_(("created", "resumed", "taken over")))
    return int(connection.execute(select(func.max(_event.c.id)).where(*planned)).scalar_one())


def paused_flow_runs(connection: Connection) -> dict[str, int]:
    """The paused jobs by the flow runs that drove them."""
    chosen = select(_job.c.flow_run_id, _job.c.id).where(_job.c.status == "paused", _job.c.flow_run_id.is_not(None))
    return {flow_run_id: job_id for flow_run_id, job_id in connection.execute(chosen)}  # noqa: C416 # rows, not pairs


def _with_project() -> Any:
    return select(_job, _project.c.name.label("project")).join(_project, _project.c.id == _job.c.project_id)


def _from_row(connection: Connection, row: Any) -> Job:
    return Job(
        id=row.id, project=row.project, status=row.status, options=_options(row.options), reason=row.reason,
        counts=counts(connection, row.id), deployed=row.deployed,
        created_at=row.created_at, finished_at=row.finished_at,
    )  # fmt: skip


def _options(stored: dict[str, Any]) -> JobOptions:
    return JobOptions(**(stored | {"variables": tuple(stored["variables"])}))


def counts(connection: Connection, job_id: int) -> Counts:
    """The job's cells by status."""
    rows = connection.execute(
        select(_cell.c.status, func.count()).where(_cell.c.job_id == job_id).group_by(_cell.c.status)
    )
    return Counts(**{status: number for status, number in rows})  # noqa: C416 # rows, not pairs, to the type checker


def status(connection: Connection, job_id: int) -> JobStatus:
    """The job's status alone."""
    found: JobStatus = connection.execute(select(_job.c.status).where(_job.c.id == job_id)).scalar_one()
    return found


def resume(
    connection: Connection,
    job_id: int,
    options: JobOptions,
    *,
    rules: str,
    flow_run_id: str | None = None,
    deployed: bool = False,
) -> None:
    """Let an unfinished job be run on, under another flow run, the rules of today's codebook and another budget.

    Raises:
        BusyError: another process works on it.
        DefinitionError: it ended just now.
    """
    if workers.alive(connection, job_id):
        raise busy(job_id)
    values: dict[str, Any] = {
        "rules": rules, "flow_run_id": flow_run_id, "deployed": deployed, "options": asdict(options),
        "failed_documents": 0,
    }  # fmt: skip
    if not _change(connection, job_id, "pending", UNFINISHED, event="resumed", **values):
        raise DefinitionError(f"Job {job_id} has ended; run again for a new one.")


def new_plan(connection: Connection, job_id: int, plan_key: str | None) -> bool:
    """Note what a job's cells are planned from, None where no key tells. False where that was noted already."""
    changed = update(_job).where(_job.c.id == job_id, _job.c.plan_key.is_distinct_from(plan_key))
    return bool(connection.execute(changed.values(plan_key=plan_key)).rowcount)


def reopen(connection: Connection, job_id: int) -> bool:
    """Make a job unfinished again, to be run on. False where it is unfinished already."""
    return _change(connection, job_id, "pending", ENDED, event="reopened", failed_documents=0)


def start(connection: Connection, job_id: int) -> bool:
    """A worker begins with a job that was planned. False where others have begun already, or it was stopped."""
    return _change(connection, job_id, "running", ("pending",))


def pause(connection: Connection, job_id: int, reason: str) -> bool:
    """Let a job start no new call until it is resumed. False where it is paused already, or has ended."""
    return _change(connection, job_id, "paused", ("pending", "running"), reason)


def cancel(connection: Connection, job_id: int, reason: str) -> bool:
    """End a job where it stands. False where it has ended already."""
    return _change(connection, job_id, "cancelled", UNFINISHED, reason)


def fail(connection: Connection, job_id: int, reason: str) -> bool:
    """End a job that cannot be run, by a mistake of ours. False where it has ended already."""
    return _change(connection, job_id, "failed", UNFINISHED, reason)


def finish(connection: Connection, job_id: int) -> bool:
    """End a running job that has nothing left to do. One with failed cells ends `completed_with_errors`."""
    now = counts(connection, job_id)
    unchecked = connection.scalar(select(_cell.c.id).where(_cell.c.job_id == job_id, ~_cell.c.checked).limit(1))
    if now.pending or unchecked is not None:
        return False
    ended: JobStatus = "completed_with_errors" if now.failed or now.skipped else "completed"
    return _change(connection, job_id, ended, ("running",))


def _change(
    connection: Connection,
    job_id: int,
    new: JobStatus,
    before: tuple[JobStatus, ...],
    reason: str | None = None,
    *,
    event: str | None = None,
    **more: Any,
) -> bool:
    finished = None if new in UNFINISHED else func.now()
    changed = connection.execute(
        update(_job)
        .where(_job.c.id == job_id, _job.c.status.in_(before))
        .values(status=new, reason=reason, finished_at=finished, **more)
    )
    if changed.rowcount:
        log(connection, job_id, event or new, reason)
    return changed.rowcount > 0


def withdraw(connection: Connection, job_id: int) -> bool:
    """Delete a job for which nothing was answered, as if it had not been asked for; False where something was."""
    if counts(connection, job_id).done:
        return False
    connection.execute(_job.delete().where(_job.c.id == job_id))
    return True


def log(connection: Connection, job_id: int, event: str, detail: str | None = None) -> None:
    """Note what happened to a job, and which process of whom did it: its connections bear that name."""
    who = text("current_setting('application_name')")
    row = select(text(":job"), text(":event"), who, text(":detail"))
    connection.execute(
        insert(_event).from_select(["job_id", "event", "who", "detail"], row),
        {"job": job_id, "event": event, "detail": detail},
    )
