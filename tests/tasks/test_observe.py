"""What a run tells those who watch it: lines of JSON, metrics, spans. And what none of them may hold."""

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar
from urllib.request import urlopen

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client import REGISTRY

from tasks import log_lines, metrics, spans
from tasks.plan_job import plan_job
from tasks.run_job import running
from tests.factories import MODEL, options, variable
from tests.openai_server import OpenAIServer
from tests.tasks.jobs_here import change, do, price, project, rows, run
from winnow.exceptions import StayingError
from winnow.settings import settings

CANARY = "canary"
KEY = "canary-key-of-the-tests"

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def _grants(database: str, model_server: OpenAIServer) -> None:
    texts = {"canary-name.txt": "Canary contract 1 costs 11 euros.", "b.txt": "Canary contract 2 costs 12 euros."}
    project("title", variable("amount", type="number"), texts=texts)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Lines]:
    """What stands on standard error since the last look, every line of it JSON."""
    monkeypatch.setenv("WINNOW_LOG", "json")
    settings.cache_clear()
    yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    log_lines._set_up.cache_clear()
    for room in log_lines._ROOMS:
        logging.getLogger(room).handlers.clear()
        logging.getLogger(room).propagate = True
        logging.getLogger(room).setLevel(logging.NOTSET)


def of(event: str, told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in told if line["event"] == event]


# Log records


def test_a_job_is_told_from_its_plan_to_its_end_without_a_word_of_its_documents(lines: Lines) -> None:
    job = run()
    told = lines()

    assert [line["event"] for line in told if line["event"].startswith("job")] == [
        "job planned", "job started", "job ended",
    ]  # fmt: skip
    assert of("job planned", told)[0]["cells"]["pending"] == of("job ended", told)[0]["cells"]["extracted"] == 4
    assert of("job ended", told)[0]["status"] == "completed"
    for event in ("cell ended", "call ended"):
        found = {(line["job"], line["document"], line["variable"]) for line in of(event, told)}
        assert found == {(job.id, document, name) for document in (1, 2) for name in ("title", "amount")}
    call = of("call ended", told)[0]
    assert (call["level"], call["model"], call["outcome"]) == ("INFO", MODEL, "answered")
    assert call["prompt_tokens"] > 0 <= call["seconds"]
    cell = of("cell ended", told)[0]
    assert (cell["status"], cell["cells"], cell["calls"]) == ("extracted", 1, 1)
    assert "T" in cell["time"]
    assert CANARY not in json.dumps(told).lower()


