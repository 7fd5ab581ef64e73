"""What is asked again after a change, and what stored answers and replies are good for: nothing is bought twice."""

from typing import Any

import pytest
from sqlalchemy import Connection

from db import projects
from db.cells import PlannedCell
from db.session import transaction
from tasks.cell_plan import CellPlan, checked_key
from tests import factories
from tests.factories import MODEL, RULES, variable
from tests.openai_server import OpenAIServer
from tests.tasks.jobs_here import change, project, rows, run
from winnow.entities import FoundEntity
from winnow.extractions import Evidence, Place

LONG = "\n\n".join(f"Paragraph {number} of the long contract costs {number + 3} euros a day." for number in range(120))
TEXTS = {"short.txt": "Contract 1 costs 11 euros since 03/04/2006.", "long.txt": LONG}
SMALL = {"whole_up_to": 500, "tokens": 300, "overlap": 0.0}

pytestmark = pytest.mark.usefixtures("database")


def asked_again(server: OpenAIServer, **options: Any) -> dict[str, int]:
    """Run a job; how often each variable was asked for in it."""
    server.reset()
    job = run(**options)
    assert job.counts.pending == 0
    return server.stats().variables


def values(name: str) -> list[Any]:
    found = rows(
        """SELECT DISTINCT ON (document.id) extraction.values, extraction.flags FROM extraction
        JOIN document ON document.id = extraction.document_id JOIN prompt ON prompt.id = extraction.prompt_id
        JOIN variable ON variable.id = prompt.variable_id WHERE variable.name = :name
        ORDER BY document.id, extraction.id DESC""",
        name=name,
    )
    return [(row.values[0]["value"] if row.values else None, list(row.flags)) for row in found]


def test_nothing_changed_asks_nothing(model_server: OpenAIServer) -> None:
    project("title", "buyer", texts=TEXTS)
    assert asked_again(model_server) == {"title": 2, "buyer": 2}

    assert asked_again(model_server) == {}


def test_a_changed_variable_is_asked_alone(model_server: OpenAIServer) -> None:
    project("title", "buyer", texts=TEXTS)
    run()
    change("title", variable("buyer", instructions="Who pays?"))

    assert asked_again(model_server) == {"buyer": 2}


def test_added_documents_are_asked_alone(model_server: OpenAIServer) -> None:
    of = project("title", texts=TEXTS)
    run()
    with transaction() as connection:
        factories.document(connection, of, "new.txt")

    assert asked_again(model_server) == {"title": 1}


def test_another_model_is_asked_everything_and_the_first_nothing_more(model_server: OpenAIServer) -> None:
    project("title", "buyer", texts=TEXTS)
    run()

    assert asked_again(model_server, model="openai:another") == {"title": 2, "buyer": 2}
    assert asked_again(model_server) == {}


def test_a_changed_threshold_reads_the_stored_replies_again(model_server: OpenAIServer) -> None:
    project(variable("title"), texts=TEXTS)
    run()
    assert [flags for _, flags in values("title")] == [[], []]
    change(variable("title", confidence_threshold=1.0))

    assert asked_again(model_server) == {}
    assert [flags for _, flags in values("title")] == [["low_confidence"]] * 2


def test_a_changed_order_of_dates_is_told_to_the_model_and_asks_again(model_server: OpenAIServer) -> None:
    said = {"values": [{"value": "03/04/2006", "evidence": "since 03/04/2006"}]}
    model_server.configure(truth={"*": {"day": said}})
    day = variable("day", type="date")
    project(day, texts={"a.txt": TEXTS["short.txt"]}, date_order="DMY")
    run()
    assert values("day") == [("2006-04-03", [])]
    change(day, date_order="MDY")

    assert asked_again(model_server) == {"day": 1}
    assert values("day") == [("2006-03-04", [])]


def test_other_chunks_ask_again_about_the_documents_that_are_longer_alone(model_server: OpenAIServer) -> None:
    project(variable("title"), texts=TEXTS, chunking=SMALL)
    parts = asked_again(model_server)["title"] - 1
    assert parts > 2
    change(variable("title"), chunking={**SMALL, "tokens": 900})

    assert 2 <= asked_again(model_server)["title"] < parts
    change(variable("title"), chunking={**SMALL, "whole_up_to": 20_000})
    assert asked_again(model_server) == {"title": 1}


def test_another_group_of_variables_asks_nothing_that_is_answered(model_server: OpenAIServer) -> None:
    project("title", "buyer", texts=TEXTS)
    run(variables_per_call=0)

    assert asked_again(model_server, variables_per_call=1) == {}


# Keys


def plan(connection: Connection, *variables: Any, **more: Any) -> CellPlan:
    """The plan of a project."""
    of = factories.project(connection, *variables, **more)
    prompts = tuple(projects.prompts(connection, of.id))
    unit = projects.unit_prompt(connection, of.id)
    return CellPlan(model=MODEL, rules=RULES, codebook=of.codebook, prompts=prompts, unit=unit)


def keys(planned: list[PlannedCell]) -> list[str]:
    return [cell.question_key for cell in planned]


def test_cells_stand_in_their_order_with_keys_of_their_own(database: str) -> None:
    dependent = variable("sum", depends_on=[{"variable": "cap"}])
    with transaction() as connection:
        made = plan(connection, dependent, variable("cap"), variable("day", type="date"))
    planned = made.of_document(7, "hash", 100)

    assert [made.prompts[index].variable.name for index in (1, 2, 0)] == ["cap", "day", "sum"]
    assert [cell.prompt_id for cell in planned] == [made.prompts[index].id for index in (1, 2, 0)]
    assert [cell.layer for cell in planned] == [0, 0, 1]
    assert len(set(keys(planned))) == 3
    assert keys(made.of_document(8, "hash", 100)) == keys(planned)  # the same text in another document
    assert not set(keys(made.of_document(7, "other", 100))) & set(keys(planned))


def test_an_entity_is_another_question_where_its_name_or_its_place_is_another(database: str) -> None:
    def entity(name: str = "Berlin", quote: str = "In Berlin", start: int = 0) -> FoundEntity:
        proof = Evidence(quote=quote, mark="exact", places=(Place(start=start, end=start + 9),))
        return FoundEntity(key="k", name=name, evidence=(proof,))

    with transaction() as connection:
        unit = {"entity": "protest", "definition": "A gathering."}
        made = plan(connection, "place", unit_of_observation=unit)
    found = [entity(), entity(), entity("Paris"), entity(quote="near Berlin"), entity(start=9)]
    same, *others = (keys(made.of_entities(7, "hash", 100, [numbered])) for numbered in enumerate(found))

    assert others[0] == same
    assert len({key for (key,) in [same, *others]}) == 4
    (listing,) = made.of_document(7, "hash", 100)
    assert listing.prompt_id == made.unit.id if made.unit else False


def test_what_a_check_made_of_an_extraction_has_a_key_of_its_own() -> None:
    one, other = factories.extraction("1"), factories.extraction("2")

    assert len({"key", checked_key("key", one), checked_key("key", other), checked_key("another", one)}) == 4
    assert checked_key("key", one) == checked_key("key", factories.extraction("1"))
