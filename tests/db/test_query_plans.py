"""The queries that every job needs read what they need through indexes, however large the tables are."""

import pytest
from sqlalchemy import event, text

from db import calls, cells, documents, entities, extractions, jobs, projects, workers
from db.cells import PlannedCell
from db.session import transaction
from tests import factories
from tests.conftest import winnow_at
from tests.factories import MODEL

VARIABLES = tuple(f"variable_{number}" for number in range(8))
DOCUMENTS = 500
PROJECTS = 8

MAKE_DOCUMENTS = """
    INSERT INTO document (project_id, sha256, name, size_bytes, status, text, text_hash)
    SELECT :project, n::text, n || '.pdf', 1, 'parsed', 'text ' || n, n::text FROM generate_series(1, :documents) AS n
"""
ANSWER_ALL = """
    WITH bought AS (
        INSERT INTO call (call_key, request_key, job_id, document_id, prompt_ids, model, parameters, status, reply)
        SELECT id::text, id::text, job_id, document_id, ARRAY[prompt_id], :model, '{}', 'answered', '{}'
        FROM cell WHERE job_id = :job
    )
    INSERT INTO extraction (question_key, document_id, prompt_id, call_ids, model, status, values, confidence, signals,
        flags, unread)
    SELECT question_key, document_id, prompt_id, '{}', :model, 'not_stated', '[]', 1, '{}', '{}', '[]'
    FROM cell WHERE job_id = :job
"""

OPEN_A_TENTH = """
    UPDATE cell SET status = 'pending', extraction_id = NULL
    WHERE job_id = :job AND document_id % 10 = 0
"""


@pytest.fixture(scope="module")
def large(server, tmp_path_factory):
    """Several projects of 500 documents and 8 variables, each with an answered job.

    The last has another job, of which a tenth is open. Its value is that project with the job.
    """
    with server.database(server.template) as url, winnow_at(url, tmp_path_factory.mktemp("home")):
        with transaction() as connection:
            for number in range(PROJECTS):
                project = factories.project(connection, *VARIABLES, name=f"Grants {number}")
                connection.execute(text(MAKE_DOCUMENTS), {"project": project.id, "documents": DOCUMENTS})
                job = planned_job(connection, project)
                connection.execute(text(ANSWER_ALL), {"job": job, "model": MODEL})
                cells.settle_answered(connection, job)
                jobs.finish(connection, job)
            job = planned_job(connection, project)
            cells.settle_answered(connection, job)
            connection.execute(text(OPEN_A_TENTH), {"job": job})
            connection.execute(text("ANALYZE"))
        yield project, job


@pytest.fixture
def connection(large):
    with transaction() as opened:
        yield opened


def planned_job(connection, project):
    job = factories.empty_job(connection, project)
    cells.plan(connection, job, plan(connection, project))
    return job


def plan(connection, project):
    return [
        PlannedCell(document_id=stored.id, prompt_id=prompt.id, question_key=f"{prompt.id} {stored.id}")
        for stored in documents.of_project(connection, project.id)
        for prompt in projects.prompts(connection, project.id)
    ]


def plan_of(connection, call, *given, **more):
    """The nodes of the plans by which the database runs what a function asks, as (node type, table, index)."""
    nodes = []

    def explain(connected, _cursor, statement, parameters, _context, _many):
        if statement.lstrip().startswith(("SELECT", "UPDATE", "DELETE", "INSERT", "WITH")):
            raw = connected.connection.dbapi_connection
            (explained,) = raw.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters).fetchone()
            nodes.extend(_nodes(explained[0]["Plan"]))

    event.listen(connection, "before_cursor_execute", explain)
    with connection.begin_nested() as undone:
        list(call(connection, *given, **more) or ())
        undone.rollback()
    event.remove(connection, "before_cursor_execute", explain)
    assert nodes
    return nodes


def _nodes(node):
    yield node["Node Type"], node.get("Relation Name"), node.get("Index Name")
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def read_whole(nodes):
    """The tables that a plan reads from end to end, of those that grow with cells."""
    return {table for kind, table, _ in nodes if kind == "Seq Scan" and table in ("cell", "call", "extraction")}


def test_what_a_job_asks_for_is_read_through_indexes(connection, large):
    _, job = large
    assert connection.scalar(text("SELECT count(*) FROM cell")) == 36_000
    document = connection.scalar(text("SELECT min(document_id) FROM cell WHERE status = 'pending'"))

    worker = factories.worker(connection, job)
    page = plan_of(connection, workers.claim, job, worker, after=0, limit=4)
    assert {index for _, _, index in page} >= {"ix_cell_open"}
    counted = plan_of(connection, lambda *given: vars(jobs.counts(*given)), job)
    assert {index for _, _, index in counted} >= {"ix_cell_job_id_status"}

    asked = {
        "a claim": page,
        "the counts": counted,
        "what failed": plan_of(connection, cells.failures, job),
        "a job": plan_of(connection, lambda *given: vars(jobs.get(*given)), job),
        "the jobs": plan_of(connection, jobs.newest),
        "its end": plan_of(connection, jobs.finish, job),
        "its documents": plan_of(connection, cells.documents, job),
        "its spending": plan_of(connection, lambda *given: vars(calls.spending(*given)), job),
        "the open cells of documents": plan_of(connection, cells.open_of, job, [document]),
        "whether there are some": plan_of(connection, lambda *given: [cells.any_open(*given)], job),
        "whether some are free": plan_of(connection, lambda *given: [workers.claimable(*given)], job),
        "the end of a document": plan_of(
            connection, lambda *given: vars(workers.release(*given)), job, worker, document
        ),
        "a row": plan_of(connection, cells.row, job, document, None),
        "its documents' entities": plan_of(connection, entities.listed, job),
        "its figures by document": plan_of(connection, calls.spending_by, job, "document"),
        "its figures by variable": plan_of(connection, calls.spending_by, job, "variable"),
    }
    assert {name: read for name, nodes in asked.items() if (read := read_whole(nodes))} == {}

    settled = plan_of(connection, lambda *given: [cells.settle_answered(*given)], job, document)
    assert read_whole(settled) == set()


def test_the_reaper_reads_no_cells(connection, large):
    def reap(connected):
        workers.reap(connected)
        return jobs.orphaned(connected)

    assert read_whole(plan_of(connection, reap)) == set()


def test_a_plan_touches_the_cells_of_its_own_job_alone(connection, large):
    project, job = large
    planned = plan_of(connection, cells.plan, job, plan(connection, project))
    assert "cell" not in read_whole(planned)
    settled = plan_of(connection, lambda *given: [cells.settle_answered(*given)], job)
    assert read_whole(settled) == set()


def test_a_project_is_exported_without_reading_the_others(connection, large):
    project, job = large
    for of in (None, job):
        assert read_whole(plan_of(connection, extractions.dataset, project.id, of)) == set()
        assert read_whole(plan_of(connection, extractions.document_accounts, project.id, of)) == set()
