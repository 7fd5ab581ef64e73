"""Projects and jobs as the tests of this folder need them, run without Prefect: as the flow runs them, task by task."""

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, make_url, text

from db import jobs
from db.session import transaction
from tasks.extract_cell import extract_cell
from tasks.job_context import JobContext, opened
from tasks.plan_job import plan_job
from tasks.run_job import running
from tests import factories
from tests.factories import MODEL, options
from winnow.exceptions import PassingError, WinnowError
from winnow.jobs import Job, WorkItem

if TYPE_CHECKING:  # processes that tests start keep their environment
    from tests.conftest import Server

PROTESTS: dict[str, Any] = {
    "unit_of_observation": {
        "entity": "protest",
        "definition": "One public gathering at one place on one day.",
        "identified_by": ["place", "date"],
    }
}
"""What makes the rows of a project protests."""

PROTEST_VARIABLES = ["place", factories.variable("date", type="date"), factories.variable("crowd", type="number")]
PROTEST_PATTERN = r"\b(?P<place>[A-Z][a-z]+) on (?P<date>\d{4}-\d\d-\d\d) drew (?P<crowd>\d+) people"
"""How the model server finds them, as its `entity_pattern`."""


def project(*variables: Any, texts: dict[str, str], name: str = "Grants", **more: Any) -> int:
    """A stored project with documents, given as text by name. Returns its id."""
    with transaction() as connection:
        made = factories.project(connection, *variables, name=name, **more)
        for document, content in texts.items():
            factories.document(connection, made.id, document, text=content)
    return made.id


def change(*variables: Any, name: str = "Grants", **more: Any) -> None:
    """Apply a codebook again."""
    with transaction() as connection:
        factories.project(connection, *variables, name=name, **more)


def run(name: str = "Grants", *, slots: int = 4, **asked: Any) -> Job:
    """Run a job to its end. Returns it as it stands then.

    Raises:
        WinnowError: as `tasks.run_job.running`.
    """
    return work(plan_job(name, options(**asked)), slots=slots)


def work(job: Job, *, slots: int = 4) -> Job:
    """Work on a job until it has nothing left to do. Returns it as it stands then."""
    with running(job, slots) as state, ThreadPoolExecutor(slots) as pool:
        while state.has_more():
            for stages in state.documents():
                for stage in stages:
                    if not state.stopped:
                        list(pool.map(lambda item: do(job, item), stage))
    return stored(job)


def do(job: Job, item: WorkItem) -> str | None:
    """One task run, tried again as Prefect does it, but at once. Its errors are its own state, as in the Prefect UI."""
    while True:
        try:
            return extract_cell.fn(list(item.cells), item.document, item.variable, job.id, item.check)
        except PassingError as error:
            if error.last:
                return None
        except WinnowError:
            return None


@contextlib.contextmanager
def context(name: str = "Grants", slots: int = 4, **asked: Any) -> Iterator[JobContext]:
    """The context of a new job whose cells nobody asks."""
    job = plan_job(name, options(**asked))
    with transaction() as connection:
        jobs.start(connection, job.id)
    with opened(job, slots) as made:
        yield made


@contextlib.contextmanager
def working(job: Job) -> Iterator[Connection]:
    """A transaction in which a job is worked on, by whom the factories make; afterwards nobody works on it."""
    with transaction() as connection:
        jobs.start(connection, job.id)
        yield connection
        connection.execute(text("DELETE FROM worker WHERE job_id = :job"), {"job": job.id})


def answer(job: Job, many: int | None = None) -> None:
    """End pending cells of a job as a run does."""
    with working(job) as connection:
        for cell in factories.pending(connection, job.id)[:many]:
            factories.answer(connection, cell.id)


def worker_of(context: JobContext) -> int:
    """The worker that this process is on a job."""
    return int(rows("SELECT max(id) FROM worker WHERE job_id = :job", job=context.job_id)[0][0])


def stored(job: Job) -> Job:
    """A job as it stands now."""
    with transaction() as connection:
        return jobs.get(connection, job.id)


def rows(query: str, **values: Any) -> list[Any]:
    """What the database says."""
    with transaction() as connection:
        return list(connection.execute(text(query), values))


def price(home: Path, *, input: float = 1.0, cached_input: float = 0.1, output: float = 4.0) -> None:
    """Give the tested model a price, in US dollars for a million tokens."""
    entry = f"{{input: {input}, cached_input: {cached_input}, output: {output}}}"
    (home / "prices.yaml").write_text(f'"{MODEL}": {entry}\n')


def wait_until(happened: Callable[[], bool], seconds: float = 20.0) -> None:
    """Fail where something has not happened by then."""
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.01)


def break_connections(server: "Server", url: str) -> None:
    """End every connection to a database."""
    server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{make_url(url).database}'")


@contextlib.contextmanager
def database_away(server: "Server", url: str) -> Iterator[None]:
    """There are no connections to a database, and none can be made, while the block runs."""
    name = make_url(url).database
    server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    try:
        break_connections(server, url)
        yield
    finally:
        server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
