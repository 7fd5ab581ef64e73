"""Faults of the test model service that a reader of replies has to see, and what a provider may not be able to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.openai_post import DOCUMENT, SCHEMA, VARIABLES, Post, body_of
from tests.openai_server import OpenAIServer

TITLE, YEAR = VARIABLES[:2]
TOOL = {"type": "function", "function": {"name": "envelope", "parameters": {"type": "object"}}}
CALLED = {"type": "function", "function": {"name": "envelope"}}


@pytest.fixture(scope="module")
def running() -> Iterator[Post]:
    with OpenAIServer() as server, httpx.Client(trust_env=False, timeout=10) as http:
        yield Post(server, http)


@pytest.fixture
def post(running: Post) -> Post:
    running.server.reset(settings=True)
    return running


def content_with(post: Post, fault: Any, **request: Any) -> str:
    post.server.configure(script=[fault])
    choice = post.choice(body_of(**request))
    assert choice["finish_reason"] == "stop"
    content: str = choice["message"]["content"]
    return content


# Replies


def test_a_json_cut_short_that_does_not_say_so(post: Post) -> None:
    whole = post.choice()["message"]["content"]
    content = content_with(post, "length_json")
    assert whole.startswith(content)
    with pytest.raises(json.JSONDecodeError):
        json.loads(content)


def test_a_tool_call_nobody_asked_for(post: Post) -> None:
    whole = post.choice()["message"]["content"]
    post.server.configure(script=["tool_call_reply"])
    choice = post.choice()
    assert choice["message"]["content"] is None
    assert [call["function"]["arguments"] for call in choice["message"]["tool_calls"]] == [whole]
    assert choice["finish_reason"] == "tool_calls"


def test_an_error_with_status_200(post: Post) -> None:
    post.server.configure(script=["error_in_200"])
    response = post()
    assert response.status_code == 200
    assert list(response.json()) == ["error"]
    stats = post.server.stats()
    assert (stats.by_status, stats.answered, stats.completion_tokens) == ({200: 1}, 0, 0)
    post()
    assert post.server.stats().duplicates == 0  # nothing was paid for


@pytest.mark.parametrize(("limit", "tokens"), [(None, 4096), (50, 50)])
def test_reasoning_may_eat_the_budget(post: Post, limit: int | None, tokens: int) -> None:
    post.server.configure(script=["reasoning_exhausted"], max_output_tokens=limit)
    reply = post().json()
    choice, usage = reply["choices"][0], reply["usage"]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("length", "")
    assert usage["completion_tokens"] == usage["completion_tokens_details"]["reasoning_tokens"] == tokens
    assert usage["total_tokens"] == usage["prompt_tokens"] + tokens
    assert post.server.stats().completion_tokens == tokens


@pytest.mark.parametrize(("fault", "start", "end"), [("fenced", "```json\n", "\n```"), ("prose", "Here is", "more.")])
def test_the_right_json_in_something_else(post: Post, fault: str, start: str, end: str) -> None:
    whole = post.choice()["message"]["content"]
    content = content_with(post, fault)
    assert whole in content
    assert content.startswith(start)
    assert content.endswith(end)


def test_keys_may_stand_twice(post: Post) -> None:
    pairs = json.loads(content_with(post, "duplicate_keys", variables=[YEAR]), object_pairs_hook=list)
    answer = pairs[0][1][0]
    names = [name for name, _ in answer]
    assert [name for name in sorted({*names}) if names.count(name) == 2] == ["status", "values"]
    assert [value for name, value in answer if name == "status"] == ["unclear", "found"]


@pytest.mark.parametrize(
    ("fault", "wrong"),
    [
        ("extra_key", {"explanation": "It stands in the document."}),
        ("null_values", {"values": None}),
        ("scalar_for_list", {"values": "2024"}),
        ("huge_number", {"confidence": float("inf")}),
    ],
)
def test_one_thing_in_an_answer_is_wrong(post: Post, fault: str, wrong: dict[str, Any]) -> None:
    right = post.answers(body_of(variables=[YEAR]))["year"]
    content = content_with(post, fault, variables=[YEAR])
    assert json.loads(content)["answers"] == [{**right, **wrong}]
    assert ("1e400" in content) is (fault == "huge_number")


def test_confidence_may_be_no_number(post: Post) -> None:
    assert '"confidence":NaN}' in content_with(post, "nan_confidence")


def test_a_variable_may_be_missing(post: Post) -> None:
    post.server.configure(
        script=["missing_variable"], fault_variables={"year": "missing_variable", "kind": "null_values"}
    )
    assert list(post.answers()) == ["year", "signed_on", "is_signed", "kind"]
    answers = post.answers()
    assert list(answers) == ["title", "signed_on", "is_signed", "kind"]
    assert answers["kind"]["values"] is None
    assert post.answers(body_of(variables=[YEAR])) == {}
    assert post.server.requests()[1]["fault"] == "missing_variable+null_values"


# Refusals


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        ("context_overflow_words", 400, "maximum context length is 8192 tokens"),
        ({"fault": "context_overflow_words", "message": "the request exceeds the available context size"}, 400,
         "the request exceeds the available context size"),
        ("content_filter_400", "content_filter", "content management policy"),
    ],
)  # fmt: skip
def test_refusals_in_other_words(post: Post, fault: Any, code: Any, words: str) -> None:
    post.server.configure(script=[fault], latency=5)
    response = post()
    assert response.status_code == 400
    assert response.json()["error"]["code"] == code
    assert words in response.json()["error"]["message"]
    assert response.elapsed.total_seconds() < 1  # a refusal comes at once


def test_prompts_beyond_the_context_are_refused(post: Post) -> None:
    post.server.configure(context_tokens=1000, script=["ok"])
    assert post(body_of("word " * 700)).status_code == 200
    response = post(body_of("word " * 1000))
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"
    assert "maximum context length is 1000 tokens" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("setting", "request_", "param"),
    [
        ({"json_schema": False}, {}, "response_format"),
        ({"json_object": False}, {"response_format": {"type": "json_object"}}, "response_format"),
        ({"tools": False}, {"tools": [TOOL], "tool_choice": CALLED}, "tools"),
        ({"refuse_logprobs": True}, {"logprobs": True}, "logprobs"),
        ({"refuse_prompt_cache_key": True}, {"prompt_cache_key": "a"}, "prompt_cache_key"),
    ],
)
def test_what_a_provider_cannot_do(post: Post, setting: Any, request_: Any, param: str) -> None:
    body = {**body_of(), **request_}
    assert post(body).status_code == 200
    post.server.configure(**setting)
    response = post(body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param
    assert param in response.json()["error"]["message"].replace("json_schema", param).replace("json_object", param)
    assert post({**body_of(), "response_format": {"type": "text"}}).status_code == 200


# Tools and log-probabilities


@pytest.mark.parametrize(
    ("choice", "reason"), [(CALLED, "tool_calls"), ("required", "tool_calls"), ("auto", "stop"), (None, "stop")]
)
def test_a_tool_is_called_where_the_request_wants_it(post: Post, choice: Any, reason: str) -> None:
    whole = post.choice()["message"]["content"]
    reply = post.choice(body_of(tools=[TOOL], tool_choice=choice))
    assert reply["finish_reason"] == reason
    if reason == "stop":
        assert reply["message"]["content"] == whole
    else:
        assert reply["message"]["content"] is None
        (called,) = reply["message"]["tool_calls"]
        assert called["function"] == {"name": "envelope", "arguments": whole}


def test_a_tool_call_may_be_cut_or_refused(post: Post) -> None:
    post.server.configure(max_output_tokens=20, script=["ok", "refusal"])
    cut, refused = (post.choice(body_of(tools=[TOOL], tool_choice=CALLED)) for _ in range(2))
    assert cut["finish_reason"] == "length"
    with pytest.raises(json.JSONDecodeError):
        json.loads(cut["message"]["tool_calls"][0]["function"]["arguments"])
    assert refused["message"]["refusal"]
    assert "tool_calls" not in refused["message"]


def test_log_probabilities_of_every_token(post: Post) -> None:
    assert post.choice()["logprobs"] is None
    post.server.configure(logprob=-0.5)
    reply = post(body_of("Grüße  aus\n\nKöln 2024", [TITLE, YEAR], logprobs=True)).json()
    tokens = reply["choices"][0]["logprobs"]["content"]
    assert "".join(token["token"] for token in tokens) == reply["choices"][0]["message"]["content"]
    assert {token["logprob"] for token in tokens} == {-0.5}
    assert len(tokens) == reply["usage"]["completion_tokens"]
    assert bytes(tokens[0]["bytes"]).decode() == tokens[0]["token"]


def test_the_openai_client_reads_tools_and_log_probabilities(post: Post) -> None:
    with openai.OpenAI(base_url=post.server.url, api_key="any", max_retries=0) as client:
        body = body_of(tools=[TOOL], tool_choice=CALLED, logprobs=True)
        choice = client.chat.completions.create(**body).choices[0]
        assert choice.message.tool_calls
        assert choice.logprobs
        assert (choice.logprobs.content or [])[0].logprob == -0.05
    assert body["response_format"] == SCHEMA


def test_wrong_patterns_are_refused(post: Post) -> None:
    for wrong in ({"entity_pattern": "("}, {"announced_pattern": "[0-9]+"}):
        with pytest.raises(ValueError, match=r"regular expression|group"):
            post.server.configure(**wrong)
    assert post.answers()["title"]["values"][0]["evidence"] in DOCUMENT
