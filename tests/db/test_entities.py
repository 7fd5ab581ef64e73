"""Entities, the lists that name them, and the cells that are planned with a list."""

import pytest
from sqlalchemy import func, select

from db import cells, entities, jobs, projects, tables
from db.cells import PlannedCell
from tests import factories
from tests.factories import UNIT, entity, list_entities, options, pending, variable
from winnow.jobs import Counts

_entity = tables.Entity.__table__


@pytest.fixture
def protests(connection):
    """A project whose rows are protests, with two variables and a parsed document."""
    project = factories.project(connection, "place", "size", unit_of_observation=UNIT)
    factories.document(connection, project.id)
    return project


@pytest.fixture
def document(connection, protests):
    return factories.documents.of_project(connection, protests.id)[0].id


def listed(connection, project, *names, **more):
    """The id of a new job whose one document has these entities."""
    job = factories.listing_job(connection, project)
    list_entities(connection, project, pending(connection, job)[0].id, *names, **more)
    return job


def open_cells(connection, job):
    return [(cell.entity, cell.variable) for cell in pending(connection, job)]


class TestSave:
    def test_the_ids_come_in_the_order_given(self, connection, document):
        names = ["c", "a", "b"]
        ids = entities.save(connection, document, [entity(name) for name in names])
        assert [entities.get(connection, entity_id).name for entity_id in ids] == names

    def test_an_entity_that_is_known_keeps_its_id_and_has_its_newest_name_and_evidence(self, connection, document):
        (before,) = entities.save(connection, document, [entity("BERLIN")])
        ids = entities.save(connection, document, [entity("Paris"), entity("Berlin")])
        assert ids[1] == before
        assert entities.get(connection, before) == entity("Berlin")
        assert connection.scalar(select(func.count()).select_from(_entity)) == 2

    def test_no_entities_are_no_rows(self, connection, document):
        assert entities.save(connection, document, []) == []

    def test_documents_do_not_share_entities(self, connection, protests, document):
        other = factories.document(connection, protests.id, "b.pdf")
        assert entities.save(connection, document, [entity("Berlin")]) != entities.save(
            connection, other, [entity("Berlin")]
        )

    def test_many_entities_with_odd_names_come_back_as_they_were(self, connection, document):
        found = [entity(name) for name in ("Zürich | 1. Mai", "日本 🙂", "'; --", '"quoted", {array}', "NULL", "")]
        ids = entities.save(connection, document, found)
        assert [entities.get(connection, entity_id) for entity_id in ids] == found


class TestLists:
    def test_the_listed_documents_of_a_job_come_with_their_entities_in_order(self, connection, protests, document):
        unlisted = factories.document(connection, protests.id, "b.pdf")
        job = factories.listing_job(connection, protests)
        ids = list_entities(connection, protests, pending(connection, job)[0].id, "Rome", "Berlin")
        (found,) = entities.listed(connection, job)
        assert (found.id, found.entities) == (
            document, ((ids[0], entity("Rome")), (ids[1], entity("Berlin"))),
        )  # fmt: skip
        assert found.tokens > 0
        assert unlisted != document

    def test_a_list_is_found_by_its_question(self, connection, protests, document):
        job = factories.listing_job(connection, protests)
        work = factories.stored_cell(connection, pending(connection, job)[0].id)
        assert entities.of_question(connection, document, work.question_key) is None
        (berlin,) = list_entities(connection, protests, work.id, "Berlin")
        assert entities.of_question(connection, document, work.question_key) == [(berlin, entity("Berlin"))]

    def test_an_empty_list_is_a_list(self, connection, protests, document):
        job = factories.listing_job(connection, protests)
        work = factories.stored_cell(connection, pending(connection, job)[0].id)
        list_entities(connection, protests, work.id)
        assert entities.of_question(connection, document, work.question_key) == []
        assert [found.entities for found in entities.listed(connection, job)] == [()]


