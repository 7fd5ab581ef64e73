"""The plan of a job: what stands in the database before the first call, and what a wrong request leaves there."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select, text, update

from db import calls, cells, documents, entities, extractions, jobs, projects, tables
from db.session import transaction
from tasks.lease import leased
from tasks.models import TEMPERATURES
from tasks.plan_job import check_request, plan_job
from tests import factories
from tests.factories import MODEL, options, variable
from tests.tasks.jobs_here import PROTEST_VARIABLES, PROTESTS, answer, working
from winnow.entities import FoundEntity
from winnow.exceptions import BusyError, DefinitionError, ModelSetupError, NothingToDoError, UnknownProjectError
from winnow.extractions import Evidence, Place
from winnow.jobs import Counts, Job, JobOptions
from winnow.prompts import RULES

TYPED = [
    variable("title"),
    variable("amount", type="number"),
    variable("day", type="date"),
    variable("open", type="boolean"),
    variable("field", type="category", categories=[{"value": "law"}]),
]


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key, so that the model can be set up; no server, so that a call would fail."""
    monkeypatch.setenv("OPENAI_API_KEY", "canary-0123456789")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")


@pytest.fixture
def grants(database: str) -> int:
    """A project with the variables `title` and `amount` and three documents. Its value is its id."""
    return project("title", variable("amount", type="number"), documents=3)


def project(*variables: Any, name: str = "Grants", documents: int = 0, **more: Any) -> int:
    with transaction() as connection:
        made = factories.project(connection, *variables, name=name, **more)
        for number in range(documents):
            factories.document(connection, made.id, f"{number}.pdf")
    return made.id


def add_document(project_id: int, name: str, **more: Any) -> int:
    with transaction() as connection:
        return factories.document(connection, project_id, name, **more)


def change(*variables: Any, **more: Any) -> None:
    """Apply a codebook again."""
    with transaction() as connection:
        factories.project(connection, *variables, **more)


def cancelled(job: Job) -> Job:
    """The job as it was planned, out of the way of the project's next one."""
    with transaction() as connection:
        factories.set_status(connection, job.id, "cancelled", "by a person")
    return job


def finish(job: Job) -> Job:
    with transaction() as connection:
        jobs.start(connection, job.id)
        jobs.finish(connection, job.id)
        return jobs.get(connection, job.id)


def status(job: Job) -> tuple[str, str | None]:
    with transaction() as connection:
        stored = jobs.get(connection, job.id)
    return stored.status, stored.reason


def rows(query: str) -> list[Any]:
    with transaction() as connection:
        return list(connection.execute(text(query)))


def planned(job: Job) -> dict[tuple[str, str], str]:
    """A job's cells: their keys by document and variable, and by entity where it has some."""
    found = rows(f"""
        SELECT document.name AS document, variable.name AS variable, entity.name AS entity, cell.question_key FROM cell
        JOIN document ON document.id = cell.document_id JOIN prompt ON prompt.id = cell.prompt_id
        JOIN variable ON variable.id = prompt.variable_id LEFT JOIN entity ON entity.id = cell.entity_id
        WHERE cell.job_id = {job.id} ORDER BY cell.id
    """)
    return {(row.entity or row.document, row.variable): row.question_key for row in found}


def pending(job: Job) -> list[tuple[str, str]]:
    with transaction() as connection:
        return [(cell.document, cell.variable) for cell in factories.pending(connection, job.id)]


def events(job: Job) -> list[str]:
    return [row.event for row in rows(f"SELECT event FROM job_event WHERE job_id = {job.id} ORDER BY id")]


# The plan


def test_all_cells_stand_in_the_database_before_any_call(grants: int) -> None:
    job = plan_job("Grants", options())

    assert (job.status, job.project, job.options) == ("pending", "Grants", options())
    assert job.counts == Counts(pending=6)
    assert list(planned(job)) == [(f"{number}.pdf", name) for number in range(3) for name in ("title", "amount")]
    assert rows("SELECT * FROM call") == []
    assert events(job) == ["created"]


