"""What the test model service (see openai_server.py) replies to a request; no network in here.

A prompt of the project's form is answered from its document, or from a given truth, always the same way.
Faults replace or spoil the reply: those of the script come first, one to a request, then those set for
variables, then those drawn at random. A request that a provider would refuse takes none of them.
"""

from __future__ import annotations

import math
import random
import re
import time
from collections import deque
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import orjson

from tests.openai_prompts import Call, count_tokens
from tests.openai_settings import (
    CELLS,
    ERRORS,
    FAULTS,
    SILENT,
    TOO_LONG,
    Fault,
    Json,
    Reply,
    Settings,
    error,
    retry_after,
)
from tests.openai_spoiling import cut_content, write_content
from tests.openai_truth import Truth

__all__ = ["FAULTS", "Completion", "Replies"]

REASONING_TOKENS = 4096  # spent on nothing, where the request sets no limit
WORD = re.compile(r"\s*(?:\w{1,6}|[^\w\s])|\s+")  # TOKEN with the white space before it: adds up to the text


@dataclass(frozen=True)
class Completion:
    """A reply of status 200, to which the ledger adds the usage."""

    text: str  # what counts as output
    choices: list[Json]
    delay: float
    fault: str | None
    reasoning: int = 0  # tokens of output that nobody sees

    def reply(self, model: str, number: int, usage: Json) -> Reply:
        body: Json = {"id": f"chatcmpl-{number}", "object": "chat.completion", "created": int(time.time())}
        body |= {"model": model, "choices": self.choices}
        if self.fault != "no_usage":
            body["usage"] = usage
        return Reply(200, orjson.dumps(body), {}, self.delay)


def called_tool(body: Json) -> str | None:
    """The tool that a request wants to be called; None where the reply may be text."""
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        return str(choice["function"]["name"])
    if choice == "required" and body.get("tools"):
        return str(body["tools"][0]["function"]["name"])
    return None


def logprobs(text: str, logprob: float) -> Json:
    tokens = ({"token": word, "bytes": list(word.encode())} for word in WORD.findall(text))
    return {"content": [{**token, "logprob": logprob, "top_logprobs": []} for token in tokens], "refusal": None}


