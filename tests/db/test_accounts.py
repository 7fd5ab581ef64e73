"""What was read of each document, and whether that is all."""

import pytest

from db import cells, extractions
from tests import factories
from tests.factories import UNIT, list_entities, pending
from winnow.extractions import Unread


@pytest.fixture
def protests(connection):
    """A project whose rows are protests, with two variables and a parsed document."""
    project = factories.project(connection, "place", "size", unit_of_observation=UNIT)
    factories.document(connection, project.id, "a.pdf")
    return project


@pytest.fixture
def grants(connection):
    """A project whose rows are documents, with two variables and a parsed document."""
    project = factories.project(connection, "title", "donor")
    factories.document(connection, project.id, "a.pdf")
    return project


def account(connection, project, job=None):
    (found,) = extractions.document_accounts(connection, project.id, job)
    return found


def answer_all(connection, job, **more):
    for cell in pending(connection, job):
        factories.answer(connection, cell.id, factories.extraction(**more))


def listed(connection, project, *names, **more):
    """The id of a job whose documents have these entities, all of them answered."""
    job = factories.listing_job(connection, project)
    for cell in pending(connection, job):
        list_entities(connection, project, cell.id, *names, **more)
    answer_all(connection, job)
    return job


class TestEntities:
    @pytest.mark.parametrize("announced", [None, 1, 2])
    def test_a_document_with_a_row_for_every_entity_is_complete(self, connection, protests, announced):
        listed(connection, protests, "Rome", "Oslo", announced=announced)
        found = account(connection, protests)
        assert (found.status, found.reason) == ("complete", None)
        assert (found.document, found.announced, found.listed, found.rows, found.unread) == (
            "a.pdf", announced, 2, 2, 0,
        )  # fmt: skip

    def test_a_document_without_entities_is_complete(self, connection, protests):
        listed(connection, protests)
        found = account(connection, protests)
        assert (found.status, found.listed, found.rows) == ("complete", 0, 0)

    def test_a_document_that_announces_more_than_were_found_is_uncertain(self, connection, protests):
        listed(connection, protests, "Rome", "Oslo", announced=7)
        found = account(connection, protests)
        assert (found.status, found.reason) == ("uncertain", "it announces 7 and 2 were found")

    def test_a_list_with_entries_without_evidence_is_uncertain(self, connection, protests):
        listed(connection, protests, "Rome", flags=("evidence_absent",))
        found = account(connection, protests)
        assert (found.status, found.reason) == (
            "uncertain", "entries were left out whose evidence is not in the document",
        )  # fmt: skip

    def test_a_document_with_rows_missing_is_uncertain(self, connection, protests):
        job = factories.listing_job(connection, protests)
        list_entities(connection, protests, pending(connection, job)[0].id, "Rome", "Oslo", "Bern")
        for cell in pending(connection, job)[:2]:
            factories.answer(connection, cell.id)
        found = account(connection, protests)
        assert (found.status, found.rows, found.reason) == ("uncertain", 1, "2 of 3 have no row yet")

    @pytest.mark.parametrize("status", ["failed", "skipped"])
    def test_a_document_with_cells_without_an_answer_is_uncertain(self, connection, protests, status):
        job = factories.listing_job(connection, protests)
        list_entities(connection, protests, pending(connection, job)[0].id, "Rome")
        cells.end(connection, pending(connection, job)[0].id, status, "truncated", "it is so")
        answer_all(connection, job)
        found = account(connection, protests)
        assert (found.status, found.reason) == ("uncertain", "1 cells have no answer")

    @pytest.mark.parametrize(("reason", "status"), [("truncated", "truncated"), ("malformed", "uncertain")])
    def test_a_list_that_leaves_stretches_unread_says_so(self, connection, protests, reason, status):
        unread = (Unread(start=100, end=250, reason=reason), Unread(start=200, end=300, reason=reason))
        listed(connection, protests, "Rome", unread=unread)
        found = account(connection, protests)
        assert (found.status, found.unread) == (status, 200)
        assert f"{reason}: characters 100 to 250 were not read" in found.reason

    def test_a_failed_list_is_a_failed_document(self, connection, protests):
        job = factories.listing_job(connection, protests)
        cells.end(connection, pending(connection, job)[0].id, "failed", "refused", "it is so")
        found = account(connection, protests)
        assert (found.status, found.reason, found.listed, found.rows) == ("failed", "refused", None, 0)

    def test_nothing_was_asked_yet_while_the_list_is_pending(self, connection, protests):
        factories.listing_job(connection, protests)
        found = account(connection, protests)
        assert (found.status, found.reason) == ("uncertain", "nothing was asked about it yet")

    def test_entities_of_an_older_list_do_not_count(self, connection, protests):
        listed(connection, protests, "Rome", "Oslo", "Bern")
        listed(connection, protests, "Oslo")
        found = account(connection, protests)
        assert (found.listed, found.rows, found.status) == (1, 1, "complete")


class TestDocuments:
    def test_a_document_whose_cells_are_answered_is_complete(self, connection, grants):
        answer_all(connection, factories.job(connection, grants))
        found = account(connection, grants)
        assert (found.status, found.rows, found.listed, found.announced) == ("complete", 1, None, None)

    @pytest.mark.parametrize("planned", [True, False])
    def test_a_document_about_which_nothing_was_asked_is_uncertain(self, connection, grants, planned):
        if planned:
            factories.job(connection, grants)
        found = account(connection, grants)
        assert (found.status, found.rows, found.reason) == ("uncertain", 0, "nothing was asked about it yet")

    def test_a_document_without_text_is_failed(self, connection):
        project = factories.project(connection, "title")
        factories.failed_document(connection, project.id, "scan.pdf", "no_text")
        found = account(connection, project)
        assert (found.document, found.status, found.reason) == ("scan.pdf", "failed", "no_text")

    def test_stretches_that_two_variables_did_not_get_to_read_count_once(self, connection, grants):
        unread = (Unread(start=0, end=40, reason="too_long"),)
        answer_all(connection, factories.job(connection, grants), unread=unread)
        found = account(connection, grants)
        assert (found.status, found.unread) == ("truncated", 40)

    def test_a_cell_that_is_answered_later_takes_the_doubt_away(self, connection, grants):
        first = factories.job(connection, grants)
        for cell in pending(connection, first):
            cells.end(connection, cell.id, "failed", "truncated", "it is so")
        assert account(connection, grants).reason == "2 cells have no answer"
        answer_all(connection, factories.job(connection, grants, factories.options(model="openai:other")))
        assert account(connection, grants).status == "complete"
        assert account(connection, grants, first).status == "uncertain"

    def test_one_jobs_accounts_are_of_its_own_documents(self, connection, grants):
        chosen = factories.documents.of_project(connection, grants.id)
        factories.document(connection, grants.id, "b.pdf")
        job = factories.job(connection, grants, None, chosen)
        assert account(connection, grants, job).document == "a.pdf"
        names = [found.document for found in extractions.document_accounts(connection, grants.id)]
        assert names == ["a.pdf", "b.pdf"]

    def test_what_was_said_of_a_variable_that_left_the_codebook_does_not_count(self, connection, grants):
        job = factories.job(connection, grants)
        title, donor = pending(connection, job)
        factories.answer(connection, title.id)
        cells.end(connection, donor.id, "failed", "truncated", "it is so")
        factories.project(connection, "title")
        assert account(connection, grants).status == "complete"
