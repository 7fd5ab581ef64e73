"""What a job would cost: said before it is started, exact where that can be known, and true when it has run."""

from pathlib import Path
from typing import Any

import pytest

from db.session import transaction
from tasks.estimate_job import TOKENS_PER_ENTITY, estimate_job
from tasks.job_figures import job_figures
from tests import factories
from tests.entity_corpus import ANNOUNCED_PATTERN, CODEBOOK, ENTITY_PATTERN, Kind, entity_document
from tests.factories import MODEL, options, variable
from tests.openai_server import OpenAIServer
from tests.tasks.jobs_here import (
    PROTEST_PATTERN,
    PROTEST_VARIABLES,
    PROTESTS,
    change,
    price,
    project,
    rows,
    run,
)
from winnow.exceptions import DefinitionError

FIVE = ["title", variable("amount", type="number"), "buyer", "seller", "place"]
SHORT = {f"{number}.txt": f"Contract {number} costs {number + 10} euros." for number in range(3)}
LONG = "\n\n".join(f"Paragraph {number} of the long contract costs {number + 3} euros." for number in range(700))
WHOLE = {f"{number}.txt": f"Contract {number}.\n\n{LONG[:3000]}" for number in range(3)}
BERLIN, PARIS = "Berlin on 2024-03-01 drew 900 people.", "Paris on 2024-05-01 drew 70 people."


@pytest.fixture(autouse=True)
def server(database: str, tmp_path: Path, model_server: OpenAIServer) -> OpenAIServer:
    price(tmp_path)
    model_server.configure(entity_pattern=PROTEST_PATTERN)
    return model_server


def estimated(**asked: Any) -> dict[str, Any]:
    return estimate_job("Grants", options(**asked))


def calls(**asked: Any) -> tuple[int, int]:
    """The calls at least, and at the most; of these a tenth is for those that are repeated."""
    found = estimated(**asked)
    return found["calls_low"], found["calls_high"]


