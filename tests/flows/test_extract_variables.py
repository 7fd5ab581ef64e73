"""A job from its plan to its report, with a real Prefect server, a real PostgreSQL and a model server over HTTP."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from sqlalchemy import text

from db import extractions, jobs, projects
from db.session import transaction
from flows.extract_variables import extract_variables
from tests.factories import variable
from tests.flows.conftest import MODEL, apply
from tests.openai_server import OpenAIServer
from winnow.exceptions import AuthenticationFailedError, QuotaExceededError, StayingError, UnknownModelError
from winnow.extractions import DatasetCell

Make = Callable[..., str]


def run(project: str, **options: Any) -> dict[str, Any]:
    return extract_variables(project, **{"model": MODEL, "concurrency": 8, **options})


def dataset(project: str) -> list[DatasetCell]:
    with transaction() as connection:
        return extractions.dataset(connection, projects.get(connection, project).id)


def rows(query: str) -> list[Any]:
    with transaction() as connection:
        return list(connection.execute(text(query)))


def task_runs(flow_run: str) -> list[Any]:
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    with get_client(sync_client=True) as client:
        return client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run])), limit=200)


def flow_run_of(job: int) -> str:
    return str(rows(f"SELECT flow_run_id FROM job WHERE id = {job}")[0][0])


def test_every_cell_is_asked_once_and_kept_with_its_evidence(project: Make, model_server: OpenAIServer) -> None:
    name = project("title", variable("price", type="number"), documents=3)

    figures = run(name)

    assert figures["status"] == "completed"
    assert figures["cells"] == {"total": 6, "pending": 0, "extracted": 6, "flagged": 0, "failed": 0, "skipped": 0}
    assert (model_server.stats().requests, model_server.stats().duplicates) == (6, 0)
    price = next(cell for cell in dataset(name) if (cell.document, cell.variable) == ("d01.txt", "price"))
    assert price.extraction is not None
    (value,) = price.extraction.values
    assert value.value in (1.0, 11.0)  # the server reads the first number
    assert value.evidence is not None
    assert value.evidence.mark == "exact"
    assert (value.evidence.start, value.evidence.quote) == (0, "Contract 1 costs 11 euros.")


def test_running_again_buys_nothing(project: Make, model_server: OpenAIServer) -> None:
    name = project("title", documents=3)
    first = run(name)

    second = run(name)

    assert second["job"] != first["job"]
    assert second["cells"]["extracted"] == 3
    assert model_server.stats().requests == 3


def test_a_changed_variable_is_asked_again_alone(project: Make, model_server: OpenAIServer) -> None:
    name = project("title", "buyer", documents=2)
    run(name)

    apply("title", variable("buyer", instructions="Who pays?"), name=name)
    run(name)

    assert model_server.stats().requests == 6
    assert model_server.stats().variables == {"title": 2, "buyer": 4}


def test_a_changed_threshold_reads_the_replies_again_without_a_call(project: Make, model_server: OpenAIServer) -> None:
    name = project("title", documents=2)
    assert run(name)["cells"]["extracted"] == 2

    apply(variable("title", confidence_threshold=1.0), name=name)

    assert run(name)["cells"]["flagged"] == 2
    assert model_server.stats().requests == 2


def test_a_sample_asks_some_documents_and_can_be_drawn_again(project: Make, model_server: OpenAIServer) -> None:
    name = project("title", documents=6)

    first = run(name, sample=2)
    again = run(name, sample=2, seed=first["seed"])

    assert first["cells"]["total"] == again["cells"]["total"] == 2
    assert model_server.stats().requests == 2


def test_task_runs_are_named_by_document_and_variable(project: Make, model_server: OpenAIServer) -> None:
    name = project("title", documents=2)
    flow_run = flow_run_of(run(name)["job"])
    names: set[str] = set()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and len(names) < 2:  # task runs reach the server through its event queue
        names = {run.name for run in task_runs(flow_run)}

    assert names == {"d00.txt · title", "d01.txt · title"}


def test_a_job_leaves_a_progress_bar_a_table_and_a_page(project: Make, model_server: OpenAIServer) -> None:
    figures = run(project("title", documents=2))
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    with get_client(sync_client=True) as client:
        chosen = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_of(figures["job"])]))
        artifacts = {artifact.type: artifact for artifact in client.read_artifacts(artifact_filter=chosen)}

    assert sorted(artifacts) == ["markdown", "progress", "table"]
    assert artifacts["progress"].data == 100.0
    assert "2 extracted" in str(artifacts["markdown"].data)
    assert '"variable": "title"' in str(artifacts["table"].data)


def test_too_many_requests_hold_back_everyone_for_as_long_as_asked(project: Make, model_server: OpenAIServer) -> None:
    name = project("title", documents=6)
    model_server.configure(script=["rate_limit"], retry_after="2")

    assert run(name, concurrency=1)["cells"]["extracted"] == 6

    log = model_server.requests()
    assert [entry["status"] for entry in log] == [429] + [200] * 6
    assert log[1]["at"] - log[0]["at"] >= 2


def test_errors_that_pass_are_asked_again(project: Make, model_server: OpenAIServer) -> None:
    name = project("title", documents=3)
    model_server.configure(script=["server_error", "unavailable", "drop", "server_error"])

    figures = run(name)

    assert figures["status"] == "completed"
    assert model_server.stats().answered == 3
    assert model_server.stats().requests == 7


def test_a_cell_whose_provider_never_answers_fails_with_its_reason(project: Make, model_server: OpenAIServer) -> None:
    name = project("title", documents=1)
    model_server.configure(rates={"server_error": 1.0})

    figures = run(name)

    assert figures["status"] == "completed_with_errors"
    assert figures["failures"] == {"provider_unavailable": 1}
    assert model_server.stats().requests == 7  # one try and six more


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("malformed", "malformed"),
        ("wrong_shape", "malformed"),
        ("truncated", "truncated"),
        ("refusal", "refused"),
        ("content_filter", "content_filtered"),
        ("empty", "empty_reply"),
        ("context_overflow", "too_long"),
    ],
)
def test_what_is_no_answer_fails_its_cell_alone_and_is_not_tried_again(
    project: Make, model_server: OpenAIServer, fault: str, reason: str
) -> None:
    name = project("title", "buyer", documents=1)
    model_server.configure(fault_variables={"buyer": fault})

    figures = run(name)

    assert figures["status"] == "completed_with_errors"
    assert figures["cells"]["extracted"] == 1
    assert model_server.stats().requests == 2
    if fault == "wrong_shape":  # the answer for another variable, or of another form
        assert list(figures["failures"]) in (["malformed"], ["missing_answer"])
    else:
        assert figures["failures"] == {reason: 1}


def test_a_reply_that_is_no_answer_is_kept_and_the_next_run_asks_that_cell_alone(
    project: Make, model_server: OpenAIServer
) -> None:
    name = project("title", documents=3)
    model_server.configure(script=["malformed"])
    assert run(name)["cells"]["failed"] == 1

    figures = run(name)

    assert figures["status"] == "completed"
    assert model_server.stats().requests == 4
    assert rows("SELECT count(*) FROM call WHERE status = 'unusable' AND reply IS NOT NULL")[0][0] == 1


def test_a_mistake_of_ours_never_costs_a_second_call(
    project: Make, model_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks import extract_cell

    name = project("title", documents=1)
    with monkeypatch.context() as patch:
        patch.setattr(extract_cell, "check_answer", lambda *_: 1 / 0)
        assert run(name)["failures"] == {"internal_error": 1}

    assert run(name)["cells"]["extracted"] == 1
    assert model_server.stats().requests == 1


def test_evidence_that_is_not_in_the_document_flags_the_cell(project: Make, model_server: OpenAIServer) -> None:
    name = project("title", documents=1)
    model_server.configure(fault_variables={"title": "invented"})

    assert run(name)["cells"]["flagged"] == 1
    (cell,) = dataset(name)
    assert cell.extraction is not None
    assert cell.extraction.flags == ("evidence_absent",)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"api_key": "another"}, AuthenticationFailedError),
        ({"models": ["another"]}, UnknownModelError),
        ({"rates": {"quota": 1.0}}, QuotaExceededError),
    ],
)
def test_an_error_that_stays_withdraws_a_job_that_has_nothing_yet(
    project: Make, model_server: OpenAIServer, settings: dict[str, Any], error: type[StayingError]
) -> None:
    name = project("title", documents=5)
    model_server.configure(**settings)

    with pytest.raises(StayingError, match="run again") as raised:
        run(name, concurrency=2)

    assert model_server.stats().requests <= 2
    assert rows("SELECT count(*) FROM job")[0][0] == 0
    assert "canary-key" not in str(raised.value)
    assert error.__doc__


def test_an_error_that_stays_pauses_a_job_and_the_next_run_goes_on_with_it(
    project: Make, model_server: OpenAIServer
) -> None:
    name = project("title", documents=6)
    model_server.configure(script=["ok", "ok", "quota"])
    with pytest.raises(StayingError):
        run(name, concurrency=1)
    (paused,) = rows("SELECT id, status FROM job")
    assert paused.status == "paused"

    figures = run(name, concurrency=1)

    assert figures["job"] == paused.id
    assert figures["cells"]["extracted"] == 6
    assert model_server.stats().answered == 6


def test_a_job_cancelled_in_the_database_stops_asking_and_keeps_what_it_has(
    project: Make, model_server: OpenAIServer
) -> None:
    import threading

    name = project("title", documents=30)
    model_server.configure(latency=0.5)

    def cancel() -> None:
        while model_server.stats().requests < 4:
            time.sleep(0.05)
        with transaction() as connection:
            (job,) = jobs.newest(connection)
            jobs.set_status(connection, job.id, "cancelled", "by the test")

    canceller = threading.Thread(target=cancel)
    canceller.start()
    figures = run(name, concurrency=2)
    canceller.join()

    assert figures["status"] == "cancelled"
    asked = model_server.stats().requests
    assert figures["cells"]["extracted"] == asked < 30
    assert figures["cells"]["pending"] == 30 - asked


def test_a_model_that_takes_no_temperature_is_asked_without(project: Make, model_server: OpenAIServer) -> None:
    from tasks import models

    name = project("title", documents=3)
    model_server.configure(refuse_temperature=True)
    try:
        assert run(name, concurrency=1)["cells"]["extracted"] == 3
    finally:
        models._refusing_temperature.clear()

    assert model_server.stats().requests == 4


def test_a_document_without_text_is_never_asked_about(project: Make, model_server: OpenAIServer, corpus: Any) -> None:
    from flows.ingest_documents import ingest_documents

    name = project("title", documents=1)
    assert ingest_documents(name, [str(corpus(empty="  \n \n"))]) == {"known": 1, "failed": 1}

    run(name)

    assert model_server.stats().requests == 1
    missing = next(cell for cell in dataset(name) if cell.document == "empty.txt")
    assert (missing.status, missing.reason) == ("failed", "no_text")


def test_neither_key_nor_document_text_reaches_prefect(project: Make, model_server: OpenAIServer) -> None:
    name = project("title", documents=1)
    model_server.configure(rates={"malformed": 1.0})
    flow_run = flow_run_of(run(name)["job"])

    with get_client(sync_client=True) as client:
        seen = client.read_flow_run(flow_run).model_dump_json()
        seen += "".join(run.model_dump_json() for run in task_runs(flow_run))

    assert "canary-key" not in seen
    assert "costs" not in seen
