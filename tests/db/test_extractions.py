from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text

from db import cells, extractions, jobs, projects, tables
from db.session import transaction
from tests import factories
from tests.factories import MODEL, pending, variable
from winnow.answers import AnswerStatus
from winnow.documents import Box
from winnow.extractions import Evidence, Extraction, Flag, FoundValue, Place, Signals, Unread

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = TEXTS | NUMBERS | st.booleans()
POINTS = st.floats(-10_000, 10_000)
OFFSETS = st.integers(0, 10**9)
SHARES = st.none() | st.floats(0, 1)
PLACES = st.builds(
    Place,
    start=OFFSETS,
    end=OFFSETS,
    page=st.none() | st.integers(1, 9999),
    boxes=st.lists(st.builds(Box, x0=POINTS, y0=POINTS, x1=POINTS, y1=POINTS), max_size=2).map(tuple),
)
EVIDENCE = st.builds(
    Evidence,
    quote=TEXTS,
    mark=st.sampled_from(["exact", "normalised", "approximate", "absent"]),
    score=st.floats(0, 1),
    places=st.lists(PLACES, max_size=2).map(tuple),
)
FOUND = st.builds(
    FoundValue,
    value=st.none() | VALUES,
    raw=TEXTS,
    evidence=st.lists(EVIDENCE, max_size=2).map(tuple),
    problem=st.none() | TEXTS,
    confidence=SHARES,
)
EXTRACTIONS = st.builds(
    Extraction,
    status=st.sampled_from(get_args(AnswerStatus)),
    values=st.lists(FOUND, max_size=4).map(tuple),
    confidence=st.floats(0, 1),
    signals=st.builds(Signals, said=SHARES, grounding=SHARES, validation=SHARES, tokens=SHARES),
    flags=st.lists(st.sampled_from(get_args(Flag)), unique=True).map(tuple),
    default=st.none() | VALUES,
    unread=st.lists(st.builds(Unread, start=OFFSETS, end=OFFSETS, reason=TEXTS), max_size=2).map(tuple),
    announced=st.none() | st.integers(0, 10**6),
    detail=st.none() | TEXTS,
)

_extraction = tables.Extraction.__table__


@pytest.fixture
def grants(connection):
    """A project with two variables and a parsed document."""
    project = factories.project(connection, "title", "donor")
    factories.document(connection, project.id, "a.pdf")
    return project


def answer_all(connection, job, *answers):
    """Answer the pending cells of a job, in their order; an answer that is text is the reason of a failure."""
    for cell, answer in zip(pending(connection, job), answers, strict=True):
        if isinstance(answer, str):
            cells.end(connection, cell.id, "failed", answer, "it is so")
        else:
            factories.answer(connection, cell.id, answer, jobs.get(connection, job).options.model)


def dataset(connection, project, job=None):
    """The dataset as {(document, variable): cell}."""
    found = extractions.dataset(connection, project.id, job)
    by_place = {(cell.document, cell.variable): cell for cell in found}
    assert len(by_place) == len(found)
    return by_place


def values(connection, project, job=None):
    """The dataset as {(document, variable): accepted values, or else why there are none}."""
    return {
        place: cell.extraction.accepted if cell.extraction else (cell.status, cell.reason)
        for place, cell in dataset(connection, project, job).items()
    }


def first_work(connection, job):
    """The work of a job's first pending cell."""
    return factories.stored_cell(connection, pending(connection, job)[0].id)


def save(connection, work, extraction, *, call_ids=(), question_key=None, **more):
    extractions.save(
        connection, extraction, cell_id=work.id, question_key=question_key or work.question_key,
        document_id=work.document_id,
        prompt_id=work.prompt_id, entity_id=work.entity_id, model=MODEL, call_ids=call_ids, **more,
    )  # fmt: skip


def says(value, *flags):
    return factories.extraction(value, *flags)


