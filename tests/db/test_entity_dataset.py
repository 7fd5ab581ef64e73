"""The dataset where rows are entities: those of each document's newest list."""

import pytest

from db import cells, extractions, projects
from db.cells import PlannedCell
from tests import factories
from tests.factories import UNIT, list_entities, options, pending


@pytest.fixture
def protests(connection):
    """A project whose rows are protests, with two variables and a parsed document."""
    project = factories.project(connection, "place", "size", unit_of_observation=UNIT)
    factories.document(connection, project.id, "a.pdf")
    return project


def listed(connection, project, *names, asked=None):
    """The id of a new job, in each of whose documents these entities are listed."""
    job = factories.listing_job(connection, project, asked)
    for cell in pending(connection, job):
        list_entities(connection, project, cell.id, *names)
    return job


def fail_listing(connection, project, reason="malformed", asked=None):
    job = factories.listing_job(connection, project, asked)
    for cell in pending(connection, job):
        cells.end(connection, cell.id, "failed", reason, "it is so")
    return job


def answer_all(connection, job, *values):
    for cell, value in zip(pending(connection, job), values, strict=True):
        factories.answer(connection, cell.id, factories.extraction(value))


def rows(connection, project, job=None):
    """The dataset as [(document, entity, {variable: values, or else why there are none})]."""
    found = {}
    for cell in extractions.dataset(connection, project.id, job):
        value = cell.extraction.accepted if cell.extraction else (cell.status, cell.reason)
        found.setdefault((cell.document, cell.entity), {})[cell.variable] = value
    return [(*place, values) for place, values in found.items()]


def test_every_entity_has_a_row_in_the_order_of_the_list(connection, protests):
    job = listed(connection, protests, "Rome", "Berlin")
    answer_all(connection, job, "Rome", "100", "Berlin", "20")
    assert rows(connection, protests) == [
        ("a.pdf", "rome", {"place": ("Rome",), "size": ("100",)}),
        ("a.pdf", "berlin", {"place": ("Berlin",), "size": ("20",)}),
    ]
    cell = extractions.dataset(connection, protests.id)[0]
    assert (cell.entity, cell.entity_name, cell.completeness) == ("rome", "Rome", "complete")


def test_the_documents_are_in_the_order_of_their_names(connection, protests):
    factories.document(connection, protests.id, "A.pdf")
    factories.document(connection, protests.id, "b.pdf")
    listed(connection, protests, "Rome", "Berlin")
    names = [stored.name for stored in factories.documents.of_project(connection, protests.id)]
    places = [(document, entity) for document, entity, _ in rows(connection, protests)]
    assert places == [(name, entity) for name in names for entity in ("rome", "berlin")]


def test_entities_of_documents_with_the_same_name_stay_apart(connection):
    project = factories.project(connection, "place", unit_of_observation=UNIT)
    for number in range(2):
        factories.document(connection, project.id, "same.pdf", text=f"text {number}")
    listed(connection, project, "Rome", "Berlin")
    found = extractions.dataset(connection, project.id)
    assert [cell.entity for cell in found] == ["rome", "berlin"] * 2
    assert len({(cell.document_hash, cell.entity) for cell in found}) == 4


def test_a_document_with_a_failed_list_has_one_row_that_says_why(connection, protests):
    fail_listing(connection, protests, "too_long")
    why = ("failed", "too_long")
    assert rows(connection, protests) == [("a.pdf", None, {"place": why, "size": why})]
    assert extractions.dataset(connection, protests.id)[0].completeness == "truncated"


@pytest.mark.parametrize("names", [(), None], ids=["empty", "not listed yet"])
def test_a_document_without_entities_has_one_row_without_an_entity(connection, protests, names):
    if names is None:
        factories.listing_job(connection, protests)
    else:
        listed(connection, protests, *names)
    why = ("not_asked", None)
    assert rows(connection, protests) == [("a.pdf", None, {"place": why, "size": why})]


def test_a_document_that_could_not_be_read_has_one_failed_row(connection, protests):
    factories.failed_document(connection, protests.id, "scan.pdf", "no_text")
    listed(connection, protests, "Rome")
    why = ("failed", "no_text")
    assert rows(connection, protests)[1:] == [("scan.pdf", None, {"place": why, "size": why})]


