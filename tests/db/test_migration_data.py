"""What stands in the tables when the schema changes: it comes up readable, and goes down as it was."""

import json

import pytest
import sqlalchemy as sa

from db import extractions, jobs, projects, upgrade
from db.session import transaction
from tests import factories
from winnow.documents import Box
from winnow.extractions import Evidence, Place, Signals

BOX = {"x0": 1.5, "y0": 2.0, "x1": 3.0, "y1": 4.0}


def value(text, evidence, problem=None):
    return {"value": text, "raw": f"{text}!", "evidence": evidence, "problem": problem}


def quote(mark, start=None, end=None, page=None, box=None):
    return {"quote": f"it is {mark}", "mark": mark, "start": start, "end": end, "page": page, "box": box}


# As the first tables held them: each value with one piece of evidence, with a place, without one, or none.
OLD = {
    "placed": [value("a", quote("exact", 4, 12, 2, BOX))],
    "no_box": [value("b", quote("approximate", 0, 3))],
    "absent": [value("c", quote("absent"), "is not in the document")],
    "unproved": [value(None, None)],
    "several": [value(1.5, quote("normalised", 7, 9, 1, BOX)), value(True, None)],
    "nothing": [],
}


def execute(statement, **values):
    with transaction() as connection:
        return connection.execute(sa.text(statement), values)


def insert(table, **values):
    """A row of the first tables. Returns its id."""
    columns = ", ".join(f'"{name}"' for name in values)
    parameters = ", ".join(f":{name}" for name in values)
    with transaction() as connection:
        statement = sa.text(f"INSERT INTO {table} ({columns}) VALUES ({parameters}) RETURNING id")
        return connection.scalar(statement, values)


@pytest.fixture
def project_id(empty_database):
    """The id of a project at revision 0001: one document, a finished job, and a variable for each old extraction."""
    upgrade.upgrade("0001")
    codebook = factories.codebook(*OLD)
    project = insert(
        "project", name="Grants", name_key="grants", version=1, codebook=codebook.model_dump_json(exclude_defaults=True)
    )
    document = insert(
        "document", project_id=project, sha256="s", name="a.pdf", size_bytes=9, status="parsed",
        text="some text", text_hash="h",
    )  # fmt: skip
    execute(
        """INSERT INTO block (document_id, position, kind, start, "end") VALUES (:id, 0, 'paragraph', 0, 9)""",
        id=document,
    )
    job = insert(
        "job", project_id=project, kind="full", status="completed", model="openai:old", rules="the rules",
        options=json.dumps({"kind": "full", "model": "openai:old", "variables": [], "sample": None, "seed": None}),
    )  # fmt: skip
    for position, (name, values) in enumerate(OLD.items()):
        variable = insert("variable", project_id=project, name=name, name_key=name, position=position)
        prompt = insert(
            "prompt", variable_id=variable, version=1, text="asked",
            definition=codebook.variables[position].model_dump_json(exclude_defaults=True),
        )  # fmt: skip
        call = insert(
            "call", call_key=f"call {name}", request_key=f"request {name}", model="openai:old", parameters="{}",
            status="answered", reply='{"raw": {}, "text": "", "refusal": false}', prompt_tokens=100,
        )  # fmt: skip
        extraction = insert(
            "extraction", document_id=document, prompt_id=prompt, call_id=call, confidence=0.75, flags=[],
            status="found" if values else "not_stated", values=json.dumps(values),
        )  # fmt: skip
        insert(
            "cell", job_id=job, document_id=document, prompt_id=prompt, call_key=f"call {name}",
            request_key=f"call {name}", status="extracted", extraction_id=extraction,
        )  # fmt: skip
    return project


def dataset(project):
    with transaction() as connection:
        return {cell.variable: cell for cell in extractions.dataset(connection, project)}


def found(cell):
    return [(value.value, value.raw, value.evidence, value.problem) for value in cell.extraction.values]


def as_stored():
    """All of the tables that the first revision knows, as JSON."""
    tables = ("project", "document", "block", "job", "variable", "prompt", "call", "extraction", "cell")
    with transaction() as connection:
        return {
            table: connection.scalars(sa.text(f"SELECT to_jsonb({table}) FROM {table} ORDER BY 1")).all()
            for table in tables
        }


def test_old_evidence_comes_up_with_its_quote_place_and_mark(project_id):
    upgrade.upgrade()
    cells = dataset(project_id)
    assert list(cells) == list(OLD)
    placed = Place(start=4, end=12, page=2, boxes=(Box(**BOX),))
    assert found(cells["placed"]) == [
        ("a", "a!", (Evidence(quote="it is exact", mark="exact", places=(placed,)),), None)
    ]
    no_box = Evidence(quote="it is approximate", mark="approximate", places=(Place(start=0, end=3),))
    assert found(cells["no_box"]) == [("b", "b!", (no_box,), None)]
    absent = Evidence(quote="it is absent", mark="absent", score=0)
    assert found(cells["absent"]) == [("c", "c!", (absent,), "is not in the document")]
    assert found(cells["unproved"]) == [(None, "None!", (), None)]
    assert [value for value, *_ in found(cells["several"])] == [1.5, True]
    assert found(cells["nothing"]) == []