class Replies:
    """Decides what each request gets: what a provider refuses first, then faults, then answers."""

    def __init__(self) -> None:
        self.settings = Settings()
        self._truth = Truth({})
        self._script: deque[Any] = deque()
        self._random = random.Random(0)
        self._allowance, self._allowed_at = math.inf, time.monotonic()

    def configure(self, changes: Json) -> None:
        """Changes some settings; the script, the truth, the seed and the rate start anew if among them."""
        settings = replace(self.settings, **changes)
        if changes.keys() & {"truth", "strict_evidence"}:
            self._truth = Truth(settings.truth, settings.strict_evidence)
        if "script" in changes:
            self._script = deque(settings.script)
        if "seed" in changes:
            self._random = random.Random(settings.seed)
        if "requests_per_minute" in changes:
            self._allowance = math.inf
        self.settings = settings

    def authorized(self, authorization: str) -> bool:
        key = self.settings.api_key
        return key is None or authorization == f"Bearer {key}"

    def decide(self, call: Call, attempt: int) -> tuple[Reply | Completion, str | None]:
        """The reply and the name of the fault in it; attempt counts the arrivals of the same request."""
        refused = self._refuse(call) or self._refuse_length(call) or self._limit_rate()
        if refused:
            return refused, None
        fault, cells = self._choose_fault(call, attempt)
        name = fault.fault if fault else None
        delay = self.settings.latency + self._random.random() * self.settings.jitter
        if fault and name in ERRORS:
            status, message, *rest = ERRORS[name]
            wait = self.settings.retry_after if name == "rate_limit" else None
            reply = retry_after(error(status, fault.message or message, *rest), fault.retry_after or wait)
            return replace(reply, delay=0.0 if 400 <= status < 500 else delay), name
        if fault and name in SILENT:
            hang = self.settings.hang_seconds if fault.hang_seconds is None else fault.hang_seconds
            return Reply(0, delay=hang if name == "hang" else delay), name
        return self._complete(call, name, cells, delay), name or "+".join(sorted({*cells.values()})) or None

    def _refuse(self, call: Call) -> Reply | None:
        settings, body = self.settings, call.body or {}
        model, messages = body.get("model"), body.get("messages")
        form = (body.get("response_format") or {}).get("type")
        no_messages = not messages or len(call.texts) != len(messages)
        unknown = settings.models is not None and model not in settings.models

        def unsupported(param: str, code: str | None = "unsupported_value") -> tuple[Any, ...]:
            return 400, f"'{param}' is not supported with this model.", code, param

        checks: list[tuple[bool, tuple[Any, ...]]] = [
            (not self.authorized(call.authorization), ERRORS["unauthorized"]),
            (call.body is None, (400, "We could not parse the JSON body of your request.")),
            (not isinstance(model, str) or not model, (400, "You must provide a model.", None, "model")),
            (no_messages, (400, "'messages' is missing.", "missing_required_parameter", "messages")),
            (unknown, (404, f"The model `{model}` does not exist.", "model_not_found")),
            (bool(body.get("stream")), (400, "No streaming here.", "unsupported_value", "stream")),
            (settings.refuse_temperature and body.get("temperature") is not None, unsupported("temperature")),
            (settings.refuse_logprobs and bool(body.get("logprobs")), unsupported("logprobs")),
            (settings.refuse_prompt_cache_key and "prompt_cache_key" in body,
             (400, "Unknown parameter: 'prompt_cache_key'.", "unknown_parameter", "prompt_cache_key")),
            (not settings.tools and bool(body.get("tools")), unsupported("tools", None)),
            (not settings.json_schema and form == "json_schema",
             (400, "'json_schema' is not supported.", None, "response_format")),
            (not settings.json_object and form == "json_object",
             (400, "'json_object' is not supported.", None, "response_format")),
        ]  # fmt: skip
        return next((error(*refusal) for holds, refusal in checks if holds), None)

    def _refuse_length(self, call: Call) -> Reply | None:
        most = self.settings.context_tokens
        if most is None or (tokens := sum(map(count_tokens, call.texts))) <= most:
            return None
        said = (
            f"This model's maximum context length is {most} tokens. However, your messages resulted in {tokens} tokens."
        )
        return error(400, said, TOO_LONG, "messages")

    def _limit_rate(self) -> Reply | None:
        """A token bucket that holds what one second allows."""
        if not self.settings.requests_per_minute:
            return None
        rate, now = self.settings.requests_per_minute / 60, time.monotonic()
        self._allowance = min(max(1.0, rate), self._allowance + (now - self._allowed_at) * rate)
        self._allowed_at = now
        if self._allowance >= 1:
            self._allowance -= 1
            return None
        wait = max(1, math.ceil((1 - self._allowance) / rate))
        return retry_after(error(*ERRORS["rate_limit"]), str(wait))

    def _choose_fault(self, call: Call, attempt: int) -> tuple[Fault | None, dict[str, str]]:
        """The fault of the whole reply and those of single variables."""
        if self._script:
            return Fault.of(self._script.popleft()), {}
        cells: dict[str, str] = {}
        for variable in call.prompt.variables if call.prompt and self.settings.fault_variables else ():
            fault = Fault.of(self.settings.fault_variables.get(variable["variable"]))
            if call.prompt and fault and fault.document in call.prompt.document:
                if fault.fault not in CELLS:
                    return fault, {}
                cells[variable["variable"]] = fault.fault
        if self.settings.rates:
            # drawn from the request, not from a sequence: the same whatever order requests arrive in
            draw = random.Random(f"{self.settings.seed} {call.digest} {attempt}").random()
            for name, rate in self.settings.rates.items():
                if draw < rate:
                    return Fault.of(name), cells
                draw -= rate
        return None, cells

    def _complete(self, call: Call, fault: str | None, cells: dict[str, str], delay: float) -> Completion:
        body = call.body or {}
        limits = (self.settings.max_output_tokens, body.get("max_completion_tokens"), body.get("max_tokens"))
        limit = min((limit for limit in limits if isinstance(limit, int) and limit > 0), default=None)
        answering = partial(self._truth.answer, self.settings, call.prompt) if call.prompt else dict
        text, finish_reason = cut_content(write_content(call.prompt, answering, fault, cells), fault, limit)
        message: Json = {"role": "assistant", "content": text, "refusal": None}
        tool = called_tool(body) or ("answers" if fault == "tool_call_reply" else None)
        if fault == "refusal":
            text = "I'm sorry, but I can't help with that."
            message.update(content=None, refusal=text)
        elif tool and text:
            called = {"id": "call_1", "type": "function", "function": {"name": tool, "arguments": text}}
            message.update(content=None, tool_calls=[called])
            finish_reason = "tool_calls" if finish_reason == "stop" else finish_reason
        choice = {"index": 0, "message": message, "finish_reason": finish_reason}
        choice["logprobs"] = logprobs(text, self.settings.logprob) if body.get("logprobs") else None
        reasoning = (limit or REASONING_TOKENS) if fault == "reasoning_exhausted" else 0
        return Completion(text, [] if fault == "empty_choices" else [choice], delay, fault, reasoning)
