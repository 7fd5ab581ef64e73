"""Rows that are entities: all of them with all their values, from a server that cuts replies, spoils some and fails."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flows.export_here import export_here
from tasks.job_figures import job_documents
from tests.entity_corpus import ANNOUNCED_PATTERN, CODEBOOK, ENTITY_PATTERN, EntityDocument, entity_document
from tests.factories import variable
from tests.flows.conftest import Make, apply, rows, run
from tests.openai_server import OpenAIServer

SIZES = (5, 40, 150)
VARIABLES = CODEBOOK["variables"]
PATTERNS = {
    "entity_pattern": ENTITY_PATTERN,
    "announced_pattern": ANNOUNCED_PATTERN,
    "identified_by": ["place", "date"],
}
Monitors = Callable[..., tuple[str, dict[str, EntityDocument]]]


@pytest.fixture
def monitors(project: Make, model_server: OpenAIServer, tmp_path: Path) -> Monitors:
    """A project of protest monitors of such sizes, as PDF, and what is known about them."""
    from db import projects
    from db.session import transaction
    from tasks.ingest_file import ingest_file

    def make(*sizes: int, variables: list[dict[str, Any]] = VARIABLES) -> tuple[str, dict[str, EntityDocument]]:
        more = {key: CODEBOOK[key] for key in ("domain", "language", "unit_of_observation")}
        name = project(*variables, documents={}, **more)
        with transaction() as connection:
            project_id = projects.get(connection, name).id
        known = {f"monitor{size}.pdf": entity_document(size, seed=size) for size in sizes}
        for file, document in known.items():
            assert document.pdf_bytes
            (tmp_path / file).write_bytes(document.pdf_bytes)
            assert ingest_file.fn(str(tmp_path / file), file, project_id) == "parsed"
        model_server.configure(**PATTERNS)
        return name, known

    return make


def exported(project: str, folder: Path) -> list[dict[str, str]]:
    """The wide table as it is exported, all of it text."""
    out = export_here(project, folder / "protests.csv", "csv", "wide", "")
    return pl.read_csv(out, infer_schema=False).to_dicts()


def test_every_entity_and_every_value_is_in_the_table_once_though_replies_are_cut_spoiled_and_lost(
    monitors: Monitors, model_server: OpenAIServer, tmp_path: Path
) -> None:
    name, known = monitors(*SIZES)
    model_server.configure(max_output_tokens=1000, rates={"malformed": 0.05, "server_error": 0.05}, seed=7)

    figures = run(name, variables_per_call=0, concurrency=16)

    assert figures["status"] == "completed"
    table = exported(name, tmp_path)
    found = [
        (row["document"], row["place"], row["date"], float(row["participants"]), row["organiser"]) for row in table
    ]
    true = [
        (file, entity["place"], entity["date"], float(entity["participants"]), entity["organiser"])
        for file, document in known.items()
        for entity in document.entities
    ]
    assert len(found) == len(set(found)) == sum(SIZES)
    assert set(found) == set(true)
    assert {
        (account["document"], account["status"], account["announced"], account["listed"], account["rows"])
        for account in job_documents(figures["job"])
    } == {(f"monitor{size}.pdf", "complete", size, size, size) for size in SIZES}

    stats = model_server.stats()
    assert stats.faults["malformed"] > 2
    assert stats.faults["server_error"] > 2
    assert rows("SELECT count(*) FROM call WHERE finish_reason = 'length'")[0][0] > 2
    again = run(name, variables_per_call=0)
    assert again["status"] == "completed"
    assert again["cells"] == figures["cells"]
    assert model_server.stats().requests == stats.requests


def test_a_new_variable_is_asked_of_each_entity_and_the_entities_are_not_listed_again(
    monitors: Monitors, model_server: OpenAIServer
) -> None:
    name, _ = monitors(5)
    run(name, variables_per_call=0)
    model_server.reset()

    more = {key: CODEBOOK[key] for key in ("domain", "language", "unit_of_observation")}
    apply(*VARIABLES, variable("reporter"), name=name, **more)
    run(name)

    assert model_server.stats().variables == {"reporter": 5}
    assert len({line["entity"] for line in model_server.requests()}) == 5


def test_a_document_whose_smallest_stretch_is_still_cut_is_truncated_never_complete(
    monitors: Monitors, model_server: OpenAIServer
) -> None:
    name, _ = monitors(12, variables=VARIABLES[:2])
    model_server.configure(max_output_tokens=60)  # not enough for a single entity with its evidence

    figures = run(name, variables_per_call=0)

    (account,) = job_documents(figures["job"])
    assert figures["status"] == "completed_with_errors"
    assert (account["status"], account["listed"]) == ("truncated", None)
    assert account["reason"].startswith("truncated")
    assert figures["failures"] == {"truncated": 1}


def test_a_document_that_is_cut_in_one_place_alone_is_truncated_and_keeps_its_other_rows(
    monitors: Monitors, model_server: OpenAIServer
) -> None:
    name, known = monitors(30, variables=VARIABLES[:2])
    (document,) = known.values()
    spoiled = document.entities[20]["place"]
    model_server.configure(fault_variables={"protest": {"fault": "truncated", "document": spoiled}})

    figures = run(name, variables_per_call=0)

    (account,) = job_documents(figures["job"])
    assert account["status"] == "truncated"
    assert 0 < account["listed"] == account["rows"] < 30
    assert account["announced"] == 30
    assert account["unread"] > 0


def test_a_document_that_announces_more_than_it_holds_is_uncertain(
    monitors: Monitors, model_server: OpenAIServer
) -> None:
    name, _ = monitors(5, variables=VARIABLES[:2])
    model_server.configure(announced_pattern=r"The last one listed (?P<number>\d+) gatherings")

    figures = run(name, variables_per_call=0)

    (account,) = job_documents(figures["job"])
    assert (account["status"], account["announced"], account["listed"]) == ("uncertain", 214, 5)
