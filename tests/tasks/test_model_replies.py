"""Replies in the forms of several providers, as their LangChain packages hand them on."""

import json
from typing import Any

import httpx2
import pytest
from langchain_core.messages import AIMessage

from tasks.model_replies import reply_in, reply_of
from winnow.exceptions import OutputError
from winnow.replies import interpret

ENDS: dict[str, tuple[dict[str, Any], str | None]] = {
    "OpenAI": ({"finish_reason": "length"}, "truncated"),
    "Anthropic": ({"stop_reason": "max_tokens"}, "truncated"),
    "Anthropic, its context": ({"stop_reason": "model_context_window_exceeded"}, "truncated"),
    "Mistral": ({"finish_reason": "model_length"}, "truncated"),
    "Gemini": ({"finish_reason": "MAX_TOKENS"}, "truncated"),
    "Ollama": ({"done_reason": "length"}, "truncated"),
    "a filter": ({"finish_reason": "content_filter"}, "content_filtered"),
    "Gemini, safety": ({"finish_reason": "SAFETY"}, "content_filtered"),
    "Gemini, recitation": ({"finish_reason": "RECITATION"}, "content_filtered"),
    "Gemini, prohibited": ({"finish_reason": "PROHIBITED_CONTENT"}, "content_filtered"),
    "Gemini, blocklist": ({"finish_reason": "BLOCKLIST"}, "content_filtered"),
    "Gemini, the request": ({"prompt_feedback": {"block_reason": "OTHER"}}, "content_filtered"),
    "Anthropic refuses": ({"stop_reason": "refusal"}, "refused"),
    "an end": ({"finish_reason": "stop"}, None),
    "an end at Anthropic": ({"stop_reason": "end_turn"}, None),
    "an end at Gemini": ({"finish_reason": "STOP", "prompt_feedback": {"block_reason": 0}}, None),
    "nothing said": ({}, None),
    "an odd form": ({"finish_reason": ["stop"]}, None),
}


@pytest.mark.parametrize(("metadata", "reason"), ENDS.values(), ids=ENDS)
def test_the_end_of_a_reply_has_one_name(metadata: dict[str, Any], reason: str | None) -> None:
    reply = reply_of(AIMessage('{"answers": []}', response_metadata=metadata), 0.1)

    assert reason_of(reply) == reason


def reason_of(reply: Any) -> str | None:
    try:
        interpret(reply)
    except OutputError as error:
        return error.reason
    return None


def test_text_is_put_together_from_its_blocks_without_the_thinking() -> None:
    blocks: list[Any] = [
        {"type": "thinking", "thinking": "Let me see.", "signature": "x"},
        {"type": "text", "text": '{"answers"'},
        {"type": "text", "text": ": []}"},
    ]

    assert reply_of(AIMessage(blocks), 0.1).text == '{"answers": []}'


def tokens(*logprobs: Any) -> dict[str, Any]:
    return {"content": [{"token": "a", "logprob": each, "top_logprobs": []} for each in logprobs]}


PROBABILITIES: dict[str, tuple[Any, float | None]] = {
    "certain": (tokens(0.0, 0.0), 1.0),
    "the geometric mean": (tokens(-0.2, -0.4), 0.7408),
    "rounded above certain": (tokens(1e-9), 1.0),
    "a list, as Ollama gives it": (tokens(-0.2, -0.4)["content"], 0.7408),
    "impossible tokens are left out": (tokens(-0.3, float("-inf"), None, "x"), 0.7408),
    "no tokens": (tokens(), None),
    "null": (None, None),
    "null for tokens": ({"content": None}, None),
    "an odd form": ("x", None),
}


@pytest.mark.parametrize(("logprobs", "expected"), PROBABILITIES.values(), ids=PROBABILITIES)
def test_a_replys_probability_is_that_of_its_tokens(logprobs: Any, expected: float | None) -> None:
    reply = reply_of(AIMessage("x", response_metadata={"logprobs": logprobs}), 0.1)

    assert reply.probability == (expected if expected is None else pytest.approx(expected, abs=1e-4))
    assert "logprobs" not in reply.raw["response_metadata"]


def test_probabilities_of_a_reply_that_the_client_could_not_read_are_read_too() -> None:
    choice = {"index": 0, "message": {"content": "x"}, "finish_reason": "length", "logprobs": tokens(-0.2, -0.4)}
    reply = reply_in(httpx2.Response(200, json={"choices": [choice]}), 0.1)

    assert reply is not None
    assert reply.probability == pytest.approx(0.7408, abs=1e-4)
    assert "logprobs" not in json.dumps(reply.raw)


def test_what_was_no_reply_is_none() -> None:
    assert reply_in(None, 0.1) is None
    assert reply_in(httpx2.Response(500, json={}), 0.1) is None
