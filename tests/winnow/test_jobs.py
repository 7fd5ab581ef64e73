"""Counts that add up, and samples that can be drawn again."""

from collections import Counter
from dataclasses import FrozenInstanceError, fields, replace
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from winnow.jobs import ENDED, UNFINISHED, CellRef, Counts, JobOptions, JobStatus, WorkItem, draw_sample

COUNTS = st.builds(Counts, **{field.name: st.integers(0, 10**6) for field in fields(Counts)})
IDS = st.lists(st.integers(1, 10**9), unique=True, max_size=60)
SEEDS = st.integers(0, 2**31 - 1)


def test_counts_are_of_every_status_a_cell_can_have() -> None:
    counts = Counts(pending=1, extracted=20, flagged=300, failed=4000, skipped=50000)

    assert (counts.total, counts.done) == (54321, 54320)
    assert (Counts().total, Counts().done) == (0, 0)


@settings(deadline=None, database=None)
@given(counts=COUNTS)
def test_what_is_done_and_what_is_pending_add_up(counts: Counts) -> None:
    assert counts.pending + counts.extracted + counts.flagged + counts.failed + counts.skipped == counts.total
    assert counts.done + counts.pending == counts.total


@settings(deadline=None, database=None)
@given(documents=IDS, size=st.integers(0, 80), seed=SEEDS)
def test_a_sample_holds_so_many_documents_each_once_in_the_order_given(
    documents: list[int], size: int, seed: int
) -> None:
    sample = draw_sample(documents, size, seed)

    assert len(sample) == min(size, len(documents))
    assert sample == [document for document in documents if document in set(sample)]


@settings(deadline=None, database=None)
@given(documents=IDS, size=st.integers(0, 80), seed=SEEDS)
def test_a_sample_is_the_same_again_in_whatever_order_documents_come(
    documents: list[int], size: int, seed: int
) -> None:
    assert draw_sample(documents, size, seed) == draw_sample(documents, size, seed)
    assert set(draw_sample(documents[::-1], size, seed)) == set(draw_sample(documents, size, seed))


def test_samples_stay_the_same_from_version_to_version() -> None:
    assert draw_sample(range(1, 101), 6, 42) == [4, 15, 32, 36, 82, 95]


def test_every_document_has_the_same_chance() -> None:
    often = Counter(document for seed in range(2000) for document in draw_sample(range(20), 5, seed))

    assert set(often) == set(range(20))
    assert all(400 < count < 600 for count in often.values())  # 500 expected, with a deviation of 19


def test_a_sample_of_nothing_is_empty() -> None:
    assert draw_sample([], 5, 1) == draw_sample([1, 2, 3], 0, 1) == []


def test_the_ids_that_are_sampled_stay_as_they_are() -> None:
    documents = [3, 1, 2]
    draw_sample(documents, 2, 1)

    assert documents == [3, 1, 2]


def test_requests_are_the_same_where_all_their_options_are() -> None:
    asked = JobOptions(kind="sample", model="baseline", variables=("a", "b"), sample=5, seed=1)

    assert asked == JobOptions(kind="sample", model="baseline", variables=("a", "b"), sample=5, seed=1)
    assert asked != JobOptions(kind="sample", model="baseline", variables=("a", "b"), sample=5, seed=2)
    assert asked != JobOptions(kind="sample", model="baseline", variables=("b", "a"), sample=5, seed=1)
    assert asked != replace(asked, budget=1.0)
    assert asked != replace(asked, variables_per_call=0)
    with pytest.raises(FrozenInstanceError):
        asked.seed = 2


def test_a_job_goes_on_with_another_budget_and_other_groups() -> None:
    asked = JobOptions(kind="full", model="baseline", variables=("a",), seed=1)

    assert replace(asked, variables_per_call=4, budget=2.5).task == asked.task == asked
    assert replace(asked, model="openai:gpt-5", budget=2.5).task != asked.task


def test_every_status_says_whether_the_job_may_go_on_or_has_ended() -> None:
    assert set(UNFINISHED) == {"pending", "running", "paused"}
    assert {*UNFINISHED, *ENDED} == set(get_args(JobStatus))
    assert not {*UNFINISHED} & {*ENDED}


def test_what_prefect_knows_of_a_cell_are_names_and_ids() -> None:
    assert [field.name for field in fields(CellRef)] == [
        "id", "document_id", "document", "variable", "prompt_id", "question_key", "entity_id", "entity", "layer",
        "pending", "checked", "unit", "wait",
    ]  # fmt: skip
    assert [field.name for field in fields(WorkItem)] == ["cells", "document", "variable", "check"]
