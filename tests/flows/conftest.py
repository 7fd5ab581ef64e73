"""Prefect's own server for the tests of this folder alone, and a model server that each test may set up anew."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.testing.utilities import prefect_test_harness

from tests.factories import codebook
from tests.openai_server import OpenAIServer

MODEL = "openai:tested"


@pytest.fixture(scope="session", autouse=True)
def _prefect() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="session")
def _one_model_server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


@pytest.fixture
def model_server(_one_model_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> OpenAIServer:
    """A model server with fresh settings and counts, at which the environment points."""
    _one_model_server.reset(settings=True)
    monkeypatch.setenv("OPENAI_BASE_URL", _one_model_server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "canary-key-of-the-tests")
    return _one_model_server


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many tries as in earnest, with a hundredth of the waiting."""
    from tasks.extract_cell import RETRY_DELAYS, extract_cell

    monkeypatch.setattr(extract_cell, "retry_delay_seconds", [delay / 100 for delay in RETRY_DELAYS])


@pytest.fixture
def corpus(tmp_path: Path) -> Callable[..., Path]:
    """Write text files into a folder: `corpus(letter="Dear ...")` makes letter.txt."""

    def write(**texts: str) -> Path:
        folder = tmp_path / "documents"
        folder.mkdir(exist_ok=True)
        for name, text in texts.items():
            (folder / f"{name}.txt").write_text(text)
        return folder

    return write


@pytest.fixture
def project(database: str, corpus: Callable[..., Path]) -> Callable[..., str]:
    """A project with documents read: `project("title", documents=3)` gives its name."""
    from flows.ingest_documents import ingest_documents

    def make(*variables: str | dict[str, Any], documents: int = 2, name: str = "Tested") -> str:
        apply(*variables, name=name)
        folder = corpus(
            **{f"d{number:02}": f"Contract {number} costs {number + 10} euros." for number in range(documents)}
        )
        assert ingest_documents(name, [str(folder)]) == {"parsed": documents}
        return name

    return make


def apply(*variables: str | dict[str, Any], name: str = "Tested") -> None:
    """Create or change a project."""
    from db import projects
    from db.session import transaction

    with transaction() as connection:
        projects.apply_codebook(connection, codebook(*variables, project=name))