class TestSave:
    def test_a_saved_extraction_ends_its_cell(self, connection, grants):
        job = factories.job(connection, grants)
        answer_all(connection, job, says("A title"), says("A donor", "low_confidence"))
        counts = jobs.counts(connection, job)
        assert (counts.extracted, counts.flagged, counts.pending) == (1, 1, 0)

    def test_the_same_question_read_again_replaces_its_extraction(self, connection, grants):
        job = factories.job(connection, grants)
        work = first_work(connection, job)
        save(connection, work, says("first", "low_confidence"), call_ids=[1])
        first = connection.execute(select(_extraction)).one()
        second = factories.job(connection, grants)
        save(connection, first_work(connection, second), read := replace(says("second"), default="d"), call_ids=[1, 2])
        again = connection.execute(select(_extraction)).one()
        assert (again.id, again.call_ids) == (first.id, [1, 2])
        assert dataset(connection, grants)["a.pdf", "title"].extraction == read
        assert dataset(connection, grants, job)["a.pdf", "title"].extraction == read

    def test_an_extraction_knows_what_it_rests_on(self, connection, grants):
        work = first_work(connection, factories.job(connection, grants))
        save(connection, work, says("x"), call_ids=[7, 5], entity_ids=[3, 1])
        stored = connection.execute(select(_extraction)).one()
        assert (stored.call_ids, stored.entity_ids, stored.model) == ([7, 5], [3, 1], MODEL)
        assert (stored.question_key, stored.entity_id) == (work.question_key, None)

    @pytest.mark.parametrize("checked", [True, False])
    @pytest.mark.parametrize("status", ["failed", "skipped"])
    def test_a_cell_that_ended_meanwhile_stays_so_but_the_extraction_is_kept(self, connection, grants, status, checked):
        job = factories.empty_job(connection, grants)
        planned = factories.planned(connection, grants, factories.options())
        cells.plan(connection, job, [replace(cell, check_key=None if checked else "row") for cell in planned])
        work = first_work(connection, job)
        cells.end(connection, work.id, status, "provider_timeout", "it is so")
        save(connection, work, says("late"))
        assert getattr(jobs.counts(connection, job), status) == 1
        assert connection.scalar(select(func.count()).select_from(_extraction)) == 1
        assert values(connection, grants)["a.pdf", "title"] == (status, "provider_timeout")

    def test_an_answered_cell_is_answered_again_until_its_row_is_checked(self, connection, grants):
        job = factories.empty_job(connection, grants)
        planned = factories.planned(connection, grants, factories.options())
        cells.plan(connection, job, [replace(cell, check_key="row") for cell in planned])
        work = first_work(connection, job)
        save(connection, work, says("first"))
        save(connection, work, says("corrected", "check_failed"), question_key="checked")
        assert jobs.counts(connection, job).flagged == 1
        cells.check(connection, [work.id])
        save(connection, work, says("late"), question_key="late")
        assert values(connection, grants)["a.pdf", "title"] == ("corrected",)

    def test_without_a_default_the_column_is_null_and_false_is_a_default(self, connection, grants):
        job = factories.job(connection, grants)
        answer_all(connection, job, says("x"), replace(says("y"), default=False))
        stored = connection.execute(text('SELECT "default" IS NULL, "default"::text FROM extraction ORDER BY id')).all()
        assert [tuple(row) for row in stored] == [(True, None), (False, "false")]

    @settings(
        deadline=None, max_examples=60, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(given=EXTRACTIONS)
    @example(factories.extraction(1e22))
    @example(factories.extraction(1e300))
    @example(factories.extraction(5e-324))
    @example(factories.extraction(True))
    @example(factories.extraction(1.0))
    @example(factories.extraction("1"))
    @example(factories.extraction("true"))
    @example(factories.extraction("𝔘 日本 🙂 \x7f \u2028 \\u0000"))
    @example(Extraction(status="not_stated", default=0.0))
    @example(Extraction(status="not_stated", default=1e22))
    @example(Extraction(status="not_stated", default=""))
    def test_every_extraction_comes_back_as_it_was(self, connection, grants, given):
        job = factories.job(connection, grants)
        cell = pending(connection, job)[0]
        with connection.begin_nested() as undone:
            factories.answer(connection, cell.id, given)
            stored = dataset(connection, grants)["a.pdf", "title"].extraction
            assert stored == given
            assert [type(found.value) for found in stored.values] == [type(found.value) for found in given.values]
            assert type(stored.default) is type(given.default)
            undone.rollback()


class TestDataset:
    def test_a_cell_says_where_it_comes_from(self, connection, grants):
        job = factories.job(connection, grants)
        given = says("A title", "low_confidence")
        answer_all(connection, job, given, says("A donor"))
        cell = dataset(connection, grants)["a.pdf", "title"]
        assert (cell.status, cell.reason, cell.extraction) == ("found", None, given)
        assert (cell.job, cell.prompt_version, cell.model) == (job, 1, MODEL)
        assert cell.document_hash == factories.sha256("a.pdf The text of a.pdf.")
        assert cell.answered_at is not None

    def test_every_document_has_every_variable_in_the_order_of_the_codebook(self, connection):
        project = factories.project(connection, "title", "amount", "donor")
        for name in ("b.pdf", "a.pdf"):
            factories.document(connection, project.id, name)
        factories.failed_document(connection, project.id, "scan.pdf")
        listed = [(cell.document, cell.variable) for cell in extractions.dataset(connection, project.id)]
        names = ["title", "amount", "donor"]
        assert listed == [(document, name) for document in ("a.pdf", "b.pdf", "scan.pdf") for name in names]

    def test_what_no_job_asked_is_not_asked(self, connection, grants):
        cell = dataset(connection, grants)["a.pdf", "donor"]
        assert (cell.status, cell.reason, cell.extraction, cell.job, cell.prompt_version) == (
            "not_asked", None, None, None, None,
        )  # fmt: skip

    def test_what_is_still_pending_is_not_asked(self, connection, grants):
        factories.job(connection, grants)
        assert values(connection, grants)["a.pdf", "title"] == ("not_asked", None)

    def test_a_failed_cell_has_its_reason_job_and_version(self, connection, grants):
        job = factories.job(connection, grants)
        answer_all(connection, job, "truncated", says("A donor"))
        cell = dataset(connection, grants)["a.pdf", "title"]
        assert (cell.status, cell.reason, cell.job, cell.prompt_version) == ("failed", "truncated", job, 1)
        assert (cell.extraction, cell.model, cell.answered_at) == (None, None, None)

    def test_a_skipped_cell_has_its_reason(self, connection, grants):
        job = factories.job(connection, grants)
        cells.end(connection, pending(connection, job)[0].id, "skipped", "skipped_dependency", "it is so")
        cell = dataset(connection, grants)["a.pdf", "title"]
        assert (cell.status, cell.reason, cell.job, cell.extraction) == ("skipped", "skipped_dependency", job, None)

    def test_a_failed_document_is_failed_in_every_variable(self, connection, grants):
        factories.failed_document(connection, grants.id, "scan.pdf", "no_text")
        found = values(connection, grants)
        assert found["scan.pdf", "title"] == found["scan.pdf", "donor"] == ("failed", "no_text")

    def test_a_document_that_is_mended_is_no_longer_failed(self, connection, grants):
        factories.failed_document(connection, grants.id, "scan.pdf")
        factories.documents.save_parsed(
            connection, grants.id, sha256=factories.sha256("scan.pdf"), name="scan.pdf", size_bytes=7,
            parsed=factories.parsed("now with text"),
        )  # fmt: skip
        assert values(connection, grants)["scan.pdf", "title"] == ("not_asked", None)

    def test_the_newest_prompt_version_that_was_asked_is_taken(self, connection, grants):
        first = factories.job(connection, grants)
        answer_all(connection, first, says("old title"), says("donor"))
        changed = factories.project(connection, variable("title", label="The title"), "donor")
        second = factories.job(connection, changed)
        cells.settle_answered(connection, second)
        answer_all(connection, second, says("new title"))
        factories.project(connection, "title", "donor")  # a third version, like the first, which nobody has asked
        assert values(connection, grants) == {("a.pdf", "title"): ("new title",), ("a.pdf", "donor"): ("donor",)}
        assert dataset(connection, grants)["a.pdf", "title"].prompt_version == 2

    def test_an_older_version_stands_until_the_newest_was_asked(self, connection, grants):
        job = factories.job(connection, grants)
        answer_all(connection, job, says("old title"), says("donor"))
        changed = factories.project(connection, variable("title", label="The title"), "donor")
        factories.job(connection, changed)  # it is pending there
        assert values(connection, changed)["a.pdf", "title"] == ("old title",)
        assert dataset(connection, changed)["a.pdf", "title"].prompt_version == 1

    def test_a_failure_of_the_newest_version_is_not_hidden_by_an_older_one(self, connection, grants):
        answer_all(connection, factories.job(connection, grants), says("old title"), says("donor"))
        changed = factories.project(connection, variable("title", label="The title"), "donor")
        job = factories.job(connection, changed)
        cells.settle_answered(connection, job)
        answer_all(connection, job, "truncated")
        assert values(connection, changed)["a.pdf", "title"] == ("failed", "truncated")

    def test_of_one_version_an_extraction_is_preferred_to_a_later_failure(self, connection, grants):
        answer_all(connection, factories.job(connection, grants), says("title"), says("donor"))
        later = factories.job(connection, grants, factories.options(model="openai:other"))
        answer_all(connection, later, "truncated", says("other donor"))
        assert values(connection, grants) == {("a.pdf", "title"): ("title",), ("a.pdf", "donor"): ("other donor",)}

    def test_of_two_extractions_the_newer_jobs_is_taken(self, connection, grants):
        first = factories.job(connection, grants)
        second = factories.job(connection, grants, factories.options(model="openai:other"))
        answer_all(connection, second, says("second"), says("second"))
        answer_all(connection, first, says("first"), says("first"))  # answered later, by the older job
        assert values(connection, grants)["a.pdf", "title"] == ("second",)

    def test_of_two_failures_the_newer_jobs_is_taken(self, connection, grants):
        answer_all(connection, factories.job(connection, grants), "truncated", "truncated")
        later = factories.job(connection, grants, factories.options(model="openai:other"))
        answer_all(connection, later, "malformed", "malformed")
        assert values(connection, grants)["a.pdf", "title"] == ("failed", "malformed")

    def test_one_job_shows_its_own_cells_alone(self, connection, grants):
        first = factories.job(connection, grants)
        answer_all(connection, first, says("first"), "truncated")
        second = factories.job(connection, grants, factories.options(model="openai:other"))
        answer_all(connection, second, "malformed", says("second"))
        title, donor = ("a.pdf", "title"), ("a.pdf", "donor")
        assert values(connection, grants, first) == {title: ("first",), donor: ("failed", "truncated")}
        assert values(connection, grants, second) == {title: ("failed", "malformed"), donor: ("second",)}

    def test_one_job_shows_what_an_earlier_one_bought_for_it(self, connection, grants):
        answer_all(connection, factories.job(connection, grants), says("title"), says("donor"))
        later = factories.job(connection, grants)
        cells.settle_answered(connection, later)
        cell = dataset(connection, grants, later)["a.pdf", "title"]
        assert (cell.job, cell.extraction) == (later, says("title"))

    def test_one_job_shows_the_documents_that_were_not_in_its_sample_as_not_asked(self, connection, grants):
        factories.document(connection, grants.id, "b.pdf")
        chosen = factories.documents.of_project(connection, grants.id)[:1]
        job = factories.job(connection, grants, factories.options("sample", sample=1, seed=1), chosen)
        answer_all(connection, job, says("title"), says("donor"))
        found = values(connection, grants, job)
        assert found["a.pdf", "title"] == ("title",)
        assert found["b.pdf", "title"] == ("not_asked", None)

    def test_a_variable_that_left_the_codebook_leaves_the_dataset_and_comes_back(self, connection, grants):
        answer_all(connection, factories.job(connection, grants), says("title"), says("donor"))
        factories.project(connection, "title")
        assert values(connection, grants) == {("a.pdf", "title"): ("title",)}
        factories.project(connection, "donor", "title")
        assert values(connection, grants) == {("a.pdf", "donor"): ("donor",), ("a.pdf", "title"): ("title",)}

    def test_projects_do_not_see_each_others_cells(self, connection, grants):
        answer_all(connection, factories.job(connection, grants), says("title"), says("donor"))
        other = factories.project(connection, "title", name="Other")
        factories.document(connection, other.id, "a.pdf")
        assert values(connection, other) == {("a.pdf", "title"): ("not_asked", None)}

    def test_documents_of_one_name_have_their_own_rows(self, connection):
        project = factories.project(connection, "title")
        for number in range(3):
            factories.document(connection, project.id, "same.pdf", text=f"text {number}")
        answer_all(connection, factories.job(connection, project), says("0"), says("1"), says("2"))
        found = extractions.dataset(connection, project.id)
        assert [cell.extraction.accepted for cell in found] == [("0",), ("1",), ("2",)]
        assert len({cell.document_hash for cell in found}) == 3

    def test_an_empty_project_has_an_empty_dataset(self, connection):
        assert extractions.dataset(connection, factories.project(connection).id) == []


def test_what_is_saved_stays_when_the_process_is_gone(database):
    with transaction() as connection:
        project = factories.project(connection, "title")
        factories.document(connection, project.id)
        answer_all(connection, factories.job(connection, project), says("kept"))
    with transaction() as connection:
        project = projects.get(connection, "Grants")
        assert values(connection, project) == {("a.pdf", "title"): ("kept",)}