def test_documents_that_could_not_be_read_have_no_cells(grants: int) -> None:
    with transaction() as connection:
        factories.failed_document(connection, grants)

    assert plan_job("Grants", options()).counts.total == 6


def test_other_projects_are_left_out(grants: int) -> None:
    project("sender", name="Letters", documents=2)

    assert {name for _, name in planned(plan_job("Letters", options()))} == {"sender"}
    assert plan_job("Grants", options()).counts.total == 6


def test_the_flow_run_and_the_rules_are_noted(database: str) -> None:
    project("title", documents=1, domain="research funding")
    job = plan_job("Grants", options(), "run-1")

    (stored,) = rows(f"SELECT flow_run_id, rules, model FROM job WHERE id = {job.id}")
    assert stored.rules == f'{RULES}\n\nThe corpus: {{"domain": "research funding"}}'
    assert (stored.flow_run_id, stored.model) == ("run-1", MODEL)


def test_a_projects_name_may_be_spelled_in_another_case(grants: int) -> None:
    assert plan_job("  grants", options()).id == plan_job("GRANTS", options()).id


def test_variables_are_chosen_by_name_in_any_spelling_and_asked_in_the_codebooks_order(grants: int) -> None:
    job = cancelled(plan_job("Grants", options(variables=("AMOUNT", " title ", "amount"))))

    assert [name for _, name in planned(job)] == ["title", "amount"] * 3
    assert {name for _, name in planned(plan_job("Grants", options(variables=("amount",))))} == {"amount"}


def test_every_document_and_variable_has_a_key_of_its_own(database: str) -> None:
    project(*TYPED, documents=4)
    keys = planned(plan_job("Grants", options())).values()

    assert len(set(keys)) == 4 * len(TYPED)


