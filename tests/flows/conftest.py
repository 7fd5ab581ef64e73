"""Prefect's own server for the tests of this folder alone, and a model server that each test may set up anew."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from prefect.testing.utilities import prefect_test_harness
from sqlalchemy import text

from tests.factories import codebook
from tests.openai_server import OpenAIServer
from winnow.extractions import DatasetCell

MODEL = "openai:tested"
KEY = "canary-key-of-the-tests"
Make = Callable[..., str]


@pytest.fixture(scope="session", autouse=True)
def _prefect() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="session")
def one_model_server() -> Iterator[OpenAIServer]:
    """The model server of the run, as the last test has left it. Tests want `model_server`."""
    with OpenAIServer() as server:
        yield server


@pytest.fixture
def model_server(one_model_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> OpenAIServer:
    """A model server with fresh settings and counts, at which the environment points."""
    one_model_server.reset(settings=True)
    point_at(one_model_server, monkeypatch)
    return one_model_server


def point_at(server: OpenAIServer, patch: pytest.MonkeyPatch) -> None:
    """Let models be asked there."""
    patch.setenv("OPENAI_BASE_URL", server.url)
    patch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture(scope="module", autouse=True)
def _quick_retries() -> Iterator[None]:
    """As many tries as in earnest, with a hundredth of the waiting."""
    from db import providers
    from tasks.extract_cell import RETRY_DELAYS, extract_cell

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(providers, "OPEN_SECONDS", providers.OPEN_SECONDS / 100)
        patch.setattr(extract_cell, "retry_delay_seconds", [delay / 100 for delay in RETRY_DELAYS])
        yield


@pytest.fixture
def corpus(tmp_path: Path) -> Callable[..., Path]:
    """Write text files into a folder: `corpus(letter="Dear ...")` makes letter.txt."""

    def write(**texts: str) -> Path:
        folder = tmp_path / "documents"
        folder.mkdir(exist_ok=True)
        for name, words in texts.items():
            (folder / f"{name}.txt").write_text(words)
        return folder

    return write


@pytest.fixture
def project(database: str, tmp_path: Path) -> Make:
    """A project with documents read: `project("title", documents=3)` gives its name."""

    def make(
        *variables: str | dict[str, Any], documents: int | Mapping[str, str] = 2, name: str = "Tested", **more: Any
    ) -> str:
        apply(*variables, name=name, **more)
        texts = contracts(documents) if isinstance(documents, int) else documents
        add(name, tmp_path / "documents", texts)
        return name

    return make


def contracts(number: int) -> dict[str, str]:
    """Short documents by their names."""
    return {f"d{at:02}": f"Contract {at} costs {at + 10} euros." for at in range(number)}


def apply(*variables: str | dict[str, Any], name: str = "Tested", **more: Any) -> None:
    """Create or change a project."""
    from db import projects
    from db.session import transaction

    with transaction() as connection:
        projects.apply_codebook(connection, codebook(*variables, project=name, **more))


def add(project: str, folder: Path, texts: Mapping[str, str]) -> None:
    """Read documents into a project, without the flow: that has tests of its own."""
    from db import projects
    from db.session import transaction
    from tasks.ingest_file import ingest_file

    with transaction() as connection:
        project_id = projects.get(connection, project).id
    folder.mkdir(exist_ok=True)
    for name, words in texts.items():
        file = folder / f"{name}.txt"
        file.write_text(words)
        assert ingest_file.fn(str(file), file.name, project_id) == "parsed"


def run(project: str, **options: Any) -> dict[str, Any]:
    """Run a job in this process, to its figures."""
    from flows.extract_variables import extract_variables

    return extract_variables(project, **{"model": MODEL, "concurrency": 8, **options})


def dataset(project: str) -> list[DatasetCell]:
    """What the project has now."""
    from db import extractions, projects
    from db.session import transaction

    with transaction() as connection:
        return extractions.dataset(connection, projects.get(connection, project).id)


def values(project: str) -> dict[tuple[str, str], Any]:
    """Of each document and variable, the accepted values; where there is no extraction, why."""
    return {
        (cell.document.removesuffix(".txt"), cell.variable): cell.extraction.accepted
        if cell.extraction
        else cell.reason
        for cell in dataset(project)
    }


def rows(query: str) -> list[Any]:
    """What the database says."""
    from db.session import transaction

    with transaction() as connection:
        return list(connection.execute(text(query)))
