"""What can be set on the test model service (see openai_server.py), and the faults and errors that it knows."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

Json = dict[str, Any]
INVALID = "invalid_request_error"
TOO_LONG = "context_length_exceeded"
LONG_IN_WORDS = (
    "This model's maximum context length is 8192 tokens. However, your request has 9000 input tokens. "
    "Please reduce the length of the input messages."
)
FILTERED = "The response was filtered due to the prompt triggering the content management policy."

# name: status, message, code, param, type (if not INVALID) of the errors that can be asked for as faults
ERRORS: dict[str, tuple[Any, ...]] = {
    "rate_limit": (429, "Rate limit reached for requests.", "rate_limit_exceeded", None, "requests"),
    "quota": (429, "You exceeded your current quota.", "insufficient_quota", None, "insufficient_quota"),
    "server_error": (500, "The server had an error while processing it.", None, None, "server_error"),
    "unavailable": (503, "The engine is currently overloaded.", None, None, "service_unavailable"),
    "unauthorized": (401, "Incorrect API key provided.", "invalid_api_key"),
    "context_overflow": (400, "The prompt is too long.", TOO_LONG, "messages"),
    "context_overflow_words": (400, LONG_IN_WORDS, 400, None, "BadRequestError"),  # as vLLM says it
    "content_filter_400": (400, FILTERED, "content_filter", "prompt"),
    "error_in_200": (200, "Upstream provider failed.", 502, None, "upstream_error"),  # as proxies do it
}
SILENT = {"drop", "hang"}  # the connection is closed without a reply
CELLS = {  # can spoil one answer and leave the others of the reply alone
    "invented", "wrong_shape", "missing_variable", "extra_key", "null_values", "scalar_for_list",
    "nan_confidence", "huge_number", "duplicate_keys",
}  # fmt: skip
SPOILED = {
    "malformed", "truncated", "length_json", "refusal", "content_filter", "empty", "empty_choices", "no_usage",
    "tool_call_reply", "reasoning_exhausted", "fenced", "prose",
}  # fmt: skip
FAULTS = {*ERRORS, *SILENT, *CELLS, *SPOILED}


@dataclass(frozen=True)
class Fault:
    """One fault; retry_after, hang_seconds and an error's message override what is set.

    With document, the fault of a variable hits only documents that contain that text.
    """

    fault: str
    retry_after: str | None = None
    hang_seconds: float | None = None
    document: str = ""
    message: str | None = None

    @classmethod
    def of(cls, value: Any) -> Fault | None:
        """A fault from its name or object; None and "ok" are no fault."""
        if value in (None, "ok"):
            return None
        fault = cls(**value) if isinstance(value, dict) else cls(value)
        if fault.fault not in FAULTS:
            raise ValueError(f"unknown fault {fault.fault!r}, known: {', '.join(sorted(FAULTS))}")
        return fault


@dataclass(frozen=True)
class Settings:
    """Everything that can be set on the command line, by OpenAIServer(...) and by configure(...)."""

    latency: float = 0.0  # seconds before a reply; 4xx replies come at once, as a provider's do
    jitter: float = 0.0  # up to this many seconds more
    truth: Json | str = field(default_factory=dict)  # {substring, or "*": {variable: answer}} or its JSON file
    strict_evidence: bool = False  # of the truth, give only what has its evidence in the text sent
    entity_pattern: str | None = None  # with named groups: each match in the text sent is an entity
    announced_pattern: str | None = None  # with a group `number`: how many the document says there are
    identified_by: list[str] = field(default_factory=list)  # groups that an entity's name may hold; none: any
    api_key: str | None = None
    models: list[str] | None = None
    json_schema: bool = True
    json_object: bool = True
    tools: bool = True
    refuse_temperature: bool = False
    refuse_logprobs: bool = False
    refuse_prompt_cache_key: bool = False
    logprob: float = -0.05  # of every token, where a request asks for log-probabilities
    script: list[Any] = field(default_factory=list)  # one per request that is valid and within the rate
    rates: dict[str, float] = field(default_factory=dict)  # drawn by seed, request and attempt
    fault_variables: Json = field(default_factory=dict)  # those of CELLS hit only that answer
    seed: int = 0
    retry_after: str | None = "1"
    hang_seconds: float = 3600.0
    max_output_tokens: int | None = None
    context_tokens: int | None = None  # longer prompts are refused
    requests_per_minute: float | None = None
    account_tokens: bool = True  # False: prompt tokens estimated from the length, nothing cached
    keep_bodies: bool = False

    def __post_init__(self) -> None:
        for value in (*self.script, *self.fault_variables.values(), *self.rates):
            Fault.of(value)
        if sum(self.rates.values()) > 1 + 1e-9:
            raise ValueError("the rates add up to more than 1")
        for pattern in (self.entity_pattern, self.announced_pattern):
            try:
                re.compile(pattern or "")
            except re.error as problem:
                raise ValueError(f"{pattern!r} is no regular expression: {problem}") from problem
        if self.announced_pattern and "number" not in re.compile(self.announced_pattern).groupindex:
            raise ValueError("announced_pattern has no group `number`")


@dataclass(frozen=True)
class Reply:
    """Status 0 is no reply: the connection is closed after the delay."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0


def error(status: int, message: str, code: Any = None, param: str | None = None, kind: str = INVALID) -> Reply:
    body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return Reply(status, orjson.dumps(body))


def retry_after(reply: Reply, value: str | None) -> Reply:
    return reply if value is None else replace(reply, headers={"retry-after": str(value)})