def with_repeats(number: int) -> int:
    return -(-number * 110 // 100)


# Documents


@pytest.mark.parametrize(
    ("per_call", "expected"), [(1, 15), (2, 9), (4, 6), (5, 3), (0, 3)], ids=["one", "two", "four", "five", "all"]
)
def test_calls_are_exact_for_any_number_of_variables_per_call(
    server: OpenAIServer, per_call: int, expected: int
) -> None:
    project(*FIVE, texts=SHORT)

    assert calls(variables_per_call=per_call) == (expected, with_repeats(expected))
    run(variables_per_call=per_call)
    assert server.stats().requests == expected


def test_what_is_answered_is_not_estimated() -> None:
    of = project(*FIVE, texts=SHORT)
    run(variables=("title", "amount"))
    found = estimated()
    assert (found["documents"], found["cells"], found["answered"], found["calls_low"]) == (3, 15, 6, 9)

    run()
    with transaction() as connection:
        factories.document(connection, of, "new.txt")
    change(*FIVE[:4], variable("place", instructions="Where is it?"))
    found = estimated()
    assert (found["cells"], found["answered"], found["calls_low"]) == (20, 12, 8)
    run()
    found = estimated()
    assert (found["answered"], found["calls_high"], found["prompt_tokens_high"], found["cost_high"]) == (20, 0, 0, 0)


def test_a_sample_and_chosen_variables_are_estimated_alone() -> None:
    project(*FIVE, texts=SHORT)

    assert calls(kind="sample", sample=2, seed=1) == (10, 11)
    assert calls(variables=("title",)) == (3, 4)


def test_every_part_of_a_long_document_is_a_call(server: OpenAIServer) -> None:
    project("title", "buyer", texts={**SHORT, "long.txt": LONG}, chunking={"whole_up_to": 1000, "tokens": 700})
    fewest, most = calls()
    run()

    assert fewest == server.stats().requests > 20
    assert most == with_repeats(fewest)


def test_documents_of_the_same_text_are_estimated_once(server: OpenAIServer) -> None:
    of = project("title", "buyer", texts=SHORT)
    with transaction() as connection:
        factories.document(connection, of, "0.docx", text=SHORT["0.txt"], data="other bytes")

    assert (estimated()["cells"], calls()) == (8, (6, 7))
    run()
    assert server.stats().requests == 6


def test_variables_that_depend_on_others_may_need_no_call_or_one_each(server: OpenAIServer) -> None:
    dependent = [variable(name, depends_on=[{"variable": "amount"}]) for name in ("currency", "payer")]
    project(*FIVE[:2], *dependent, texts=SHORT)

    assert calls(variables_per_call=0) == (3, with_repeats(9))
    run(variables_per_call=0)
    assert 3 <= server.stats().requests <= 9


def test_nothing_is_stored_and_nothing_asked(server: OpenAIServer) -> None:
    project(*FIVE, texts=SHORT)
    estimated()
    estimated(kind="sample", sample=2)

    for table in ("job", "cell", "call", "extraction", "entity"):
        assert rows(f"SELECT * FROM {table}") == []
    assert server.stats().requests == 0


def test_without_a_price_there_is_no_cost_and_where_one_may_stand_is_said(tmp_path: Path) -> None:
    (tmp_path / "prices.yaml").unlink()
    project("title", texts=SHORT)

    found = estimated()
    assert (found["model"], found["cost_low"], found["cost_high"]) == (MODEL, None, None)
    assert found["prices"] == str(tmp_path / "prices.yaml")
    with pytest.raises(DefinitionError, match="no variable 'x'"):
        estimated(variables=("x",))


# Entities


def test_before_entities_are_listed_their_number_is_a_range_and_afterwards_exact(server: OpenAIServer) -> None:
    texts = {"a.txt": f"{BERLIN}\n\n{PARIS}\n\n" + "Nothing else happened in that year. " * 10, "b.txt": BERLIN}
    of = project(*PROTEST_VARIABLES, texts=texts, **PROTESTS)
    before = estimated()
    assert (before["cells"], before["answered"], before["unlisted"]) == (2, 0, 2)
    tokens = [row.tokens for row in rows("SELECT tokens FROM document ORDER BY id")]
    assert before["calls_low"] == 2 + 2 * 3
    assert before["calls_high"] == with_repeats(2 + 3 * sum(max(1, one // TOKENS_PER_ENTITY) for one in tokens))

    run(variables=("place",))
    assert calls(variables_per_call=1) == (6, 7)  # three protests, two variables of each
    assert calls(variables_per_call=0) == (3, 4)
    found = estimated()
    assert (found["cells"], found["answered"], found["unlisted"]) == (2 + 9, 2 + 3, 0)
    with transaction() as connection:
        factories.document(connection, of, "c.txt", text="Nothing happened.")
    assert (estimated()["unlisted"], estimated()["calls_low"]) == (1, 6 + 1 + 3)
    run()
    assert server.stats().requests == 2 + 3 + 6 + 1
    assert calls() == (0, 0)


def test_rows_are_never_estimated_together() -> None:
    texts = {"a.txt": f"{BERLIN}\n\n{PARIS}"}
    project(*PROTEST_VARIABLES, "demand", texts=texts, **PROTESTS)
    run(variables=("place",))

    assert calls(variables_per_call=2) == (4, 5)  # of each row two and then one


# The estimate and the truth

MEASURED = ("calls", "prompt_tokens", "completion_tokens", "cost")


def outside(found: dict[str, Any], job_id: int) -> dict[str, tuple[Any, ...]]:
    """The figures of a job that are not in the range that was estimated."""
    figures = job_figures(job_id)
    ranges = {name: (found[f"{name}_low"], figures[name], found[f"{name}_high"]) for name in MEASURED}
    return {name: values for name, values in ranges.items() if not values[0] <= values[1] <= values[2]}


@pytest.mark.parametrize("per_call", [1, 4, 0])
@pytest.mark.parametrize("texts", [SHORT, WHOLE, {"long.txt": LONG}], ids=["short", "whole", "long"])
def test_a_job_costs_what_was_estimated(texts: dict[str, str], per_call: int) -> None:
    project(*FIVE, texts=texts, chunking={"whole_up_to": 3000})
    found = estimated(variables_per_call=per_call)
    job = run(variables_per_call=per_call)

    assert job.counts.pending == job.counts.failed == 0
    assert outside(found, job.id) == {}


def test_a_job_with_calls_made_in_vain_costs_what_was_estimated(server: OpenAIServer) -> None:
    server.configure(script=["ok", "malformed"])
    project(*FIVE, texts=SHORT)
    found = estimated()
    job = run()

    assert server.stats().requests == 16
    assert outside(found, job.id) == {}


@pytest.mark.parametrize("per_call", [1, 0])
@pytest.mark.parametrize("kind", ["prose", "table", "mixed"])
def test_a_job_over_entities_costs_what_was_estimated(server: OpenAIServer, kind: Kind, per_call: int) -> None:
    server.configure(
        entity_pattern=ENTITY_PATTERN, announced_pattern=ANNOUNCED_PATTERN, identified_by=["place", "date"]
    )
    made = entity_document(25, seed=1, kind=kind)
    project(*CODEBOOK["variables"], texts={"a.txt": made.text}, unit_of_observation=CODEBOOK["unit_of_observation"])
    before = estimated(variables_per_call=per_call)
    listed = run(variables=("place",))
    after = estimated(variables_per_call=per_call)
    assert rows("SELECT count(*) FROM entity") == [(25,)]
    job = run(variables_per_call=per_call)

    assert outside(after, job.id) == {}
    first, second = job_figures(listed.id), job_figures(job.id)
    assert before["calls_low"] <= first["calls"] + second["calls"] <= before["calls_high"] + 25  # place was asked alone
    assert before["cost_low"] <= first["cost"] + second["cost"] <= before["cost_high"]
    assert job.counts.extracted == 1 + 25 * 4
