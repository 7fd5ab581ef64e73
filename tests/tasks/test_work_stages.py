"""The order of a job's task runs: what starts first, what waits for what, and which cells are asked together."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from db import cells, entities, extractions, projects
from db.session import transaction
from tasks.holdings import Holding
from tasks.job_context import opened
from tasks.plan_job import plan_job
from tasks.work_stages import Stages, documents_of, stages
from tests import factories
from tests.factories import MODEL, options, variable
from tests.openai_server import OpenAIServer
from tests.tasks.jobs_here import PROTEST_PATTERN, PROTEST_VARIABLES, PROTESTS, answer, context, project, run, worker_of
from winnow.entities import FoundEntity
from winnow.extractions import Evidence, Place
from winnow.jobs import CellRef, Job, WorkItem

FIVE = ["a", "b", "c", "d", "e"]
DEPENDENT = [
    variable("sum", depends_on=[{"variable": "cap"}]),
    "cap",
    variable("unit", depends_on=[{"variable": "sum"}]),
]


@pytest.fixture(autouse=True)
def _key(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary-0123456789")


def planned(*variables: Any, documents: int = 1, per_call: int = 1, **more: Any) -> Job:
    texts = {f"{number:02}.txt": f"Text {number}." for number in range(documents)}
    project(*variables, texts=texts, **more)
    return plan_job("Grants", options(variables_per_call=per_call))


def names(of: Iterable[list[WorkItem]]) -> list[list[str]]:
    """Stage after stage, what the Prefect UI calls the task runs."""
    return [[f"{item.document} · {item.variable}" for item in stage] for stage in of]


def of_all(job: Job) -> list[list[list[str]]]:
    """Document after document."""
    with opened(job, 1) as context:
        return [names(document) for document in documents_of(context)]


def of_one(job: Job) -> list[list[str]]:
    (document,) = of_all(job)
    return document


@contextmanager
def only_document(job: Job) -> Iterator[Stages]:
    """The stages of the job's document, one by one."""
    with opened(job, 1) as context:
        yield next(documents_of(context))


def test_the_first_item_of_each_document_goes_out_alone() -> None:
    job = planned("a", "b", "c", documents=2)

    assert of_all(job) == [[[f"{name} · a"], [f"{name} · b", f"{name} · c"]] for name in ("00.txt", "01.txt")]


def test_a_document_with_one_item_has_one_stage() -> None:
    assert of_one(planned("a")) == [["00.txt · a"]]


@pytest.mark.parametrize(
    ("per_call", "expected"),
    [
        (1, [["a"], ["b", "c", "d", "e"]]),
        (2, [["a, b"], ["c, d", "e"]]),
        (4, [["a, b, c and 1 more"], ["e"]]),
        (0, [["a, b, c and 2 more"]]),
        (7, [["a, b, c and 2 more"]]),
    ],
)
def test_so_many_variables_are_asked_together(per_call: int, expected: list[list[str]]) -> None:
    job = planned(*FIVE, per_call=per_call)
    with only_document(job) as document:
        made = list(document)

    assert [[item.variable for item in stage] for stage in made] == expected
    asked = [cell for stage in made for item in stage for cell in item.cells]
    with transaction() as connection:
        assert asked == [cell.id for cell in factories.pending(connection, job.id)]


def test_variables_wait_for_those_they_depend_on() -> None:
    assert of_one(planned(*DEPENDENT)) == [["00.txt · cap"], ["00.txt · sum"], ["00.txt · unit"]]


def test_layers_are_never_asked_together() -> None:
    job = planned("a", variable("b", depends_on=[{"variable": "a"}]), "c", per_call=0)

    assert of_one(job) == [["00.txt · a, c"], ["00.txt · b"]]


def test_checks_come_last_and_are_one_task_run_for_the_document() -> None:
    job = planned(
        "title", variable("low", type="number"), variable("high", type="number"), checks=[{"expression": "high >= low"}]
    )
    with only_document(job) as document:
        *asking, (checks,) = document

    assert names(asking) == [["00.txt · title"], ["00.txt · low", "00.txt · high"]]
    assert (checks.check, checks.variable, len(checks.cells)) == (True, "checks", 2)
    assert not any(item.check for stage in asking for item in stage)


def test_what_is_answered_is_left_out_and_a_document_without_work_too() -> None:
    job = planned("a", "b", documents=3)
    answer(job, 3)

    assert of_all(job) == [
        [["01.txt · b"]],
        [["02.txt · a"], ["02.txt · b"]],
    ]


def test_a_row_that_is_answered_but_not_checked_is_checked() -> None:
    job = planned(variable("low", type="number"), checks=[{"expression": "low >= 0"}])
    answer(job)

    assert of_one(job) == [["00.txt · checks"]]