def test_the_key_changes_with_the_model_and_the_temperature(grants: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def keys(model: str = MODEL) -> dict[tuple[str, str], str]:
        return planned(cancelled(plan_job("Grants", options(model=model))))

    before = keys()
    assert set(before.values()).isdisjoint(keys("openai:another").values())
    assert keys() == before
    monkeypatch.setitem(TEMPERATURES, "number", 0.9)
    assert {cell for cell, key in keys().items() if key != before[cell]} == {(f"{n}.pdf", "amount") for n in range(3)}


def test_documents_with_the_same_text_share_a_call(grants: int) -> None:
    add_document(grants, "letter.docx", text="One text.", data="as DOCX")
    add_document(grants, "letter.pdf", text="One text.", data="as PDF")
    job = plan_job("Grants", options())
    keys = planned(job)

    assert keys["letter.docx", "title"] == keys["letter.pdf", "title"]
    assert keys["letter.docx", "title"] != keys["letter.docx", "amount"]


# What was answered before


def test_cells_that_were_answered_before_are_settled_without_a_call(grants: int) -> None:
    first = plan_job("Grants", options())
    answer(first)
    assert finish(first).status == "completed"

    again = plan_job("Grants", options())
    assert again.id != first.id
    assert again.counts == Counts(extracted=6)
    assert len(rows("SELECT * FROM call")) == 6


def test_flagged_cells_are_settled_as_flagged(grants: int) -> None:
    first = plan_job("Grants", options())
    with working(first) as connection:
        for cell in factories.pending(connection, first.id):
            factories.answer(connection, cell.id, factories.extraction("Ada", "low_confidence"))
    finish(first)

    assert plan_job("Grants", options()).counts == Counts(flagged=6)


def test_a_sample_pays_for_its_part_of_the_whole(grants: int) -> None:
    sample = plan_job("Grants", options("sample", sample=1))
    answer(sample)
    finish(sample)

    assert plan_job("Grants", options()).counts == Counts(extracted=2, pending=4)


def test_a_changed_variable_is_asked_again_and_no_other(grants: int) -> None:
    first = plan_job("Grants", options())
    answer(first)
    finish(first)
    change("title", variable("amount", type="number", instructions="The amount in euro."))

    again = plan_job("Grants", options())
    assert again.counts == Counts(extracted=3, pending=3)
    assert pending(again) == [(f"{number}.pdf", "amount") for number in range(3)]
    before = planned(first)
    assert {cell for cell, keys in planned(again).items() if keys != before[cell]} == set(pending(again))


def test_a_new_variable_is_asked_alone_and_a_removed_one_not_at_all(grants: int) -> None:
    first = plan_job("Grants", options())
    answer(first)
    finish(first)
    change("title", "grantee")

    again = plan_job("Grants", options())
    assert again.counts == Counts(extracted=3, pending=3)
    assert {name for _, name in pending(again)} == {"grantee"}


def test_a_rule_that_no_model_sees_is_applied_anew(grants: int) -> None:
    first = plan_job("Grants", options())
    answer(first)
    finish(first)
    change("title", variable("amount", type="number", default=0, confidence_threshold=0.99))

    again = plan_job("Grants", options())
    assert planned(again) == planned(first)
    assert again.counts == Counts(extracted=3, pending=3)
    assert {name for _, name in pending(again)} == {"amount"}


def test_what_the_codebook_says_about_the_corpus_is_part_of_every_question(grants: int) -> None:
    first = plan_job("Grants", options())
    answer(first)
    finish(first)
    change("title", variable("amount", type="number"), domain="research funding")

    again = plan_job("Grants", options())
    assert again.counts == Counts(pending=6)
    assert set(planned(again).values()).isdisjoint(planned(first).values())


# Cells without an answer


def test_a_cell_whose_reply_could_not_be_read_is_asked_again_by_the_next_job(grants: int) -> None:
    first = plan_job("Grants", options())
    with working(first) as connection:
        spoiled, *others = factories.pending(connection, first.id)
        factories.make_unusable(connection, spoiled.id)
        for cell in others:
            factories.answer(connection, cell.id)
    assert finish(first).status == "completed_with_errors"

    again = plan_job("Grants", options())
    assert planned(again) == planned(first)
    assert again.counts == Counts(pending=1, extracted=5)
    assert pending(again) == [(spoiled.document, spoiled.variable)]


def test_cells_that_failed_without_a_reply_are_asked_again_by_the_next_job(grants: int) -> None:
    first = plan_job("Grants", options())
    with working(first) as connection:
        for cell in factories.pending(connection, first.id):
            calls.keep_failure(connection, factories.intend(connection, cell.id), "provider_unavailable")
            cells.end(connection, cell.id, "failed", "provider_unavailable", "the provider answered 500")
    finish(first)

    again = plan_job("Grants", options())
    assert planned(again) == planned(first)
    assert again.counts == Counts(pending=6)


# Layers, checks and entities

DEPENDENT = [
    variable("cap", type="boolean"),
    variable("sum", type="number", depends_on=[{"variable": "cap", "condition": "equals", "value": True}]),
    variable("currency", depends_on=[{"variable": "sum"}]),
    variable("day", type="date"),
]


def layered(job: Job) -> list[Any]:
    return rows(f"""
        SELECT variable.name, cell.layer, cell.checked FROM cell JOIN prompt ON prompt.id = cell.prompt_id
        JOIN variable ON variable.id = prompt.variable_id WHERE cell.job_id = {job.id} ORDER BY cell.id
    """)


def test_variables_stand_in_the_layer_below_those_they_depend_on(database: str) -> None:
    project(*DEPENDENT, documents=1)
    layers = {name: layer for name, layer, _ in layered(plan_job("Grants", options()))}

    assert layers == {"cap": 0, "day": 0, "sum": 1, "currency": 2}


def test_asking_for_a_variable_asks_for_those_it_depends_on_too(database: str) -> None:
    project(*DEPENDENT, documents=2)

    assert {name for _, name in planned(cancelled(plan_job("Grants", options(variables=("Currency",)))))} == {
        "cap",
        "sum",
        "currency",
    }
    assert {name for _, name in planned(plan_job("Grants", options(variables=("cap", "day"))))} == {"cap", "day"}


def test_a_changed_parent_is_asked_again_with_all_that_depends_on_it(database: str) -> None:
    project(*DEPENDENT, documents=2)
    first = plan_job("Grants", options())
    answer(first)
    finish(first)
    cap, total, *others = DEPENDENT
    change(cap, {**total, "instructions": "The sum in euro."}, *others)

    again = plan_job("Grants", options())
    assert again.counts == Counts(extracted=4, pending=4)
    assert {name for _, name in pending(again)} == {"sum", "currency"}


def test_the_variables_of_checks_wait_for_their_row(database: str) -> None:
    checks = [{"expression": "end >= begin", "message": "ends before it begins"}]
    project("title", variable("begin", type="date"), variable("end", type="date"), documents=1, checks=checks)

    assert [(name, checked) for name, _, checked in layered(plan_job("Grants", options()))] == [
        ("title", True),
        ("begin", False),
        ("end", False),
    ]


def listed(job: Job, *names: str) -> None:
    """Answer the cell of a job that lists the entities of its first document."""
    proof = (Evidence(quote="A protest.", mark="exact", places=(Place(start=0, end=10),)),)
    found = [FoundEntity(key=f"key of {name}", name=name, evidence=proof) for name in names]
    with transaction() as connection:
        work = factories.pending(connection, job.id)[0]
        ids = entities.save(connection, work.document_id, found)
        extractions.save(
            connection, factories.extraction(names[0]), cell_id=work.id, question_key=work.question_key,
            document_id=work.document_id, prompt_id=work.prompt_id, entity_id=None, model=MODEL, call_ids=[],
            entity_ids=ids,
        )  # fmt: skip


def test_where_rows_are_entities_their_lists_are_planned_and_then_the_rows_of_those_listed_before(
    database: str,
) -> None:
    project(*PROTEST_VARIABLES, documents=2, **PROTESTS)
    first = plan_job("Grants", options())
    assert pending(first) == [("0.pdf", "protest"), ("1.pdf", "protest")]
    listed(first, "Berlin | 2024-03-01", "Paris | 2024-05-01")

    for asked in (options(), options(variables=("crowd",))):
        job = cancelled(plan_job("Grants", asked))
        assert job.counts.extracted == 1
        names = ["place", "date", "crowd"] if not job.options.variables else ["crowd"]
        assert [cell for cell in planned(job) if cell[1] != "protest"] == [
            (entity, name) for entity in ("Berlin | 2024-03-01", "Paris | 2024-05-01") for name in names
        ]
        assert pending(job)[0] == ("0.pdf", names[0])
        assert pending(job)[-1] == ("1.pdf", "protest")


# Going on with a job


def test_the_same_request_goes_on_with_the_unfinished_job(grants: int) -> None:
    first = plan_job("Grants", options(), "run-1")
    answer(first, 2)
    with transaction() as connection:
        factories.set_status(connection, first.id, "paused", "the key is wrong")

    again = plan_job("Grants", options(), "run-2")
    assert (again.id, again.status, again.reason) == (first.id, "pending", None)
    assert again.counts == Counts(extracted=2, pending=4)
    assert planned(again) == planned(first)
    assert events(again) == ["created", "running", "paused", "resumed"]
    assert rows("SELECT flow_run_id FROM job") == [("run-2",)]


def test_what_was_extracted_and_failed_in_it_stays_so(grants: int) -> None:
    first = plan_job("Grants", options())
    answer(first, 2)
    with working(first) as connection:
        factories.make_unusable(connection, factories.pending(connection, first.id)[0].id)

    assert plan_job("Grants", options()).counts == Counts(extracted=2, failed=1, pending=3)


def test_it_follows_the_codebook_and_the_documents_of_today(grants: int) -> None:
    first = plan_job("Grants", options())
    answer(first, 2)  # both of 0.pdf
    add_document(grants, "3.pdf")
    change("title", "grantee")

    again = plan_job("Grants", options())
    assert again.id == first.id
    assert pending(again) == [
        ("0.pdf", "grantee"),
        *((f"{number}.pdf", name) for number in (1, 2, 3) for name in ("title", "grantee")),
    ]
    assert again.counts.extracted == 2


def test_a_changed_prompt_replaces_what_is_pending_in_it(grants: int) -> None:
    first = plan_job("Grants", options())
    before = planned(first)
    change("title", variable("amount", type="number", instructions="The amount in euro."))

    again = plan_job("Grants", options())
    assert again.id == first.id
    assert again.counts == Counts(pending=6)
    assert {cell for cell, keys in planned(again).items() if keys != before[cell]} == {
        (f"{number}.pdf", "amount") for number in range(3)
    }


def test_a_plan_that_has_not_changed_is_not_made_again(grants: int, monkeypatch: pytest.MonkeyPatch) -> None:
    first = plan_job("Grants", options())
    answer(first, 2)
    monkeypatch.setattr(cells, "plan", None)
    again = plan_job("Grants", options())
    assert (again.id, again.counts) == (first.id, Counts(extracted=2, pending=4))


def update_a_document(values: str) -> Callable[[int], None]:
    def update(_: int) -> None:
        with transaction() as connection:
            connection.execute(text(f"UPDATE document SET {values} WHERE name = '1.pdf'"))

    return update


@pytest.mark.parametrize(
    "changes",
    [
        lambda project: add_document(project, "3.pdf"),
        update_a_document("text_hash = 'another'"),
        update_a_document("tokens = 1000000"),
        update_a_document("status = 'failed', reason = 'empty', text = NULL"),
        lambda _: change("title"),
        lambda _: change("title", variable("amount", type="number", unit="EUR")),
        lambda _: change("title", variable("amount", type="number"), domain="Grants of the state."),
        lambda _: change("title", variable("amount", type="number"), language="de"),
        lambda _: change("title", variable("amount", type="number"), chunking={"whole_up_to": 500}),
        lambda _: change("title", variable("amount", type="number"), checks=[{"expression": "amount > 0"}]),
    ],
)
def test_whatever_the_cells_are_planned_from_is_in_the_plans_key(grants: int, changes: Any) -> None:
    keys = [plan_key(plan_job("Grants", options()))]
    changes(grants)
    keys += [plan_key(plan_job("Grants", options())) for _ in range(2)]
    assert keys[0] != keys[1] == keys[2]


def test_rows_that_were_entities_for_a_while_are_planned_again(database: str) -> None:
    project(*PROTEST_VARIABLES, documents=2)
    first = planned(plan_job("Grants", options()))
    change(*PROTEST_VARIABLES, **PROTESTS)
    assert len(planned(plan_job("Grants", options()))) == 2
    change(*PROTEST_VARIABLES)

    assert planned(plan_job("Grants", options())) == first


def plan_key(job: Job) -> str:
    ((key,),) = rows(f"SELECT plan_key FROM job WHERE id = {job.id}")
    assert isinstance(key, str)
    return key


@pytest.mark.parametrize("ended", ["completed", "completed_with_errors", "failed", "cancelled"])
def test_a_job_that_has_ended_is_not_gone_on_with(grants: int, ended: Any) -> None:
    first = plan_job("Grants", options())
    with transaction() as connection:
        factories.set_status(connection, first.id, ended)

    assert plan_job("Grants", options()).id != first.id
    assert status(first)[0] == ended


def test_many_who_ask_for_the_same_at_once_get_one_job(grants: int) -> None:
    together = threading.Barrier(6)

    def go(_: int) -> int:
        together.wait()
        return plan_job("Grants", options()).id

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(go, range(6)))) == 1
    assert rows("SELECT count(*) FROM job") == [(1,)]
    assert rows("SELECT count(*) FROM cell") == [(6,)]


