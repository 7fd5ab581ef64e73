"""A job's figures: its cells, why some failed, and what was bought for what. All sums add up to the job's."""

from pathlib import Path
from typing import Any

import pytest

from tasks.job_figures import job_costs, job_documents, job_figures
from tests.factories import MODEL, variable
from tests.openai_server import OpenAIServer
from tests.tasks.jobs_here import PROTEST_PATTERN, PROTEST_VARIABLES, PROTESTS, price, project, rows, run
from winnow.exceptions import DefinitionError

SUMS = ("prompt_tokens", "cached_tokens", "completion_tokens")
TEXTS = {f"{number}.txt": f"Contract {number} costs {number + 10} euros.\n" * 150 for number in range(3)}
THREE = ("title", variable("amount", type="number"), "buyer")

pytestmark = pytest.mark.usefixtures("database")


def costs(job_id: int) -> dict[str, dict[str, dict[str, Any]]]:
    """What was bought, by what and name."""
    return {what: {one[what]: one for one in listed} for what, listed in job_costs(job_id).items()}


def test_figures_say_what_was_asked_and_what_became_of_it(model_server: OpenAIServer) -> None:
    model_server.configure(fault_variables={"buyer": "refusal"})
    project(*THREE, texts=TEXTS)
    job = run(kind="sample", sample=2, seed=1, variables_per_call=1)

    figures = job_figures(job.id)
    assert {key: figures[key] for key in ("job", "project", "kind", "model", "sample", "seed")} == {
        "job": job.id, "project": "Grants", "kind": "sample", "model": MODEL, "sample": 2, "seed": 1,
    }  # fmt: skip
    assert figures["status"] == "completed_with_errors"
    assert figures["cells"] == {"total": 6, "pending": 0, "extracted": 4, "flagged": 0, "failed": 2, "skipped": 0}
    assert figures["failures"] == {"refused": 2}
    stats = model_server.stats()
    assert {key: figures[key] for key in SUMS} == {key: getattr(stats, key) for key in SUMS}
    assert (figures["calls"], figures["cost"], figures["budget"]) == (6, None, None)


@pytest.mark.parametrize("variables_per_call", [1, 2, 0])
def test_what_was_bought_adds_up_by_variable_document_and_model(
    tmp_path: Path, model_server: OpenAIServer, variables_per_call: int
) -> None:
    price(tmp_path)
    project(*THREE, texts=TEXTS)
    job = run(variables_per_call=variables_per_call)

    figures, bought = job_figures(job.id), costs(job.id)
    assert set(bought["variable"]) == {"title", "amount", "buyer"}
    assert set(bought["document"]) == set(TEXTS)
    assert set(bought["model"]) == {MODEL}
    assert figures["cost"] > 0
    for name, what in bought.items():
        assert sum(one["cost"] for one in what.values()) == pytest.approx(figures["cost"])
        for key in SUMS:
            lost = figures[key] - sum(one[key] for one in what.values())
            # a call's tokens are shared out among its variables in whole numbers
            assert 0 <= lost <= (figures["calls"] * (len(THREE) - 1) if name == "variable" else 0)
    assert sum(one["calls"] for one in bought["document"].values()) == figures["calls"]
    assert [one["calls"] for one in bought["variable"].values()] == [3, 3, 3]


def test_what_costs_most_comes_first(tmp_path: Path, model_server: OpenAIServer) -> None:
    price(tmp_path)
    project("title", texts={"short.txt": "A text.", "long.txt": "A long text. " * 300, "middle.txt": "A text. " * 100})
    job = run()

    assert [one["document"] for one in job_costs(job.id)["document"]] == ["long.txt", "middle.txt", "short.txt"]


def test_lists_of_entities_and_calls_made_in_vain_are_in_the_books(tmp_path: Path, model_server: OpenAIServer) -> None:
    price(tmp_path)
    model_server.configure(entity_pattern=PROTEST_PATTERN, script=["malformed"])
    project(*PROTEST_VARIABLES, texts={"a.txt": "Berlin on 2024-03-01 drew 900 people."}, **PROTESTS)
    job = run()

    figures, bought = job_figures(job.id), costs(job.id)
    assert job.status == "completed"
    assert figures["calls"] == model_server.stats().requests == 5
    assert {name: one["calls"] for name, one in bought["variable"].items()} == {
        "protest": 2, "place": 1, "date": 1, "crowd": 1,
    }  # fmt: skip
    assert sum(one["cost"] for one in bought["variable"].values()) == pytest.approx(figures["cost"])


def test_replies_that_another_job_has_paid_for_cost_nothing(tmp_path: Path, model_server: OpenAIServer) -> None:
    price(tmp_path)
    project("title", texts=TEXTS)
    run(kind="sample", sample=2)
    job = run()

    assert job_figures(job.id)["calls"] == 1
    assert [one["calls"] for one in job_costs(job.id)["variable"]] == [1]
    again = run()
    assert (job_figures(again.id)["cost"], job_costs(again.id)) == (None, {"variable": [], "document": [], "model": []})


# Documents


def accounts(job_id: int) -> dict[str, tuple[Any, ...]]:
    found = job_documents(job_id)
    return {one["document"]: (one["status"], one["announced"], one["listed"], one["rows"]) for one in found}


def test_every_document_of_a_job_has_its_account(model_server: OpenAIServer) -> None:
    model_server.configure(entity_pattern=PROTEST_PATTERN, announced_pattern=r"documents (?P<number>\d+) protests")
    berlin, paris = "Berlin on 2024-03-01 drew 900 people.", "Paris on 2024-05-01 drew 70 people."
    texts = {
        "all.txt": f"This documents 2 protests.\n\n{berlin}\n\n{paris}",
        "fewer.txt": f"This documents 3 protests.\n\n{berlin}",
        "none.txt": "Nothing happened.",
    }
    project(*PROTEST_VARIABLES, texts=texts, **PROTESTS)
    job = run()

    assert accounts(job.id) == {
        "all.txt": ("complete", 2, 2, 2),
        "fewer.txt": ("uncertain", 3, 1, 1),
        "none.txt": ("complete", None, 0, 0),
    }


def test_a_sample_has_the_accounts_of_its_documents_alone(model_server: OpenAIServer) -> None:
    project("title", texts=TEXTS)
    job = run(kind="sample", sample=2, seed=3)

    drawn = rows("SELECT DISTINCT document.name FROM cell JOIN document ON document.id = document_id")
    assert {name: found[0] for name, found in accounts(job.id).items()} == {name: "complete" for (name,) in drawn}
    assert len(drawn) == 2


def test_a_job_that_does_not_exist_is_said_so() -> None:
    with pytest.raises(DefinitionError, match="There is no job 99"):
        job_figures(99)
