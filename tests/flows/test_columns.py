"""Which calls a job makes, and which it need not make: one column again, calls bought once, layers, checks, parts."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import get_current_settings

from tests.factories import variable
from tests.flows.conftest import MODEL, Make, add, apply, dataset, rows, run, values
from tests.openai_server import OpenAIServer

# One column again


def test_each_run_asks_only_what_is_new(project: Make, model_server: OpenAIServer, tmp_path: Path) -> None:
    name = project("title", "buyer", documents=2)

    def asked() -> tuple[int, dict[str, int]]:
        """How many requests a further run makes, by variable."""
        model_server.reset()
        figures = run(name)
        assert figures["status"] == "completed"
        assert figures["cells"]["pending"] == figures["cells"]["failed"] == 0
        return model_server.stats().requests, model_server.stats().variables

    assert asked() == (4, {"title": 2, "buyer": 2})
    assert asked() == (0, {})
    apply("title", variable("buyer", instructions="Who pays?"), name=name)
    assert asked() == (2, {"buyer": 2})
    add(name, tmp_path / "documents", {"another": "A third contract costs 7 euros."})
    assert asked() == (2, {"title": 1, "buyer": 1})
    apply("title", name=name)
    apply("title", variable("buyer", instructions="Who pays?"), name=name)
    assert asked() == (0, {})  # it was answered before it was taken away


def test_another_model_is_asked_everything_and_the_newest_answer_counts(
    project: Make, model_server: OpenAIServer
) -> None:
    name = project("title", documents=2)
    run(name)
    model_server.configure(truth={"*": {"title": {"values": [{"value": "Other", "evidence": "Contract"}]}}})

    run(name, model="openai:other")

    assert [line["model"] for line in model_server.requests()] == ["tested"] * 2 + ["other"] * 2
    assert set(values(name).values()) == {("Other",)}
    assert rows("SELECT count(*) FROM extraction")[0][0] == 4  # those of the earlier job stay


# Several variables in a call


@pytest.mark.parametrize(("per_call", "sizes"), [(1, [1] * 6), (4, [4, 2]), (0, [6])])
def test_so_many_variables_of_a_document_share_a_call(
    project: Make, model_server: OpenAIServer, per_call: int, sizes: list[int]
) -> None:
    names = ["title", "buyer", "seller", "place", "goods", "court"]
    name = project(*names, documents=2)

    assert run(name, variables_per_call=per_call)["cells"]["extracted"] == 12

    by_document: dict[str, list[int]] = {}
    for line in model_server.requests():
        by_document.setdefault(line["document"], []).append(len(line["variables"]))
    assert [sorted(found, reverse=True) for found in by_document.values()] == [sizes, sizes]
    assert model_server.stats().variables == dict.fromkeys(names, 2)


def test_the_first_call_about_a_document_is_answered_before_its_others_start(
    project: Make, model_server: OpenAIServer
) -> None:
    name = project("title", "buyer", "seller", "place", documents=3)
    model_server.configure(latency=0.3)

    run(name, concurrency=12)

    by_document: dict[str, list[dict[str, Any]]] = {}
    for line in model_server.requests():
        by_document.setdefault(line["document"], []).append(line)
    assert len(by_document) == 3
    for first, *others in by_document.values():
        assert len(others) == 3
        assert all(line["at"] >= first["at"] + first["seconds"] for line in others)
    assert model_server.stats().max_in_flight > 3  # the others of a document go out together


# Bought once


def test_two_jobs_at_once_over_the_same_texts_buy_each_reply_once(
    project: Make, model_server: OpenAIServer, database_url: str, tmp_path: Path
) -> None:
    projects = [project("title", "buyer", documents=6, name=name) for name in ("One", "Other")]
    model_server.configure(latency=0.5)
    environment = os.environ | {
        "WINNOW_DATABASE_URL": database_url,
        "WINNOW_HOME": str(tmp_path),
        "PREFECT_API_URL": str(get_current_settings().api.url),
    }
    command = [sys.executable, "-m", "flows.cli", "run", "--json", "--model", MODEL, "--concurrency", "2"]
    started = [
        subprocess.Popen([*command, name], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for name in projects
    ]
    ended = [process.communicate(timeout=120) for process in started]

    assert [process.returncode for process in started] == [0, 0], ended
    figures = [json.loads(out) for out, _ in ended]
    assert [job["cells"]["extracted"] for job in figures] == [12, 12]
    assert sum(job["calls"] for job in figures) == 12
    assert (model_server.stats().requests, model_server.stats().duplicates) == (12, 0)
    assert values("One") == values("Other")


# Dependencies

CAPPED = [
    variable("cap", type="boolean"),
    variable("amount", type="number", depends_on=[{"variable": "cap", "condition": "equals", "value": True}]),
    variable("currency", depends_on=[{"variable": "amount", "condition": "is_found"}]),
]


def test_what_depends_on_a_value_is_asked_only_where_it_holds_and_is_told_the_value(
    project: Make, model_server: OpenAIServer
) -> None:
    name = project(*CAPPED, documents=2)
    uncapped = {"values": [{"value": "false", "evidence": "Contract 1"}]}
    model_server.configure(truth={"Contract 1": {"cap": uncapped}})

    figures = run(name, variables_per_call=0)

    assert figures["status"] == "completed"
    assert [(line["variables"], line["known"]) for line in model_server.requests() if line["known"]] == [
        (["amount"], [{"variable": "cap", "value": "true"}]),
        (["currency"], [{"variable": "amount", "value": "0"}]),  # the server reads the first number
    ]
    assert model_server.stats().variables == {"cap": 2, "amount": 1, "currency": 1}
    statuses = {(cell.document, cell.variable): cell.status for cell in dataset(name)}
    assert statuses["d01.txt", "amount"] == statuses["d01.txt", "currency"] == "not_applicable"


def test_a_parent_that_is_answered_later_lets_its_children_be_asked(project: Make, model_server: OpenAIServer) -> None:
    name = project(*CAPPED, documents=1)
    model_server.configure(fault_variables={"cap": "refusal"})
    assert run(name)["cells"]["skipped"] == 2
    model_server.configure(fault_variables={})

    assert run(name)["status"] == "completed"
    assert model_server.stats().variables == {"cap": 2, "amount": 1, "currency": 1}


# Checks

DATES = [variable("start", type="date"), variable("end", type="date")]
ORDER = [{"expression": "end >= start", "message": "the end is before the start"}]
TEXT = {"d": "It runs from 2024-03-01 on. It ends on 2025-03-01."}


def dated(start: str, end: str) -> dict[str, Any]:
    return {
        "*": {name: {"values": [{"value": day, "evidence": day}]} for name, day in (("start", start), ("end", end))}
    }


def test_a_row_that_breaks_a_check_is_asked_once_more_with_what_was_wrong(
    project: Make, model_server: OpenAIServer
) -> None:
    name = project(*DATES, documents=TEXT, checks=ORDER)
    model_server.configure(truth=dated("2025-03-01", "2024-03-01"))

    figures = run(name)

    corrections = [line for line in model_server.requests() if line["correction"]]
    assert model_server.stats().requests == 3
    (again,) = corrections
    assert sorted(again["variables"]) == ["end", "start"]
    assert sorted(again["correction"], key=lambda wrong: str(wrong["answer"])) == [
        {"variable": "end", "answer": "2024-03-01", "problem": "the end is before the start"},
        {"variable": "start", "answer": "2025-03-01", "problem": "the end is before the start"},
    ]
    assert figures["cells"]["flagged"] == 2  # it said the same again
    assert all(cell.extraction and "check_failed" in cell.extraction.flags for cell in dataset(name))

    assert run(name)["status"] == "completed"
    assert model_server.stats().requests == 3


def test_a_row_that_keeps_its_checks_costs_no_further_call(project: Make, model_server: OpenAIServer) -> None:
    name = project(*DATES, documents=TEXT, checks=ORDER)
    model_server.configure(truth=dated("2024-03-01", "2025-03-01"))

    assert run(name)["cells"]["extracted"] == 2
    assert model_server.stats().requests == 2


# Long documents

FILLER = "\n\n".join(
    f"Paragraph {at}. The parties of the contract met in Tulsa, and said nothing new." for at in range(30)
)
READ_IN_PARTS = {"whole_up_to": 500, "tokens": 300, "overlap": 0.1}


def stated(*sums: int) -> dict[str, Any]:
    """The truth about a document that says what the fee is, once or several times."""
    found = [{"value": str(fee), "evidence": f"The fee is {fee} euros."} for fee in sums]
    return {"*": {"fee": {"values": found}}}


def test_a_long_document_is_read_in_parts_and_what_one_states_outweighs_the_others(
    project: Make, model_server: OpenAIServer
) -> None:
    text = f"{FILLER}\n\nThe fee is 4711 euros.\n\n{FILLER}"
    name = project(variable("fee", type="number"), documents={"long": text}, chunking=READ_IN_PARTS)
    model_server.configure(truth=stated(4711), strict_evidence=True)

    assert run(name)["cells"]["extracted"] == 1

    assert len({line["document"] for line in model_server.requests()}) == model_server.stats().requests > 3
    (cell,) = dataset(name)
    assert cell.extraction
    assert cell.extraction.flags == ()
    (value,) = cell.extraction.values
    (evidence,) = value.evidence
    assert value.value == 4711
    assert (evidence.start, evidence.mark) == (text.index("The fee"), "exact")


def test_parts_that_contradict_each_other_are_flagged(project: Make, model_server: OpenAIServer) -> None:
    text = f"The fee is 12 euros.\n\n{FILLER}\n\nThe fee is 4711 euros.\n\n{FILLER}\n\nThe fee is 12 euros."
    name = project(variable("fee", type="number"), documents={"long": text}, chunking=READ_IN_PARTS)
    model_server.configure(truth=stated(12, 4711), strict_evidence=True)

    assert run(name)["cells"]["flagged"] == 1

    (cell,) = dataset(name)
    assert cell.extraction
    assert cell.extraction.flags == ("conflict",)
    assert cell.extraction.accepted == (12,)  # the first one


def test_a_document_below_the_limit_is_read_in_one_piece(project: Make, model_server: OpenAIServer) -> None:
    name = project("title", documents={"short": FILLER[:900]}, chunking=READ_IN_PARTS)

    assert run(name)["cells"]["extracted"] == 1
    assert model_server.stats().requests == 1