# Other jobs


@pytest.mark.parametrize(
    "other", [options(model="openai:another"), options(variables=("title",))], ids=["model", "variables"]
)
def test_another_full_job_is_refused_until_the_first_has_ended(grants: int, other: JobOptions) -> None:
    first = plan_job("Grants", options())
    with transaction() as connection:
        factories.set_status(connection, first.id, "paused", "the key is wrong")
    with pytest.raises(BusyError, match=rf"Job {first.id} .* `winnow resume {first.id}`.*`winnow cancel {first.id}`"):
        plan_job("Grants", other)

    with transaction() as connection:
        factories.set_status(connection, first.id, "cancelled", "by a person")
    assert status(plan_job("Grants", other)) == ("pending", None)
    assert events(first)[-1] == "cancelled"


def test_jobs_of_another_kind_or_project_go_on(grants: int) -> None:
    project("sender", name="Letters", documents=1)
    others = [plan_job("Grants", options("sample", sample=1)), plan_job("Letters", options(variables=("sender",)))]
    plan_job("Grants", options())

    assert [status(other)[0] for other in others] == ["pending", "pending"]


def test_a_sample_that_is_being_run_is_not_cancelled(grants: int) -> None:
    running = plan_job("Grants", options("sample", sample=1, seed=1))
    with leased(running.id):
        plan_job("Grants", options("sample", sample=1, seed=2))
        assert status(running) == ("pending", None)