class TestPlanEntities:
    def test_every_entity_has_every_variable(self, connection, protests):
        job = listed(connection, protests, "Berlin", "Paris")
        assert open_cells(connection, job) == [
            ("berlin", "place"), ("berlin", "size"), ("paris", "place"), ("paris", "size"),
        ]  # fmt: skip
        assert jobs.counts(connection, job) == Counts(extracted=1, pending=4)

    def test_a_document_without_entities_has_no_more_cells(self, connection, protests):
        job = listed(connection, protests)
        assert jobs.counts(connection, job) == Counts(extracted=1)

    def test_entities_that_vanish_from_a_new_list_lose_their_cells_done_or_not(self, connection, protests, document):
        job = listed(connection, protests, "Berlin", "Paris", "Rome")
        for cell in pending(connection, job)[:3]:  # Berlin, and the place of Paris
            factories.answer(connection, cell.id)
        ids = entities.save(connection, document, [entity("Paris"), entity("Oslo")])
        prompts = projects.prompts(connection, protests.id)
        cells.plan_entities(connection, job, document, factories.planned_entities(prompts, document, ids))
        assert open_cells(connection, job) == [("paris", "size"), ("oslo", "place"), ("oslo", "size")]
        assert jobs.counts(connection, job) == Counts(extracted=2, pending=3)  # the list, and the place of Paris

    def test_an_empty_new_list_takes_all_of_them_away(self, connection, protests, document):
        job = listed(connection, protests, "Berlin")
        factories.answer(connection, pending(connection, job)[0].id)
        cells.plan_entities(connection, job, document, [])
        assert jobs.counts(connection, job) == Counts(extracted=1)

    def test_other_documents_and_jobs_keep_theirs(self, connection, protests, document):
        factories.document(connection, protests.id, "b.pdf")
        job = factories.listing_job(connection, protests)
        for cell in pending(connection, job):
            list_entities(connection, protests, cell.id, "Berlin")
        other = listed_again(connection, protests)
        cells.plan_entities(connection, job, document, [])
        assert {cell.document for cell in pending(connection, job)} == {"b.pdf"}
        assert jobs.counts(connection, other).pending == 4

    def test_what_another_job_has_answered_is_settled_with_the_plan(self, connection, protests):
        first = listed(connection, protests, "Berlin", "Paris")
        for cell in pending(connection, first)[:3]:
            factories.answer(connection, cell.id)
        later = listed(connection, protests, "Paris", "BERLIN")
        assert open_cells(connection, later) == [("paris", "size")]
        assert jobs.counts(connection, later) == Counts(extracted=4, pending=1)

    def test_a_plan_larger_than_a_batch_is_whole(self, connection, protests, monkeypatch):
        monkeypatch.setattr(cells, "_BATCH", 3)
        job = listed(connection, protests, *(f"city {number}" for number in range(5)))
        assert jobs.counts(connection, job) == Counts(extracted=1, pending=10)

    def test_a_new_plan_of_the_job_leaves_entities_to_their_lists(self, connection, protests):
        job = listed(connection, protests, "Berlin")
        cells.plan(connection, job, factories.planned_lists(connection, protests, options()))
        assert open_cells(connection, job) == [("berlin", "place"), ("berlin", "size")]

    def test_entities_that_nobody_asks_to_list_any_more_lose_their_pending_cells(self, connection, protests):
        job = listed(connection, protests, "Berlin", "Paris")
        factories.answer(connection, pending(connection, job)[0].id)
        of_documents = factories.project(connection, "place", "size")
        cells.plan(connection, job, factories.planned(connection, of_documents, options()))
        assert open_cells(connection, job) == [(None, "place"), (None, "size")]
        assert jobs.counts(connection, job) == Counts(extracted=2, pending=2)

    def test_a_list_that_is_asked_anew_takes_the_pending_cells_of_the_old_one_away(self, connection, protests):
        job = listed(connection, protests, "Berlin")
        unit = UNIT | {"definition": "Another definition."}
        changed = factories.project(connection, "place", "size", unit_of_observation=unit)
        cells.plan(connection, job, factories.planned_lists(connection, changed, options()))
        assert open_cells(connection, job) == [(None, "protest")]
        assert list(entities.listed(connection, job)) == []

    def test_a_changed_variable_replaces_the_pending_cells_of_entities(self, connection, protests):
        job = listed(connection, protests, "Berlin")
        changed = factories.project(connection, "place", variable("size", label="How many"), unit_of_observation=UNIT)
        prompts = projects.prompts(connection, changed.id)
        for found in entities.listed(connection, job):
            ids = [entity_id for entity_id, _ in found.entities]
            cells.plan_entities(connection, job, found.id, factories.planned_entities(prompts, found.id, ids))
        assert open_cells(connection, job) == [("berlin", "place"), ("berlin", "size")]
        versions = {prompt.id: prompt.version for prompt in prompts}
        works = [factories.stored_cell(connection, cell.id) for cell in pending(connection, job)]
        assert [versions.get(work.prompt_id) for work in works] == [1, 2]


def listed_again(connection, project):
    """A job in whose documents Berlin is listed, and nothing is answered."""
    job = factories.listing_job(connection, project)
    for cell in pending(connection, job):
        list_entities(connection, project, cell.id, "Berlin")
    return job


def test_a_removed_entity_takes_its_cells_and_extractions_with_it(connection, protests):
    job = listed(connection, protests, "Berlin", "Paris")
    for cell in pending(connection, job):
        factories.answer(connection, cell.id)
    connection.execute(_entity.delete().where(_entity.c.name == "Paris"))
    assert jobs.counts(connection, job) == Counts(extracted=3)


def test_an_entity_cell_and_a_document_cell_of_one_variable_stand_side_by_side(connection, protests, document):
    """Null is a value of its own in the key of a cell: neither twice, nor in the way of the others."""
    ids = entities.save(connection, document, [entity("Berlin")])
    prompt = projects.prompts(connection, protests.id)[0]
    plan = [
        PlannedCell(document_id=document, prompt_id=prompt.id, entity_id=entity_id, question_key="k")
        for entity_id in (None, *ids)
    ]
    job = factories.empty_job(connection, protests)
    cells.plan(connection, job, plan * 2)
    assert open_cells(connection, job) == [(None, "place"), ("berlin", "place")]