def test_an_entity_that_is_not_answered_yet_has_its_row(connection, protests):
    listed(connection, protests, "Rome")
    why = ("not_asked", None)
    assert rows(connection, protests) == [("a.pdf", "rome", {"place": why, "size": why})]


def test_entities_of_an_older_list_do_not_show(connection, protests):
    answer_all(connection, listed(connection, protests, "Rome", "Berlin"), "Rome", "100", "Berlin", "20")
    listed(connection, protests, "Oslo", "Berlin", asked=options(model="openai:other"))
    assert rows(connection, protests) == [
        ("a.pdf", "oslo", {"place": ("not_asked", None), "size": ("not_asked", None)}),
        ("a.pdf", "berlin", {"place": ("Berlin",), "size": ("20",)}),
    ]


def test_one_job_shows_its_own_list(connection, protests):
    first = listed(connection, protests, "Rome")
    answer_all(connection, first, "Rome", "100")
    second = listed(connection, protests, "Oslo", asked=options(model="openai:other"))
    assert [entity for _, entity, _ in rows(connection, protests, first)] == ["rome"]
    assert [entity for _, entity, _ in rows(connection, protests, second)] == ["oslo"]


def test_a_later_list_that_failed_does_not_hide_one_of_the_same_version(connection, protests):
    listed(connection, protests, "Rome")
    fail_listing(connection, protests, asked=options(model="openai:other"))
    assert [entity for _, entity, _ in rows(connection, protests)] == ["rome"]


def test_a_list_of_a_newer_version_that_failed_is_not_hidden_by_an_older_one(connection, protests):
    listed(connection, protests, "Rome")
    unit = UNIT | {"definition": "Another definition."}
    changed = factories.project(connection, "place", "size", unit_of_observation=unit)
    fail_listing(connection, changed)
    assert rows(connection, changed)[0][1:] == (
        None,
        {"place": ("failed", "malformed"), "size": ("failed", "malformed")},
    )


def test_what_was_asked_of_documents_does_not_show_where_rows_are_entities(connection):
    project = factories.project(connection, "place")
    factories.document(connection, project.id, "a.pdf")
    answer_all(connection, factories.job(connection, project), "of the document")
    now = factories.project(connection, "place", unit_of_observation=UNIT)
    assert rows(connection, now) == [("a.pdf", None, {"place": ("not_asked", None)})]
    (before,) = extractions.document_accounts(connection, project.id)
    assert (before.status, before.rows, before.reason) == ("uncertain", 0, "nothing was asked about it yet")


def test_what_was_asked_of_entities_does_not_show_where_rows_are_documents(connection, protests):
    answer_all(connection, listed(connection, protests, "Rome"), "Rome", "100")
    now = factories.project(connection, "place", "size")
    assert [(entity, values["place"]) for _, entity, values in rows(connection, now)] == [(None, ("not_asked", None))]
    (account,) = extractions.document_accounts(connection, protests.id)
    assert (account.rows, account.listed, account.reason) == (0, None, "nothing was asked about it yet")


def test_an_answer_of_the_newest_prompt_version_is_taken(connection, protests):
    job = listed(connection, protests, "Rome")
    answer_all(connection, job, "old", "100")
    changed = factories.project(
        connection, factories.variable("place", label="Where"), "size", unit_of_observation=UNIT
    )
    assert rows(connection, changed)[0][2]["place"] == ("old",)
    later = listed(connection, changed, "Rome", asked=options("sample"))
    answer_all(connection, later, "new")
    assert rows(connection, changed) == [("a.pdf", "rome", {"place": ("new",), "size": ("100",)})]


def test_a_document_level_cell_is_no_part_of_an_entitys_row(connection, protests):
    """Its prompt is the same, its entity is none."""
    job = listed(connection, protests, "Rome")
    document = pending(connection, job)[0].document_id
    prompt = projects.prompts(connection, protests.id)[0]
    other = factories.empty_job(connection, protests)
    cells.plan(connection, other, [PlannedCell(document_id=document, prompt_id=prompt.id, question_key="k")])
    answer_all(connection, other, "of the document")
    assert rows(connection, protests)[0][2]["place"] == ("not_asked", None)