# Samples


def drawn(job: Job) -> list[str]:
    return sorted({document for document, _ in planned(job)})


@pytest.fixture
def corpus(database: str) -> int:
    return project("title", documents=40)


def test_a_sample_has_so_many_documents_and_its_seed_is_stored(corpus: int) -> None:
    job = plan_job("Grants", options("sample", sample=7))

    assert len(drawn(job)) == job.counts.total == 7
    assert job.options.seed is not None
    assert job.options == options("sample", sample=7, seed=job.options.seed)


def test_a_sample_is_drawn_anew_each_time_and_the_same_again_from_its_seed(corpus: int) -> None:
    samples = []
    for _ in range(3):
        samples.append(plan_job("Grants", options("sample", sample=7)))
        with transaction() as connection:
            factories.set_status(connection, samples[-1].id, "cancelled")
    again = plan_job("Grants", samples[0].options)

    assert len({tuple(drawn(sample)) for sample in samples}) > 1
    assert again.id != samples[0].id
    assert drawn(again) == drawn(samples[0])
    assert again.options == samples[0].options


def test_an_unfinished_sample_is_gone_on_with_whatever_its_seed(corpus: int) -> None:
    first = plan_job("Grants", options("sample", sample=7))
    again = plan_job("Grants", options("sample", sample=7))

    assert (again.id, again.options.seed, drawn(again)) == (first.id, first.options.seed, drawn(first))
    assert plan_job("Grants", first.options).id == first.id
    assert plan_job("Grants", options("sample", sample=8)).id != first.id