def test_what_else_is_known_of_an_old_extraction_comes_up(project_id):
    upgrade.upgrade()
    cell = dataset(project_id)["placed"]
    assert (cell.status, cell.model, cell.prompt_version) == ("found", "openai:old", 1)
    assert (cell.extraction.confidence, cell.extraction.signals) == (0.75, Signals(said=0.75))
    with transaction() as connection:
        assert jobs.get(connection, cell.job).counts.extracted == len(OLD)
        assert projects.get(connection, "Grants").codebook == factories.codebook(*OLD)
        assert len(projects.prompts(connection, project_id)) == len(OLD)
        assert factories.calls.spending(connection, cell.job).prompt_tokens == 100 * len(OLD)
        (stored,) = factories.documents.of_project(connection, project_id)
        assert stored.tokens > 0
        assert [block.words for block in factories.documents.content(connection, stored.id).blocks] == [()]


def test_going_down_again_finds_the_old_rows_and_up_again_the_new_ones(project_id):
    old = as_stored()
    upgrade.upgrade()
    new = dataset(project_id)
    upgrade.downgrade("0001")
    assert as_stored() == old
    upgrade.upgrade()
    assert dataset(project_id) == new


def test_what_the_new_tables_alone_can_hold_goes_and_the_rest_stays(database):
    """Entities, extractions without a call, and all but the newest of those that rest on one call."""
    with transaction() as connection:
        protests = factories.project(connection, "place", unit_of_observation=factories.UNIT)
        factories.document(connection, protests.id)
        listing = factories.listing_job(connection, protests)
        cell = factories.pending(connection, listing)[0].id
        factories.list_entities(connection, protests, cell, "Rome")
        factories.answer(connection, factories.pending(connection, listing)[0].id)
        grants = factories.project(connection, "title", "donor", name="Grants")
        factories.document(connection, grants.id)
        job = factories.job(connection, grants)
        title, donor = (factories.stored_cell(connection, cell.id) for cell in factories.pending(connection, job))
        call = factories.answer(connection, title.id)
        later = factories.job(connection, grants)
        again = factories.stored_cell(connection, factories.pending(connection, later)[0].id)
        for work, calls in ((again, [call]), (donor, [])):
            extractions.save(
                connection, factories.extraction("read again"), cell_id=work.id, question_key="another",
                document_id=work.document_id, prompt_id=work.prompt_id, entity_id=None, model="m", call_ids=calls,
            )  # fmt: skip
    upgrade.downgrade("0001")
    with transaction() as connection:
        found = connection.execute(
            sa.text("""
                SELECT job_id, cell.status, values FROM cell LEFT JOIN extraction ON extraction.id = extraction_id
                ORDER BY cell.id
            """)
        )
        rows = [(row.job_id, row.status, row.values and row.values[0]["value"]) for row in found]
        names = connection.scalars(sa.text("SELECT name FROM variable ORDER BY name")).all()
    assert names == ["donor", "place", "title"]
    assert rows == [
        (job, "extracted", "read again"), (job, "pending", None),
        (later, "extracted", "read again"), (later, "pending", None),
    ]  # fmt: skip
    upgrade.upgrade()


def test_jobs_that_wait_are_paused_and_those_that_failed_cancelled_where_those_states_are_not_known(database):
    """Down to revision 0003, whose jobs are run by one process, and up again."""
    with transaction() as connection:
        grants = factories.project(connection, "title")
        factories.document(connection, grants.id)
        states = {}
        for status in ("pending", "running", "paused", "completed", "failed", "cancelled"):
            job = states[status] = jobs.create(connection, grants.id, factories.options(), rules="r")
            factories.cells.plan(connection, job, factories.planned(connection, grants, factories.options()))
            if status != "pending":
                factories.set_status(connection, job, status)
            factories.workers.claim(connection, job, factories.worker(connection, job), after=0, limit=1)
    upgrade.downgrade("0003")
    with transaction() as connection:
        found = dict(connection.execute(sa.text("SELECT id, status FROM job")).all())
        events = connection.scalar(sa.text("SELECT count(*) FROM job_event WHERE event = 'failed'"))
    before = states.keys() - {"pending", "failed"}
    assert found == {states[status]: status for status in before} | {
        states["pending"]: "paused", states["failed"]: "cancelled",
    }  # fmt: skip
    assert events == 1
    upgrade.upgrade()
    with transaction() as connection:
        assert jobs.get(connection, states["failed"]).status == "cancelled"
        assert jobs.counts(connection, states["pending"]).pending == 1
        assert connection.scalar(sa.text("SELECT count(*) FROM worker")) == 0
        (claimed,) = factories.workers.claim(
            connection, states["running"], factories.worker(connection, states["running"]), after=0, limit=9
        )
    assert claimed.losses == 0
