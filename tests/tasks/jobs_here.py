"""Projects and jobs as the tests of this folder need them, run without Prefect: as the flow runs them, task by task."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sqlalchemy import text

from db import jobs
from db.session import transaction
from tasks.extract_cell import extract_cell
from tasks.job_context import JobContext, opened
from tasks.plan_job import plan_job
from tasks.run_job import running
from tasks.work_stages import documents_of
from tests import factories
from tests.factories import MODEL, options
from winnow.exceptions import WinnowError
from winnow.jobs import Job, WorkItem

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
    job = plan_job(name, options(**asked))
    with running(job, slots) as state, ThreadPoolExecutor(slots) as pool:
        for stages in documents_of(job):
            for stage in stages:
                if not state.stopped:
                    list(pool.map(lambda item: do(job, item), stage))
    return stored(job)


def do(job: Job, item: WorkItem) -> None:
    """One task run. Its errors are its own state, as in the Prefect UI."""
    with contextlib.suppress(WinnowError):
        extract_cell.fn(list(item.cells), item.document, item.variable, job.id, item.check)


@contextlib.contextmanager
def context(name: str = "Grants", slots: int = 4, **asked: Any) -> Iterator[JobContext]:
    """The context of a new job whose cells nobody asks."""
    with opened(plan_job(name, options(**asked)), slots) as made:
        yield made


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
