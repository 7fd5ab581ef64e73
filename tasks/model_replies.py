"""What came back from a model, as a `Reply`: from LangChain's message, or from what its client could not read."""

import json
import math
from collections.abc import Mapping
from typing import Any

from langchain_core.messages import AIMessage

from winnow.calls import Reply, Usage

# How providers call it when a reply ends early, beside OpenAI's own length and content_filter.
_CUT_SHORT = {"length", "max_tokens", "MAX_TOKENS", "model_length", "model_context_window_exceeded"}
_FILTERED = {"content_filter", "SAFETY", "RECITATION", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII"}


def reply_of(message: AIMessage, seconds: float) -> Reply:
    """The reply in a message of LangChain's."""
    usage = message.usage_metadata
    details = usage.get("input_token_details") or {} if usage else {}
    metadata = message.response_metadata
    return Reply(
        raw=_without_logprobs(message.model_dump(mode="json", exclude_none=True)),
        text=_text(message),
        finish_reason=_finish_reason(metadata),
        refusal=bool(message.additional_kwargs.get("refusal")) or metadata.get("stop_reason") == "refusal",
        usage=Usage(
            prompt_tokens=usage["input_tokens"] if usage else None,
            cached_tokens=details.get("cache_read") if usage else None,
            completion_tokens=usage["output_tokens"] if usage else None,
        ),
        seconds=seconds,
        probability=_probability(metadata.get("logprobs")),
    )


def reply_in(response: Any, seconds: float) -> Reply | None:
    """A reply of status 200 that the client took for an error: cut short, filtered, without choices. It was paid for.

    None where there is none.
    """
    if getattr(response, "status_code", None) != 200:
        return None
    body, text = json_of(response)
    choice = _at(body, "choices", 0)
    said = _at(choice, "message", "content") if text is None else text
    usage = _at(body, "usage")
    probability = _probability(_at(choice, "logprobs"))
    return Reply(
        raw=_without_logprobs(body),
        text=said if isinstance(said, str) else "",
        finish_reason=_finish_reason({"finish_reason": _at(choice, "finish_reason")}),
        refusal=bool(_at(choice, "message", "refusal")),
        usage=Usage(
            prompt_tokens=_at(usage, "prompt_tokens"),
            cached_tokens=_at(usage, "prompt_tokens_details", "cached_tokens"),
            completion_tokens=_at(usage, "completion_tokens"),
        ),
        seconds=seconds,
        probability=probability,
    )


def json_of(response: Any) -> tuple[dict[str, Any], str | None]:
    """The JSON object of a response; where it is anything else (a proxy's page), its text, as it stands."""
    try:
        raw = response.json()
    except (ValueError, RuntimeError):  # no JSON, or not read to its end
        raw = None
    if isinstance(raw, dict):
        return raw, None
    text = response.text if response.is_closed else ""
    return {"body": text}, text


def _text(message: AIMessage) -> str:
    """Where the envelope stands: in the arguments of the one tool call, or in the text."""
    if len(message.tool_calls) == 1:
        return json.dumps(message.tool_calls[0]["args"])
    return message.text


def _finish_reason(metadata: Mapping[str, Any]) -> str | None:
    """Why the reply ended: `length` and `content_filter` for what each provider calls so, else its own word."""
    reason = next(
        (metadata[name] for name in ("finish_reason", "stop_reason", "done_reason") if metadata.get(name)), None
    )
    if reason is None and _at(metadata.get("prompt_feedback"), "block_reason"):
        return "content_filter"  # Gemini refused the request itself
    if not isinstance(reason, str):
        return None
    return "length" if reason in _CUT_SHORT else "content_filter" if reason in _FILTERED else reason


def _probability(logprobs: Any) -> float | None:
    """The geometric mean of the tokens' probabilities."""
    tokens = logprobs.get("content") if isinstance(logprobs, Mapping) else logprobs
    given = [_at(token, "logprob") for token in tokens] if isinstance(tokens, list) else []
    known = [float(each) for each in given if isinstance(each, int | float) and math.isfinite(each)]
    return min(1.0, math.exp(sum(known) / len(known))) if known else None


def _without_logprobs(raw: dict[str, Any]) -> dict[str, Any]:
    """What is stored leaves them out: they are many times as long as the reply, and `probability` says what counts."""
    if isinstance(raw.get("response_metadata"), dict):
        raw["response_metadata"].pop("logprobs", None)
    for choice in raw["choices"] if isinstance(raw.get("choices"), list) else ():
        if isinstance(choice, dict):
            choice.pop("logprobs", None)
    return raw


def _at(data: Any, *path: str | int) -> Any:
    """What stands at a place in JSON of whatever form; None where nothing does."""
    for step in path:
        if isinstance(data, Mapping):
            data = data.get(step)
        else:
            data = data[step] if isinstance(data, list) and isinstance(step, int) and step < len(data) else None
    return data