def test_another_seed_is_another_sample(corpus: int) -> None:
    one, two = (
        plan_job("Grants", options("sample", sample=7, seed=1)),
        plan_job("Grants", options("sample", sample=7, seed=2)),
    )

    assert drawn(one) != drawn(two)
    assert status(one) == ("cancelled", f"superseded by job {two.id}")


def test_documents_that_come_later_do_not_change_an_unfinished_sample(corpus: int) -> None:
    asked = options("sample", sample=7, seed=1)
    before = drawn(plan_job("Grants", asked))
    for number in range(40, 60):
        add_document(corpus, f"{number}.pdf")

    assert drawn(plan_job("Grants", asked)) == before
    assert drawn(plan_job("Grants", options("sample", sample=7, seed=1, variables=("title",)))) != before  # a new job


def test_a_sample_of_more_than_there_is_takes_all(grants: int) -> None:
    assert len(drawn(plan_job("Grants", options("sample", sample=1000)))) == 3


def test_the_whole_has_no_seed(grants: int) -> None:
    assert plan_job("Grants", options()).options.seed is None


# Wrong requests


def everything() -> list[Any]:
    """Every row of every table."""
    with transaction() as connection:
        return [list(connection.execute(select(table))) for table in tables.Base.metadata.sorted_tables]


