"""Cells that failed in a way that passes: how often, and when they are due again."""

import pytest

from db import cells, jobs
from tests import factories
from tests.factories import pending, stored_cell

DELAYS = (10.0, 100.0, 1000.0)


@pytest.fixture
def running(connection):
    """The id of a running job with three pending cells of one document."""
    project = factories.project(connection, "title", "donor", "amount")
    factories.document(connection, project.id)
    return factories.job(connection, project)


def waits(connection, job):
    """Seconds until each cell is due, in whole tens."""
    return [round(cell.wait, -1) for cell in pending(connection, job)]


def test_a_new_cell_is_due_at_once(connection, running):
    assert [cell.wait for cell in pending(connection, running)] == [0.0] * 3


def test_each_try_waits_for_its_delay_and_those_after_the_last_as_long_as_it(connection, running):
    cell = pending(connection, running)[0].id
    found = []
    for _ in range(4):
        found.append((cells.put_off(connection, [cell], DELAYS), waits(connection, running)[0]))
    assert found == [(1, 10), (2, 100), (3, 1000), (4, 1000)]


def test_cells_of_one_call_are_put_off_together_and_the_others_are_not(connection, running):
    first, second, third = (cell.id for cell in pending(connection, running))
    assert cells.put_off(connection, [first], DELAYS) == 1
    assert cells.put_off(connection, [first, second], DELAYS) == 2
    assert waits(connection, running) == [100, 10, 0]
    assert stored_cell(connection, third).tries == 0


def test_a_cell_whose_time_has_come_is_due_and_keeps_its_tries(connection, running):
    cell = pending(connection, running)[0].id
    cells.put_off(connection, [cell], [0])
    assert waits(connection, running)[0] == 0
    assert stored_cell(connection, cell).tries == 1


def test_a_cell_that_has_ended_meanwhile_is_not_put_off(connection, running):
    cell = pending(connection, running)[0].id
    cells.end(connection, cell, "failed", "truncated", "it is so")
    assert cells.put_off(connection, [cell], DELAYS) == 0
    assert stored_cell(connection, cell).not_before is None


def test_a_cell_put_off_is_pending_and_its_document_can_be_claimed(connection, running):
    cells.put_off(connection, [cell.id for cell in pending(connection, running)], DELAYS)
    assert jobs.counts(connection, running).pending == 3
    assert factories.workers.claimable(connection, running)


@pytest.mark.parametrize("status", ["failed", "skipped"])
def test_cells_that_are_reopened_begin_anew(connection, running, status):
    put_off, failed, answered = (cell.id for cell in pending(connection, running))
    cells.put_off(connection, [put_off, failed], DELAYS)
    cells.end(connection, failed, status, "provider_timeout", "it is so")
    factories.answer(connection, answered)
    assert cells.reopen_failed(connection, running) == 1
    again = stored_cell(connection, failed)
    assert (again.status, again.reason, again.detail) == ("pending", None, None)
    assert (again.tries, again.not_before) == (0, None)
    assert stored_cell(connection, put_off).tries == 1
    assert stored_cell(connection, answered).status == "extracted"
