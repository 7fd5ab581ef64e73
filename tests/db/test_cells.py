from dataclasses import replace

import pytest
from sqlalchemy import select

from db import cells, documents, extractions, jobs, tables
from db.cells import PlannedCell
from tests import factories
from tests.factories import MODEL, options, pending, variable
from winnow.jobs import CellRef, Counts

_cell = tables.Cell.__table__


@pytest.fixture
def grants(connection):
    """A project with two variables and two documents."""
    project = factories.project(connection, "title", "donor")
    for name in ("a.pdf", "b.pdf"):
        factories.document(connection, project.id, name)
    return project


def empty_job(connection, project, **more):
    return factories.empty_job(connection, project, options(**more))


def planned(connection, project):
    return factories.planned(connection, project, options())


class TestPlan:
    def test_a_plan_has_a_pending_cell_for_every_document_and_variable(self, connection, grants):
        job = factories.job(connection, grants)
        assert jobs.counts(connection, job) == Counts(pending=4)
        assert [(cell.document, cell.variable) for cell in pending(connection, job)] == [
            (document, name) for document in ("a.pdf", "b.pdf") for name in ("title", "donor")
        ]

    def test_the_same_plan_again_changes_nothing(self, connection, grants):
        job = factories.job(connection, grants)
        before = connection.execute(select(_cell).order_by(_cell.c.id)).all()
        cells.plan(connection, job, planned(connection, grants))
        assert connection.execute(select(_cell).order_by(_cell.c.id)).all() == before

    def test_a_new_document_adds_its_cells(self, connection, grants):
        job = factories.job(connection, grants)
        before = pending(connection, job)
        factories.document(connection, grants.id, "c.pdf")
        cells.plan(connection, job, planned(connection, grants))
        now = pending(connection, job)
        assert now[:4] == before
        assert [cell.document for cell in now[4:]] == ["c.pdf", "c.pdf"]

    def test_a_changed_variable_replaces_what_is_pending_and_leaves_what_is_done(self, connection, grants):
        job = factories.job(connection, grants)
        factories.answer(connection, pending(connection, job)[0].id)
        changed = factories.project(connection, variable("title", label="The title"), "donor")
        cells.plan(connection, job, planned(connection, changed))
        assert jobs.counts(connection, job) == Counts(extracted=1, pending=4)
        assert sorted((cell.document, cell.variable) for cell in pending(connection, job)) == [
            ("a.pdf", "donor"), ("a.pdf", "title"), ("b.pdf", "donor"), ("b.pdf", "title"),
        ]  # fmt: skip

    def test_another_question_about_the_same_replaces_a_pending_cell(self, connection, grants):
        job = factories.job(connection, grants)
        first, *others = planned(connection, grants)
        cells.plan(connection, job, [replace(first, question_key="another"), *others])
        keys = select(_cell.c.question_key).where(_cell.c.job_id == job)
        assert sorted(connection.scalars(keys)) == sorted(["another", *(cell.question_key for cell in others)])

    @pytest.mark.parametrize("status", ["failed", "skipped"])
    def test_cells_that_ended_stay_so_in_a_new_plan(self, connection, grants, status):
        job = factories.job(connection, grants)
        cells.end(connection, pending(connection, job)[0].id, status, "a reason", "it is so")
        cells.plan(connection, job, planned(connection, grants))
        assert jobs.counts(connection, job) == Counts(pending=3, **{status: 1})

    def test_an_empty_plan_takes_away_what_is_pending(self, connection, grants):
        job = factories.job(connection, grants)
        factories.answer(connection, pending(connection, job)[0].id)
        cells.plan(connection, job, [])
        assert jobs.counts(connection, job) == Counts(extracted=1)

    def test_a_cell_planned_twice_is_one_cell(self, connection, grants):
        job = empty_job(connection, grants)
        cells.plan(connection, job, planned(connection, grants) * 2)
        assert jobs.counts(connection, job) == Counts(pending=4)

    def test_a_plan_larger_than_a_batch_is_whole_and_in_order(self, connection, grants, monkeypatch):
        for number in range(9):
            factories.document(connection, grants.id, f"c{number}.pdf")
        monkeypatch.setattr(cells, "_BATCH", 5)
        plan = [
            replace(cell, layer=number % 3, check_key=None if number % 2 == 0 else "row")
            for number, cell in enumerate(planned(connection, grants))
        ]
        job = empty_job(connection, grants)
        cells.plan(connection, job, plan)
        columns = [_cell.c[field] for field in PlannedCell.__dataclass_fields__]
        rows = connection.execute(select(*columns).order_by(_cell.c.id))
        assert [PlannedCell(**row._mapping) for row in rows] == plan
        cells.plan(connection, job, plan[:7])
        assert jobs.counts(connection, job) == Counts(pending=7)

    def test_a_job_knows_its_documents(self, connection, grants):
        chosen = documents.of_project(connection, grants.id)[1:]
        job = factories.job(connection, grants, options("sample", sample=1, seed=1), chosen)
        assert cells.documents(connection, job) == [chosen[0].id]

    def test_jobs_do_not_share_cells(self, connection, grants):
        first, second = factories.job(connection, grants), factories.job(connection, grants, options("sample"))
        for cell in pending(connection, first):
            factories.answer(connection, cell.id)
        assert jobs.counts(connection, first) == Counts(extracted=4)
        assert jobs.counts(connection, second) == Counts(pending=4)


