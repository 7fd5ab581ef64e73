"""Anthropic's models, over real connections to a server of its Messages API."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip(
    "langchain_anthropic", reason="langchain-anthropic is not installed: pip install langchain-anthropic"
)

from tasks import capabilities
from tasks.models import ask, check_model
from tests.anthropic_server import AnthropicServer
from tests.conftest import forget
from winnow.answers import answer_for
from winnow.codebook import Variable
from winnow.exceptions import (
    AuthenticationFailedError,
    ModelSetupError,
    OutputError,
    ProviderDownError,
    ProviderError,
    ProviderTimeoutError,
    QuotaExceededError,
    RateLimitedError,
    RejectedCallError,
    UnknownModelError,
)
from winnow.prompts import RULES, Prompt, Question, build_prompt, variable_prompt
from winnow.replies import interpret

MODEL = "anthropic:claude-test"
WARM = {"temperature": 0.15}
KEY = "canary-0123456789"
DOCUMENT = "Harbour fee: EUR 1,250\n" + "The harbour was built in stone.\n" * 200


def prompt(name: str = "harbour_fee") -> Prompt:
    variable = Variable(name=name, type="number", instructions="What a berth costs.")
    return build_prompt(RULES, DOCUMENT, Question(variables=(variable_prompt(variable),)))


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    forget()
    capabilities.forget()
    yield
    forget()
    capabilities.forget()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[AnthropicServer]:
    with AnthropicServer() as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
        yield server


def test_the_answer_comes_back_whole(server: AnthropicServer) -> None:
    reply = ask(MODEL, WARM, prompt(), cache_key="k")

    assert answer_for(interpret(reply), "harbour_fee").values[0].value == "1250"
    assert reply.finish_reason == "end_turn"
    assert reply.usage.completion_tokens == 20
    assert len(server.requests) == 1


def test_what_is_sent_is_the_prompt_with_the_schema_and_a_mark_behind_the_document(server: AnthropicServer) -> None:
    asked = prompt()
    ask(MODEL, WARM, asked, cache_key="k")
    body = server.requests[0]

    assert body["system"] == asked.system
    assert body["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": asked.document, "cache_control": {"type": "ephemeral"}},
                {"type": "text", "text": asked.question},
            ],
        }
    ]
    assert body["output_config"]["format"]["type"] == "json_schema"
    assert body["output_config"]["format"]["schema"]["required"] == ["answers"]
    assert body["temperature"] == 0.15
    assert not {"prompt_cache_key", "logprobs", "tools"} & body.keys()


def test_the_second_question_about_a_document_is_read_from_the_cache(server: AnthropicServer) -> None:
    first, second = ask(MODEL, WARM, prompt()), ask(MODEL, WARM, prompt("berths"))

    assert first.usage.cached_tokens == 0
    assert (second.usage.cached_tokens or 0) > 0.9 * (second.usage.prompt_tokens or 0)
    assert abs((first.usage.prompt_tokens or 0) - (second.usage.prompt_tokens or 0)) < 10


def test_where_a_schema_is_refused_a_tool_is_called_from_then_on(server: AnthropicServer) -> None:
    server.refused = {"output_config", "temperature"}

    for _ in range(2):
        reply = ask(MODEL, WARM, prompt())
        assert answer_for(interpret(reply), "harbour_fee").values[0].value == "1250"
    bodies = server.requests
    assert ["output_config" in body for body in bodies][-2:] == [False, False]
    assert bodies[-1]["tool_choice"] == {"type": "tool", "name": "answers"}
    assert capabilities.lacking(MODEL) == {"json_schema", "temperature"}
    assert len(bodies) == 4


UNUSABLE = {"cut": "truncated", "refusal": "refused", "empty": "empty_reply", "page": "malformed"}


@pytest.mark.parametrize(("fault", "reason"), UNUSABLE.items())
def test_a_reply_that_is_no_answer_has_its_reason(server: AnthropicServer, fault: str, reason: str) -> None:
    server.script = [fault]
    reply = ask(MODEL, WARM, prompt())

    with pytest.raises(OutputError) as raised:
        interpret(reply)
    assert raised.value.reason == reason
    assert len(server.requests) == 1


FAILING: dict[str, tuple[type[ProviderError], str]] = {
    "too_long": (RejectedCallError, "too_long"),
    "too_large": (RejectedCallError, "too_long"),
    "credit": (QuotaExceededError, "quota"),
    "filtered": (RejectedCallError, "content_filtered"),
    "wrong": (RejectedCallError, "rejected"),
    "key": (AuthenticationFailedError, "authentication"),
    "permission": (AuthenticationFailedError, "authentication"),
    "model": (UnknownModelError, "unknown_model"),
    "rate": (RateLimitedError, "rate_limited"),
    "failure": (ProviderDownError, "provider_unavailable"),
    "overloaded": (ProviderDownError, "provider_unavailable"),
    "in_200": (ProviderDownError, "provider_unavailable"),
}


@pytest.mark.parametrize(("fault", "kind", "reason"), [(fault, *expected) for fault, expected in FAILING.items()])
def test_a_call_that_fails_says_why(server: AnthropicServer, fault: str, kind: Any, reason: str) -> None:
    server.script = [fault]

    with pytest.raises(kind) as raised:
        ask(MODEL, WARM, prompt())
    assert raised.value.reason == reason
    assert "Quill" not in str(raised.value)
    assert KEY not in str(raised.value)
    assert len(server.requests) == 1


def test_what_it_says_about_a_key_is_passed_on(server: AnthropicServer) -> None:
    server.script = ["key"]

    with pytest.raises(AuthenticationFailedError, match=r"invalid x-api-key.*ANTHROPIC_API_KEY"):
        ask(MODEL, WARM, prompt())


def test_retry_after_is_handed_on(server: AnthropicServer) -> None:
    server.script = ["rate"]

    with pytest.raises(RateLimitedError) as raised:
        ask(MODEL, WARM, prompt())
    assert raised.value.retry_after == 7


def test_without_a_key_it_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)

    with pytest.raises(ModelSetupError, match="ANTHROPIC_API_KEY"):
        check_model(MODEL)


def test_a_reply_that_drips_in_keeps_no_one_longer_than_the_timeout(
    server: AnthropicServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINNOW_TIMEOUT_SECONDS", "0.4")
    server.script = ["drip"]
    started = time.monotonic()

    with pytest.raises(ProviderTimeoutError):
        ask(MODEL, WARM, prompt())
    assert 0.3 < time.monotonic() - started < 3