def test_a_provider_that_asks_to_wait_is_told_of_and_so_is_a_cell_that_fails(
    lines: Lines, model_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.extract_cell.RETRY_DELAYS", [])
    model_server.configure(script=[{"fault": "rate_limit", "retry_after": "0.05"}, "server_error"])

    run(variables=("title",), slots=1)
    told = lines()

    assert [line["outcome"] for line in of("call ended", told)][:2] == ["rate_limited", "provider_unavailable"]
    assert len(of("calls held back", told)) == 1
    ended = [(line["status"], line["level"], line["calls"]) for line in of("cell ended", told)]
    assert ended == [("failed", "WARNING", 2), ("extracted", "INFO", 1)]


def test_a_key_that_is_refused_pauses_the_job_and_stands_in_no_line(lines: Lines, model_server: OpenAIServer) -> None:
    model_server.configure(script=[{"fault": "unauthorized", "message": f"Incorrect API key provided: {KEY}."}] * 4)

    with pytest.raises(StayingError):
        run()
    told = lines()

    assert of("job ended", told)[0]["status"] == "paused"
    assert "paused" in {line["status"] for line in of("cell ended", told)}
    assert KEY not in json.dumps(told)


def test_a_reply_from_the_ledger_is_no_call(lines: Lines) -> None:
    run()
    lines()
    change(variable("title", confidence_threshold=1.0), variable("amount", type="number", confidence_threshold=1.0))

    run()
    told = lines()

    assert {line["outcome"] for line in of("call ended", told)} == {"stored"}
    assert {(line["calls"], line["status"]) for line in of("cell ended", told)} == {(0, "flagged")}


def test_of_an_error_its_kind_alone_is_told(lines: Lines) -> None:
    log_lines.use_log_lines()
    try:
        raise ValueError("canary words")
    except ValueError:
        logging.getLogger("tasks.somewhere").exception("It went wrong")
    (line,) = lines()

    assert (line["event"], line["error"], line["level"]) == ("It went wrong", "ValueError", "ERROR")


def test_on_a_terminal_nothing_is_told(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    run()

    assert capsys.readouterr().err == ""
    assert caplog.records == []


# Metrics


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_metrics_count_calls_tokens_cost_and_cells(
    model_server: OpenAIServer, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    price(tmp_path)
    watched = [
        ("winnow_calls_total", {"model": MODEL, "outcome": "answered"}),
        ("winnow_call_seconds_count", {"model": MODEL}),
        ("winnow_cells_total", {"status": "extracted"}),
        ("winnow_jobs_total", {"status": "completed"}),
        ("winnow_tokens_total", {"model": MODEL, "kind": "prompt"}),
        ("winnow_cost_dollars_total", {"model": MODEL}),
    ]
    before = [sample(name, **labels) for name, labels in watched]

    run()

    grown = [sample(name, **labels) - was for (name, labels), was in zip(watched, before, strict=True)]
    assert grown[:5] == [4, 4, 4, 1, model_server.stats().prompt_tokens]
    assert grown[5] == pytest.approx(float(rows("SELECT sum(cost) FROM call")[0][0]))
    assert sample("winnow_calls_in_flight", model=MODEL) == 0


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A free port at which metrics are to be served."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        free = listener.getsockname()[1]
    monkeypatch.setenv("WINNOW_METRICS_PORT", str(free))
    settings.cache_clear()
    yield free
    serving = metrics._serve("127.0.0.1", free)
    if serving:
        serving[0].shutdown()
        serving[0].server_close()
    metrics._serve.cache_clear()


def test_metrics_are_served_once_for_all_jobs_of_a_process(port: int, caplog: pytest.LogCaptureFixture) -> None:
    run()
    run(variables=("title",))

    page = urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()

    assert f'winnow_calls_total{{model="{MODEL}",outcome="answered"}}' in page
    assert CANARY not in page.lower()
    assert caplog.records == []


def test_a_port_that_is_taken_gives_a_warning_and_the_job_goes_on(port: int, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", port)):
        assert run().status == "completed"
        run(variables=("title",))

    assert [str(port) in record.getMessage() for record in caplog.records] == [True]
    assert "of its own" in caplog.text


# Spans


class _Collector(BaseHTTPRequestHandler):
    received: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        self.received.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """What a collector of OpenTelemetry has received."""
    _Collector.received = []
    with HTTPServer(("127.0.0.1", 0), _Collector) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        spans.tracer.cache_clear()
        yield _Collector.received
        spans.tracer.cache_clear()
        server.shutdown()


def test_a_collector_gets_spans_of_job_cell_and_call_without_a_word_of_the_documents(collector: list[bytes]) -> None:
    job = plan_job("Grants", options(variables=("title",)))
    with running(job, 1) as state:
        for stages in state.documents():
            for stage in stages:
                do(job, stage[0])
    found: dict[bytes, Any] = {}
    deadline = time.monotonic() + 10
    while len(found) < 5 and time.monotonic() < deadline:
        time.sleep(0.02)
        found = {one.span_id: one for body in collector for one in spans_in(body)}

    parents = sorted((one.name, found[one.parent_span_id].name if one.parent_span_id else "") for one in found.values())
    assert parents == [("winnow.call", "winnow.cell")] * 2 + [("winnow.cell", "winnow.job")] * 2 + [("winnow.job", "")]
    assert CANARY.encode() not in b"".join(collector).lower()


def spans_in(body: bytes) -> list[Any]:
    resources = ExportTraceServiceRequest.FromString(body).resource_spans
    return [one for resource in resources for scope in resource.scope_spans for one in scope.spans]