class TestOpenOf:
    def test_documents_come_in_the_order_of_the_plan_each_whole(self, connection, grants):
        factories.document(connection, grants.id, "c.pdf")
        job = factories.job(connection, grants)
        first, _, third = sorted(cells.documents(connection, job))
        opened = cells.open_of(connection, job, [third, first])
        assert [[cell.document for cell in document] for document in opened] == [["a.pdf"] * 2, ["c.pdf"] * 2]
        assert cells.open_of(connection, job, []) == []

    def test_a_documents_cells_come_layer_by_layer_in_the_order_of_the_plan(self, connection, grants):
        job = empty_job(connection, grants)
        plan = planned(connection, grants)
        cells.plan(connection, job, [replace(cell, layer=1 - number % 2) for number, cell in enumerate(plan)])
        (first,) = cells.open_of(connection, job, [plan[0].document_id])
        assert [(cell.variable, cell.layer) for cell in first] == [("donor", 0), ("title", 1)]

    def test_what_is_done_is_left_out_and_so_are_documents_without_open_cells(self, connection, grants):
        job = factories.job(connection, grants)
        title, donor, *others = pending(connection, job)
        both = [title.document_id, others[0].document_id]
        factories.answer(connection, title.id)
        assert cells.open_of(connection, job, both) == [[donor], others]
        cells.end(connection, donor.id, "failed", "truncated", "it is so")
        assert cells.open_of(connection, job, both) == [others]

    def test_a_cell_that_is_answered_but_not_checked_is_open(self, connection, grants):
        job = empty_job(connection, grants)
        cells.plan(connection, job, [replace(cell, check_key="row") for cell in planned(connection, grants)[:1]])
        (cell,) = pending(connection, job)
        factories.answer(connection, cell.id)
        assert cells.open_of(connection, job, [cell.document_id]) == [[replace(cell, pending=False, checked=False)]]
        assert cells.any_open(connection, job)
        cells.check(connection, [cell.id])
        assert cells.open_of(connection, job, [cell.document_id]) == []
        assert not cells.any_open(connection, job)

    def test_a_job_has_something_open_until_its_last_cell_has_ended(self, connection, grants):
        job = factories.job(connection, grants)
        for cell in pending(connection, job):
            assert cells.any_open(connection, job)
            cells.end(connection, cell.id, "failed", "truncated", "it is so")
        assert not cells.any_open(connection, job)

    def test_a_cell_is_known_by_names_and_ids_without_a_word_of_the_document(self, connection):
        project = factories.project(connection, "place", unit_of_observation=factories.UNIT)
        document = factories.document(connection, project.id)
        job = factories.listing_job(connection, project)
        (listing,) = pending(connection, job)
        stored = factories.stored_cell(connection, listing.id)
        known = {"document_id": document, "document": "a.pdf", "question_key": stored.question_key}
        assert listing == CellRef(
            id=listing.id, variable="protest", unit=True, prompt_id=stored.prompt_id, **known
        )  # fmt: skip
        (berlin,) = factories.list_entities(connection, project, listing.id, "Berlin")
        (cell,) = pending(connection, job)
        stored = factories.stored_cell(connection, cell.id)
        assert cell == CellRef(
            id=cell.id, variable="place", entity="berlin", entity_id=berlin, prompt_id=stored.prompt_id,
            **(known | {"question_key": stored.question_key}),
        )  # fmt: skip