def test_all_documents_come_in_their_order_however_many_there_are() -> None:
    job = planned("a", documents=70)

    assert of_all(job) == [[[f"{number:02}.txt · a"]] for number in range(70)]


def test_a_job_with_nothing_left_has_no_stages() -> None:
    job = planned("a")
    answer(job)

    assert of_all(job) == []


# Entities


def entity_cell(number: int, entity: str, name: str, layer: int = 0) -> CellRef:
    return CellRef(
        id=number, document_id=1, document="a.txt", variable=name, prompt_id=1, question_key=f"{entity} {name}",
        entity=entity, layer=layer,
    )  # fmt: skip


def of_cells(*given: CellRef, **asked: Any) -> list[list[str]]:
    """The stages of a document with these open cells."""
    with context(**asked) as made:
        return names(stages(made, Holding(1, worker_of(made), 0, {cell.id: cell for cell in given})))


def listed(cell: int, *keys: str, name: str = "Berlin") -> None:
    """What the task run does that lists a document's entities."""
    proof = (Evidence(quote="A protest.", mark="exact", places=(Place(start=0, end=10),)),)
    with transaction() as connection:
        work = factories.stored_cell(connection, cell)
        found = [FoundEntity(key=key, name=name, evidence=proof) for key in keys]
        ids = entities.save(connection, work.document_id, found)
        extractions.save(
            connection, factories.extraction("x"), cell_id=cell, question_key=work.question_key,
            document_id=work.document_id, prompt_id=work.prompt_id, entity_id=None, model=MODEL, call_ids=[],
            entity_ids=ids,
        )  # fmt: skip
        rows = factories.planned_entities(projects.prompts(connection, 1), work.document_id, ids)
        cells.plan_entities(connection, work.job_id, work.document_id, rows)


def test_the_list_of_entities_comes_first_and_then_their_rows_named_by_their_ids() -> None:
    """What an entity is called stands in the document, and the Prefect UI shows nothing of that."""
    job = planned(*PROTEST_VARIABLES, per_call=2, **PROTESTS)
    with only_document(job) as document:
        (item,) = next(document)
        assert (item.document, item.variable) == ("00.txt", "protest")
        listed(item.cells[0], "0123456789abcdef", "fedcba9876543210")
        ((*first, third, last),) = names(document)

    assert first == ["00.txt · 01234567 · place, date", "00.txt · 01234567 · crowd"]
    assert (third, last) == ("00.txt · fedcba98 · place, date", "00.txt · fedcba98 · crowd")


def test_rows_are_never_asked_together() -> None:
    planned("a")
    rows = [entity_cell(1, "Berlin", "a"), entity_cell(2, "Paris", "a"), entity_cell(3, "Paris", "b")]

    assert of_cells(*rows) == [["a.txt · Berlin · a"], ["a.txt · Paris · a", "a.txt · Paris · b"]]
    assert of_cells(*rows, variables_per_call=0) == [["a.txt · Berlin · a"], ["a.txt · Paris · a, b"]]


def test_rows_of_entities_with_the_same_name_are_not_asked_together() -> None:
    """Two entities may be worded alike and still be two."""
    job = planned(*PROTEST_VARIABLES, per_call=0, **PROTESTS)
    with only_document(job) as document:
        (item,) = next(document)
        listed(item.cells[0], "one", "two", name="Berlin")
        (stage,) = document

    assert [len(item.cells) for item in stage] == [3, 3]


def test_layers_of_rows_wait_for_one_another() -> None:
    planned("a")
    rows = [
        entity_cell(1, "Berlin", "a"), entity_cell(2, "Berlin", "b", 1),
        entity_cell(3, "Paris", "a"), entity_cell(4, "Paris", "b", 1),
    ]  # fmt: skip

    assert of_cells(*rows, variables_per_call=0) == [
        ["a.txt · Berlin · a"],
        ["a.txt · Paris · a"],
        ["a.txt · Berlin · b", "a.txt · Paris · b"],
    ]


def test_a_whole_run_asks_in_this_order(model_server: OpenAIServer) -> None:
    model_server.configure(entity_pattern=PROTEST_PATTERN)
    texts = {"a.txt": "Berlin on 2024-03-01 drew 900 people.\n\nParis on 2024-05-01 drew 70 people."}
    project(*PROTEST_VARIABLES, texts=texts, **PROTESTS)
    job = run(slots=1)

    assert (job.status, job.counts.extracted) == ("completed", 7)
    asked = [(line["entity"], line["variables"]) for line in model_server.requests()]
    assert asked == [(None, ["number of protest", "protest"])] + [
        (entity, [name])
        for entity in ("Berlin | 2024-03-01", "Paris | 2024-05-01")
        for name in ("place", "date", "crowd")
    ]
