"""What a server does not take is left out, at once, from then on, and said once."""

import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tasks import capabilities
from tasks.models import ask
from tests.conftest import forget
from tests.openai_server import OpenAIServer
from winnow.answers import ENVELOPE_SCHEMA, answer_for
from winnow.codebook import Variable
from winnow.exceptions import ProviderDownError, RejectedCallError
from winnow.prompts import RULES, Prompt, Question, build_prompt, variable_prompt
from winnow.replies import interpret

MODEL = "openai:tested"
WARM = {"temperature": 0.15}
OPTIONS = ("temperature", "prompt_cache_key", "logprobs", "response_format", "tools")


def prompt(document: str = "Harbour fee: EUR 1,250") -> Prompt:
    variable = Variable(name="harbour_fee", type="number", instructions="What a berth costs.")
    return build_prompt(RULES, document, Question(variables=(variable_prompt(variable),)))


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    forget()
    capabilities.forget()
    yield
    forget()
    capabilities.forget()


@pytest.fixture(scope="module")
def _one_server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


@pytest.fixture
def server(_one_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> OpenAIServer:
    _one_server.reset(settings=True)
    _one_server.configure(keep_bodies=True)
    monkeypatch.setenv("OPENAI_BASE_URL", _one_server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "canary-0123456789")
    return _one_server


def sent(server: OpenAIServer) -> list[dict[str, Any]]:
    return [{name: line["body"][name] for name in OPTIONS if name in line["body"]} for line in server.requests()]


def forms(server: OpenAIServer) -> list[str | None]:
    return ["tool" if "tools" in body else body.get("response_format", {}).get("type") for body in sent(server)]


def value_of(reply: Any) -> str:
    return answer_for(interpret(reply), "harbour_fee").values[0].value


def test_the_cache_key_goes_with_the_request_and_no_longer_than_it_may(server: OpenAIServer) -> None:
    ask(MODEL, WARM, prompt(), cache_key="a" * 100)

    assert sent(server)[0]["prompt_cache_key"] == "a" * 64


def test_probabilities_are_asked_for_where_it_is_set(server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.configure(logprob=-0.5)
    assert ask(MODEL, WARM, prompt()).probability is None

    monkeypatch.setenv("WINNOW_LOGPROBS", "true")
    forget()
    reply = ask(MODEL, WARM, prompt())
    assert reply.probability == pytest.approx(0.6065, abs=1e-4)
    assert "logprobs" not in json.dumps(reply.raw)
    assert [body.get("logprobs") for body in sent(server)] == [None, True]


REFUSED = {
    "temperature": {"refuse_temperature": True},
    "prompt_cache_key": {"refuse_prompt_cache_key": True},
    "logprobs": {"refuse_logprobs": True},
}


@pytest.mark.parametrize(("name", "settings"), REFUSED.items())
def test_what_is_refused_is_left_out_at_once_and_from_then_on(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch, name: str, settings: dict[str, Any]
) -> None:
    monkeypatch.setenv("WINNOW_LOGPROBS", "true")
    server.configure(**settings)

    for _ in range(2):
        assert value_of(ask(MODEL, WARM, prompt(), cache_key="k")) == "1250"
    assert [name in body for body in sent(server)] == [True, False, False]
    assert all(len(body) == 3 for body in sent(server)[1:])  # the rest is still sent


FORMS = {
    "json_schema": ({}, ["json_schema"]),
    "tool": ({"json_schema": False}, ["json_schema", "tool"]),
    "json_object": ({"json_schema": False, "tools": False}, ["json_schema", "tool", "json_object"]),
    "none": (
        {"json_schema": False, "tools": False, "json_object": False},
        ["json_schema", "tool", "json_object", None],
    ),
}


@pytest.mark.parametrize(("settings", "tried"), FORMS.values(), ids=FORMS)
def test_a_reply_is_asked_for_in_the_most_exact_form_that_the_server_takes(
    server: OpenAIServer, settings: dict[str, Any], tried: list[str | None]
) -> None:
    server.configure(**settings)

    for _ in range(2):
        assert value_of(ask(MODEL, WARM, prompt())) == "1250"
    assert forms(server) == [*tried, tried[-1]]


def test_the_one_tool_is_the_envelope_and_must_be_called(server: OpenAIServer) -> None:
    server.configure(json_schema=False)
    reply = ask(MODEL, WARM, prompt())
    body = server.requests()[-1]["body"]

    assert [tool["function"]["parameters"] for tool in body["tools"]] == [ENVELOPE_SCHEMA]
    assert body["tool_choice"]["function"]["name"] == body["tools"][0]["function"]["name"]
    assert reply.raw["tool_calls"][0]["args"] == json.loads(reply.text)


def test_a_server_that_takes_nothing_is_still_asked_and_each_lack_is_said_once(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WINNOW_LOGPROBS", "true")
    server.configure(json_schema=False, tools=False, json_object=False)
    server.configure(refuse_temperature=True, refuse_prompt_cache_key=True, refuse_logprobs=True)

    with caplog.at_level(logging.WARNING), ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: ask(MODEL, WARM, prompt(), cache_key="k"), range(24)))
    said = [record.getMessage() for record in caplog.records]

    assert {value_of(reply) for reply in replies} == {"1250"}
    assert len(said) == len(set(said)) == len(capabilities.CAPABILITIES)
    assert all(MODEL in line and "\n" not in line for line in said)
    assert sent(server)[-1] == {}


def test_another_model_is_still_asked_for_all(server: OpenAIServer) -> None:
    server.configure(json_schema=False)
    ask(MODEL, WARM, prompt())
    ask("openai:another", WARM, prompt())

    assert forms(server) == ["json_schema", "tool", "json_schema", "tool"]


def test_a_refusal_of_what_the_request_says_takes_nothing_away(server: OpenAIServer) -> None:
    for fault in ("context_overflow", "context_overflow_words", "content_filter_400"):
        server.configure(script=[{"fault": fault}])
        with pytest.raises(RejectedCallError):
            ask(MODEL, WARM, prompt(), cache_key="k")

    assert server.stats().requests == 3
    assert capabilities.lacking(MODEL) == frozenset()


def test_a_lack_counts_only_once_an_answer_came_without_it(server: OpenAIServer) -> None:
    server.configure(refuse_temperature=True, script=["server_error"])

    with pytest.raises(ProviderDownError):
        ask(MODEL, WARM, prompt())
    assert capabilities.lacking(MODEL) == frozenset()
    ask(MODEL, WARM, prompt())
    assert capabilities.lacking(MODEL) == {"temperature"}