class TestRow:
    def test_a_row_shows_each_of_its_cells_as_it_stands(self, connection, grants):
        job = factories.job(connection, grants)
        title, donor, *_ = pending(connection, job)
        given = factories.extraction("A title", "low_confidence")
        factories.answer(connection, title.id, given)
        row = cells.row(connection, job, title.document_id, None)
        assert [(cell.id, cell.variable, cell.status, cell.extraction) for cell in row] == [
            (title.id, "title", "flagged", given),
            (donor.id, "donor", "pending", None),
        ]

    def test_entities_have_their_own_rows_and_the_list_is_in_none(self, connection):
        project = factories.project(connection, "place", unit_of_observation=factories.UNIT)
        document = factories.document(connection, project.id)
        job = factories.listing_job(connection, project)
        berlin, paris = factories.list_entities(connection, project, pending(connection, job)[0].id, "Berlin", "Paris")
        refs = {cell.entity: cell.id for cell in pending(connection, job)}
        assert [cell.id for cell in cells.row(connection, job, document, berlin)] == [refs["berlin"]]
        assert [cell.id for cell in cells.row(connection, job, document, paris)] == [refs["paris"]]
        assert cells.row(connection, job, document, None) == []


class TestEnd:
    @pytest.mark.parametrize("status", ["failed", "skipped"])
    def test_a_cell_ends_once(self, connection, grants, status):
        cell = pending(connection, factories.job(connection, grants))[0]
        assert cells.end(connection, cell.id, status, "truncated", "the first")
        assert not cells.end(connection, cell.id, "failed", "malformed", "the second")
        row = connection.execute(select(_cell).where(_cell.c.id == cell.id)).one()
        assert (row.status, row.reason, row.detail) == (status, "truncated", "the first")

    def test_an_extracted_cell_does_not_fail(self, connection, grants):
        job = factories.job(connection, grants)
        cell = pending(connection, job)[0]
        factories.answer(connection, cell.id)
        assert not cells.end(connection, cell.id, "failed", "internal_error", "late")
        assert jobs.counts(connection, job) == Counts(extracted=1, pending=3)

    def test_skipped_cells_are_done_and_counted_by_themselves(self, connection, grants):
        job = factories.job(connection, grants)
        cells.end(connection, pending(connection, job)[0].id, "skipped", "skipped_dependency", "title has no answer")
        counts = jobs.counts(connection, job)
        assert (counts, counts.done, counts.total) == (Counts(skipped=1, pending=3), 1, 4)

    def test_failures_are_counted_by_reason_the_most_frequent_first(self, connection, grants):
        job = factories.job(connection, grants)
        ends = [("failed", "truncated"), ("skipped", "skipped_dependency"), ("skipped", "skipped_dependency")]
        for cell, (status, reason) in zip(pending(connection, job), ends, strict=False):
            cells.end(connection, cell.id, status, reason, "it is so")
        assert list(cells.failures(connection, job).items()) == [("skipped_dependency", 2), ("truncated", 1)]


class TestAnswered:
    def test_the_questions_with_an_answer_are_known_in_whatever_job(self, connection, grants):
        job = factories.job(connection, grants)
        first, second, *_ = planned(connection, grants)
        factories.answer(connection, pending(connection, job)[0].id)
        keys = [first.question_key, second.question_key, "unheard of"]
        assert cells.answered(connection, first.document_id, keys) == {first.question_key}

    def test_another_documents_answers_do_not_count(self, connection, grants):
        job = factories.job(connection, grants)
        factories.answer(connection, pending(connection, job)[0].id)
        first, _, other, _ = planned(connection, grants)
        assert cells.answered(connection, other.document_id, [first.question_key]) == set()