@pytest.fixture
def unchanged(database: str) -> Iterator[None]:
    """Projects for each mistake, an unfinished job, and the proof that nothing of it all was changed."""
    project("title", documents=2)
    project(name="Bare", documents=1)
    with transaction() as connection:
        connection.execute(
            update(tables.Variable.__table__).where(tables.Variable.project_id == 2).values(position=None)
        )
    project("title", name="Empty")
    failing = project("title", name="Unreadable")
    with transaction() as connection:
        factories.failed_document(connection, failing)
    plan_job("Grants", options(variables=("title",)))
    before = everything()
    assert sum(map(len, before)) > 15
    yield
    assert everything() == before


WRONG: dict[str, tuple[str, JobOptions, type[DefinitionError], list[str]]] = {
    "unknown project": ("Gants", options(), UnknownProjectError, ["'Gants'", "Known projects:", "Grants"]),
    "unknown variable": (
        "Grants",
        options(variables=("title", "amuont", "x")),
        DefinitionError,
        ["no variable 'amuont', 'x'", "It has: title."],
    ),
    "no variables": ("Bare", options(), NothingToDoError, ["'Bare' has no variables", "winnow apply"]),
    "no documents": ("Empty", options(), NothingToDoError, ["it has no documents", "winnow ingest 'Empty'"]),
    "nothing readable": ("Unreadable", options(), NothingToDoError, ["none of its documents could be read"]),
    "budget without a price": (
        "Grants",
        options(budget=5.0),
        DefinitionError,
        [f"no price for '{MODEL}'", "prices.yaml", "without --budget"],
    ),
    "unknown provider": ("Grants", options(model="opnai:x"), ModelSetupError, ["not known"]),
    "no provider": ("Grants", options(model="x"), ModelSetupError, ["has no provider"]),
}


@pytest.mark.parametrize(("name", "asked", "kind", "words"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("asks", [plan_job, check_request])
@pytest.mark.usefixtures("unchanged")
def test_a_wrong_request_says_what_to_do_and_changes_nothing(
    asks: Any, name: str, asked: JobOptions, kind: type[DefinitionError], words: list[str]
) -> None:
    with pytest.raises(kind) as raised:
        asks(name, asked)
    assert [word for word in words if word not in str(raised.value)] == []


@pytest.mark.usefixtures("unchanged")
def test_a_request_without_a_key_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ModelSetupError, match="OPENAI_API_KEY"):
        plan_job("Grants", options(model="openai:another"))


@pytest.mark.usefixtures("unchanged")
def test_a_right_request_that_is_only_checked_changes_nothing() -> None:
    check_request("Grants", options(variables=("title",)))


def test_a_job_that_is_being_run_is_not_planned_again(grants: int) -> None:
    running = plan_job("Grants", options(), "run-1")
    answer(running, 2)
    before = everything()
    with leased(running.id), pytest.raises(BusyError, match=f"Job {running.id} is being run"):
        plan_job("Grants", options(), "run-2")

    assert everything() == before
    assert plan_job("Grants", options()).id == running.id


def test_documents_that_are_gone_leave_nothing_to_do(grants: int) -> None:
    plan_job("Grants", options())
    with transaction() as connection:
        connection.execute(tables.Document.__table__.delete())
        assert documents.of_project(connection, grants) == []
        assert projects.prompts(connection, grants) != []

    with pytest.raises(NothingToDoError, match="it has no documents"):
        plan_job("Grants", options())
