"""What a run under Prefect tells in its log: its task runs and its further tries, from all threads."""

import json
import os
import subprocess
import sys

import pytest
from prefect.settings import PREFECT_API_URL

from tests.flows.conftest import MODEL, Make
from tests.openai_server import OpenAIServer


def test_winnow_run_writes_lines_of_json_alone_on_standard_error(
    project: Make, model_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = project("title", "price", documents=2)
    model_server.configure(script=["ok", "server_error"])
    environment = {**os.environ, "WINNOW_LOG": "json", "PREFECT_API_URL": str(PREFECT_API_URL.value())}

    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "run", name, "--model", MODEL, "--concurrency", "1"],
        env=environment, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    told = [json.loads(line) for line in done.stderr.splitlines()]

    (tried_again,) = [line for line in told if line["event"] == "cell to be tried again"]
    assert tried_again["reason"] == "provider_unavailable"
    statuses = [(line["document"], line["variable"], line["status"]) for line in told if line["event"] == "cell ended"]
    again = (tried_again["document"], tried_again["variable"])
    assert sorted(statuses) == sorted(
        [(document, variable, "extracted") for document in (1, 2) for variable in ("title", "price")]
        + [(*again, "retrying")]
    )
    assert "cells" in told[-1]
    assert "completed" in done.stdout
