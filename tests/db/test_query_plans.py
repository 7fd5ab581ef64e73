"""The queries that every job needs read what they need through indexes, however large the tables are."""

import pytest
from sqlalchemy import event, text

from db import cells, extractions, jobs, projects
from db.cells import PlannedCell
from tests import factories
from tests.factories import MODEL, options

VARIABLES = tuple(f"variable_{number}" for number in range(8))
DOCUMENTS = 1250

ANSWER_ALL = """
    INSERT INTO extraction (question_key, document_id, prompt_id, call_ids, model, status, values, confidence, signals,
        flags, unread)
    SELECT question_key, document_id, prompt_id, '{}', :model, 'not_stated', '[]', 1, '{}', '{}', '[]'
    FROM cell WHERE job_id = :job
"""


@pytest.fixture
def large(connection):
    """A project of 1,250 documents and 8 variables, its answered job, and another of which a tenth is open."""
    project = factories.project(connection, *VARIABLES)
    connection.execute(
        text("""
            INSERT INTO document (project_id, sha256, name, size_bytes, status, text, text_hash)
            SELECT :project, n::text, n || '.pdf', 1, 'parsed', 'text ' || n, n::text
            FROM generate_series(1, :documents) AS n
        """),
        {"project": project.id, "documents": DOCUMENTS},
    )
    prompts = projects.prompts(connection, project.id)
    planned = [
        PlannedCell(document_id=stored.id, prompt_id=prompt.id, question_key=f"{prompt.id} {stored.id}")
        for stored in factories.documents.of_project(connection, project.id)
        for prompt in prompts
    ]
    both = [jobs.create(connection, project.id, options(), rules="r", flow_run_id=None) for _ in range(2)]
    for job in both:
        cells.plan(connection, job, planned)
    connection.execute(text(ANSWER_ALL), {"job": both[0], "model": MODEL})
    cells.settle_answered(connection, both[0])
    for stored in factories.documents.of_project(connection, project.id)[: DOCUMENTS * 9 // 10]:
        cells.settle_answered(connection, both[1], stored.id)
    connection.execute(text("ANALYZE"))
    return project, both[1]


def plan_of(connection, call, *given, **more):
    """The nodes of the plans by which the database runs what a function asks, as (node type, table, index)."""
    asked = []

    def note(_connection, _cursor, statement, parameters, _context, _many):
        asked.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", note)
    with connection.begin_nested() as undone:
        call(connection, *given, **more)
        undone.rollback()
    event.remove(connection, "before_cursor_execute", note)
    nodes = []
    for statement, parameters in asked:
        if statement.lstrip().startswith(("SELECT", "UPDATE")):
            explained = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar_one()
            nodes += _nodes(explained[0]["Plan"])
    assert nodes
    return nodes


def _nodes(node):
    yield node["Node Type"], node.get("Relation Name"), node.get("Index Name")
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def test_large_tables_are_read_through_their_indexes(connection, large):
    project, job = large
    assert connection.scalar(text("SELECT count(*) FROM cell")) == 20_000

    page = plan_of(connection, cells.open_documents, job, after=0, limit=20)
    assert {index for _, _, index in page} >= {"ix_cell_open"}
    assert ("Seq Scan", "cell", None) not in page

    document = cells.open_documents(connection, job, after=0, limit=1)[0][0].document_id
    settled = plan_of(connection, cells.settle_answered, job, document)
    assert {("Seq Scan", "cell", None), ("Seq Scan", "extraction", None)}.isdisjoint(settled)

    whole = plan_of(connection, extractions.dataset, project.id)
    assert {("Seq Scan", "cell", None), ("Seq Scan", "extraction", None)}.isdisjoint(whole)
