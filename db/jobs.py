"""Jobs, their events, and the lock that keeps two processes off one job."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from db import tables
from db.session import connect
from winnow.exceptions import BusyError, DefinitionError
from winnow.jobs import UNFINISHED, Counts, Job, JobOptions, JobStatus

_job, _event, _cell = (table.__table__ for table in (tables.Job, tables.JobEvent, tables.Cell))
_project = tables.Project.__table__


@contextlib.contextmanager
def held(job_id: int) -> Iterator[None]:
    """Hold a job for this process. The database lets go of it when the process ends, however it ends.

    Raises:
        BusyError: another process holds it.
    """
    with connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not connection.scalar(select(func.pg_try_advisory_lock(_lock_key(job_id)))):
            raise busy(job_id)
        try:
            yield
        finally:
            with contextlib.suppress(DBAPIError):  # a connection that was lost has let go already
                connection.execute(select(func.pg_advisory_unlock(_lock_key(job_id))))


def busy(job_id: int) -> BusyError:
    """What to say of a job that another process runs."""
    return BusyError(f"Job {job_id} is being run by another process; watch it with `winnow job {job_id}`.")


def _lock_key(job_id: int) -> Any:
    return func.hashtextextended("winnow job", job_id)


def lock_planning(connection: Connection, project_id: int) -> None:
    """Let one process at a time plan jobs of a project, until its transaction ends."""
    connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended("winnow plan", project_id))))


def create(connection: Connection, project_id: int, options: JobOptions, *, rules: str, flow_run_id: str | None) -> int:
    """A new running job without cells. Returns its id."""
    values = {
        "project_id": project_id, "kind": options.kind, "status": "running", "model": options.model,
        "options": asdict(options), "rules": rules,
        "flow_run_id": flow_run_id,
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
    """Cancel the project's other unfinished samples that no process holds: this one takes their place."""
    rows = connection.scalars(
        select(_job.c.id).where(
            _job.c.project_id == project_id,
            _job.c.status.in_(UNFINISHED),
            _job.c.id != job_id,
            _job.c.kind == "sample",
        )
    )
    for other in list(rows):
        if not is_held(connection, other):
            set_status(connection, other, "cancelled", f"superseded by job {job_id}")


def is_held(connection: Connection, job_id: int) -> bool:
    """Whether a process runs the job. Where none does, none can take it until the transaction ends."""
    for wait in (0.02, 0.1, 0.5, None):  # a transaction that ends lets go of its locks one after the other
        if connection.scalar(select(func.pg_try_advisory_xact_lock(_lock_key(job_id)))):
            return False
        if wait:
            time.sleep(wait)
    return True


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


def reopen(connection: Connection, job_id: int) -> None:
    """Make a job unfinished again, to be run on."""
    values = {"status": "paused", "reason": "reopened", "finished_at": None}
    connection.execute(update(_job).where(_job.c.id == job_id, _job.c.status != "running").values(values))
    log(connection, job_id, "reopened")


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


def of_flow_run(connection: Connection, flow_run_id: str) -> list[int]:
    """The unfinished jobs that a flow run drives."""
    chosen = select(_job.c.id).where(_job.c.flow_run_id == flow_run_id, _job.c.status.in_(UNFINISHED))
    return list(connection.scalars(chosen))


def _with_project() -> Any:
    return select(_job, _project.c.name.label("project")).join(_project, _project.c.id == _job.c.project_id)


def _from_row(connection: Connection, row: Any) -> Job:
    return Job(
        id=row.id, project=row.project, status=row.status, options=_options(row.options), reason=row.reason,
        counts=counts(connection, row.id), created_at=row.created_at, finished_at=row.finished_at,
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


def resume(connection: Connection, job_id: int, options: JobOptions, *, rules: str, flow_run_id: str | None) -> None:
    """Let an unfinished job run on, under another flow run, the rules of today's codebook and another budget.

    Raises:
        BusyError: another process holds it.
        DefinitionError: it ended just now.
    """
    if is_held(connection, job_id):
        raise busy(job_id)
    values = {
        "status": "running", "reason": None, "rules": rules, "flow_run_id": flow_run_id, "options": asdict(options),
    }  # fmt: skip
    unfinished = (_job.c.id == job_id, _job.c.status.in_(UNFINISHED))
    if not connection.execute(update(_job).where(*unfinished).values(values)).rowcount:
        raise DefinitionError(f"Job {job_id} has ended; run again for a new one.")
    log(connection, job_id, "resumed")


def set_status(connection: Connection, job_id: int, new: JobStatus, reason: str | None = None) -> bool:
    """Change a job's status; False where it has ended already."""
    finished = None if new in UNFINISHED else func.now()
    changed = connection.execute(
        update(_job)
        .where(_job.c.id == job_id, _job.c.status.in_(UNFINISHED), _job.c.status != new)
        .values(status=new, reason=reason, finished_at=finished)
    )
    if changed.rowcount:
        log(connection, job_id, new, reason)
    return changed.rowcount > 0


def finish(connection: Connection, job_id: int) -> None:
    """End a running job that has nothing left to do. One with failed cells ends `completed_with_errors`."""
    now = counts(connection, job_id)
    unchecked = connection.scalar(select(_cell.c.id).where(_cell.c.job_id == job_id, ~_cell.c.checked).limit(1))
    if not now.pending and unchecked is None and status(connection, job_id) == "running":
        set_status(connection, job_id, "completed_with_errors" if now.failed or now.skipped else "completed")


def withdraw(connection: Connection, job_id: int) -> bool:
    """Delete a job for which nothing was answered, as if it had not been asked for; False where something was."""
    if counts(connection, job_id).done:
        return False
    connection.execute(_job.delete().where(_job.c.id == job_id))
    return True


def log(connection: Connection, job_id: int, event: str, detail: str | None = None) -> None:
    """Note what happened to a job, and who did it: the database's session name tells the process apart."""
    who = text("session_user || '@' || coalesce(inet_client_addr()::text, 'local') || ' ' || pg_backend_pid()")
    row = select(text(":job"), text(":event"), who, text(":detail"))
    connection.execute(
        insert(_event).from_select(["job_id", "event", "who", "detail"], row),
        {"job": job_id, "event": event, "detail": detail},
    )
