"""A job from its plan to its report, with a real Prefect server, a real PostgreSQL and a model server over HTTP."""

import time
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.exceptions import CancelledRun

from db import jobs
from db.session import transaction
from tasks.job_figures import job_figures
from tests.factories import variable
from tests.flows.conftest import Make, apply, dataset, rows, run
from tests.openai_server import OpenAIServer


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
    (evidence,) = value.evidence
    assert (evidence.mark, evidence.start, evidence.quote) == ("exact", 0, "Contract 1 costs 11 euros.")


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


def test_a_mistake_of_ours_never_costs_a_second_call(
    project: Make, model_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks import extract_cell

    name = project("title", documents=1)
    with monkeypatch.context() as patch:
        patch.setattr(
            extract_cell, "answer", lambda interview, chunks, asked, _: [*interview.answers(chunks, asked), 1 / 0]
        )
        assert run(name)["failures"] == {"internal_error": 1}

    assert run(name)["cells"]["extracted"] == 1
    assert model_server.stats().requests == 1


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
            jobs.cancel(connection, job.id, "by the test")

    canceller = threading.Thread(target=cancel)
    canceller.start()
    with pytest.raises(CancelledRun, match="winnow resume"):
        run(name, concurrency=2)
    canceller.join()

    with transaction() as connection:
        (job,) = jobs.newest(connection)
    figures = job_figures(job.id)
    assert figures["status"] == "cancelled"
    asked = model_server.stats().requests
    assert figures["cells"]["extracted"] == asked < 30
    assert figures["cells"]["pending"] == 30 - asked


def test_a_model_that_takes_no_temperature_is_asked_without(project: Make, model_server: OpenAIServer) -> None:
    from tasks import capabilities

    name = project("title", documents=3)
    model_server.configure(refuse_temperature=True)
    try:
        assert run(name, concurrency=1)["cells"]["extracted"] == 3
    finally:
        capabilities.forget()

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