class TestSettleAnswered:
    @pytest.mark.parametrize(("flags", "status"), [((), "extracted"), (("low_confidence",), "flagged")])
    def test_a_cell_whose_question_was_answered_before_is_settled_without_a_call(
        self, connection, grants, flags, status
    ):
        first = pending(connection, factories.job(connection, grants))[0]
        factories.answer(connection, first.id, factories.extraction("Ada", *flags))
        later = factories.job(connection, grants)
        assert cells.settle_answered(connection, later) == 1
        assert jobs.counts(connection, later) == Counts(pending=3, **{status: 1})

    def test_settling_twice_settles_nothing_more(self, connection, grants):
        factories.answer(connection, pending(connection, factories.job(connection, grants))[0].id)
        later = factories.job(connection, grants)
        assert [cells.settle_answered(connection, later) for _ in range(2)] == [1, 0]

    def test_one_document_is_settled_by_itself(self, connection, grants):
        for cell in pending(connection, factories.job(connection, grants)):
            factories.answer(connection, cell.id)
        later = factories.job(connection, grants)
        document = pending(connection, later)[0].document_id
        assert cells.settle_answered(connection, later, document) == 2
        assert {cell.document for cell in pending(connection, later)} == {"b.pdf"}

    def test_a_call_that_is_asked_or_failed_settles_nothing(self, connection, grants):
        cell = pending(connection, factories.job(connection, grants))[0]
        call = factories.intend(connection, cell.id)
        later = factories.job(connection, grants)
        assert cells.settle_answered(connection, later) == 0
        factories.calls.keep_failure(connection, call, "provider_timeout")
        assert cells.settle_answered(connection, later) == 0

    def test_another_models_answer_settles_nothing(self, connection, grants):
        factories.answer(connection, pending(connection, factories.job(connection, grants))[0].id)
        later = factories.job(connection, grants, options(model="openai:other"))
        assert cells.settle_answered(connection, later) == 0

    def test_another_version_of_the_prompt_is_not_settled_though_the_question_reads_the_same(self, connection, grants):
        """A confidence threshold is no part of what a model is asked, but of how its answer is read."""
        factories.answer(connection, pending(connection, factories.job(connection, grants))[0].id)
        changed = factories.project(connection, variable("title", confidence_threshold=0.95), "donor")
        later = factories.job(connection, changed)
        assert pending(connection, later)[0].variable == "title"
        assert cells.settle_answered(connection, later) == 0

    def test_a_cell_that_ended_keeps_its_end(self, connection, grants):
        job = factories.job(connection, grants)
        factories.answer(connection, pending(connection, job)[0].id)
        later = factories.job(connection, grants)
        cells.end(connection, pending(connection, later)[0].id, "failed", "internal_error", "it is so")
        assert cells.settle_answered(connection, later) == 0
        assert jobs.counts(connection, later).failed == 1

    def test_a_twin_with_the_same_text_is_read_for_its_own_place(self, connection):
        """Two files with different bytes and one text are the same question, but each has its own extraction."""
        project = factories.project(connection, "title")
        for number, name in enumerate(("a.pdf", "b.pdf")):
            factories.document(connection, project.id, name, text="same", data=str(number))
        job = factories.job(connection, project)
        first, second = pending(connection, job)
        assert first.question_key == second.question_key
        factories.answer(connection, first.id)
        assert cells.settle_answered(connection, job) == 0

    def test_an_answer_about_one_entity_does_not_settle_another(self, connection):
        project = factories.project(connection, "place", unit_of_observation=factories.UNIT)
        document = factories.document(connection, project.id)
        job = factories.listing_job(connection, project)
        berlin, paris = factories.list_entities(connection, project, pending(connection, job)[0].id, "Berlin", "Paris")
        (prompt,) = factories.projects.prompts(connection, project.id)
        about_berlin = pending(connection, job)[0]
        extractions.save(
            connection, factories.extraction(), cell_id=about_berlin.id, question_key="same", document_id=document,
            prompt_id=prompt.id, entity_id=berlin, model=MODEL, call_ids=[],
        )  # fmt: skip
        later = empty_job(connection, project)
        plan = [
            PlannedCell(document_id=document, prompt_id=prompt.id, entity_id=entity, question_key="same")
            for entity in (berlin, paris, None)
        ]
        cells.plan(connection, later, plan)
        assert cells.settle_answered(connection, later) == 1
        assert sorted(cell.entity or "" for cell in pending(connection, later)) == ["", "paris"]
