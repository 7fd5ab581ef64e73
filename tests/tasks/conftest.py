"""A model server that each test may set up anew, at which the environment points."""

from collections.abc import Iterator

import pytest

from tasks.lone_cells import lone_cells
from tests.openai_server import OpenAIServer


@pytest.fixture(scope="session")
def _one_model_server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


@pytest.fixture
def model_server(_one_model_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> OpenAIServer:
    """A model server with fresh settings and counts."""
    _one_model_server.reset(settings=True)
    monkeypatch.setenv("OPENAI_BASE_URL", _one_model_server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "canary-key-of-the-tests")
    return _one_model_server


@pytest.fixture(autouse=True)
def _no_lone_child() -> Iterator[None]:
    """A process that works on cells alone knows the database of one test only."""
    yield
    if lone_cells.cache_info().currsize:
        lone_cells().end()
