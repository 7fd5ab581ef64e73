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
from dataclasses import dataclass, field, replace
from datetime import date
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

Json = dict[str, Any]
INVALID = "invalid_request_error"

# name: status, message, code, param, type (if not INVALID) of the errors that can be asked for as faults
ERRORS: dict[str, tuple[Any, ...]] = {
    "rate_limit": (429, "Rate limit reached for requests.", "rate_limit_exceeded", None, "requests"),
    "quota": (429, "You exceeded your current quota.", "insufficient_quota", None, "insufficient_quota"),
    "server_error": (500, "The server had an error while processing it.", None, None, "server_error"),
    "unavailable": (503, "The engine is currently overloaded.", None, None, "service_unavailable"),
    "unauthorized": (401, "Incorrect API key provided.", "invalid_api_key"),
    "context_overflow": (400, "The prompt is too long.", "context_length_exceeded", "messages"),
}
SILENT = {"drop", "hang"}  # the connection is closed without a reply
CELLS = {"invented", "wrong_shape"}  # can spoil one answer and leave the others of the reply alone
SPOILED = {"malformed", "truncated", "refusal", "content_filter", "empty", "empty_choices", "no_usage"}
FAULTS = {*ERRORS, *SILENT, *CELLS, *SPOILED}


@dataclass(frozen=True)
class Fault:
    """One fault; retry_after and hang_seconds override the settings.

    With document, the fault of a variable hits only documents that contain that text.
    """

    fault: str
    retry_after: str | None = None
    hang_seconds: float | None = None
    document: str = ""

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
    truth: Json | str = field(default_factory=dict)  # {substring: {variable: answer}} or its JSON file
    api_key: str | None = None
    models: list[str] | None = None
    json_schema: bool = True
    refuse_temperature: bool = False
    script: list[Any] = field(default_factory=list)  # one per request that is valid and within the rate
    rates: dict[str, float] = field(default_factory=dict)  # drawn by seed, request and attempt
    fault_variables: Json = field(default_factory=dict)  # invented and wrong_shape hit only that answer
    seed: int = 0
    retry_after: str | None = "1"
    hang_seconds: float = 3600.0
    max_output_tokens: int | None = None
    requests_per_minute: float | None = None
    account_tokens: bool = True  # False: prompt tokens estimated from the length, nothing cached
    keep_bodies: bool = False

    def __post_init__(self) -> None:
        for value in (*self.script, *self.fault_variables.values(), *self.rates):
            Fault.of(value)
        if sum(self.rates.values()) > 1 + 1e-9:
            raise ValueError("the rates add up to more than 1")


@dataclass(frozen=True)
class Reply:
    """Status 0 is no reply: the connection is closed after the delay."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0


def error(status: int, message: str, code: str | None = None, param: str | None = None, kind: str = INVALID) -> Reply:
    body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return Reply(status, orjson.dumps(body))


def retry_after(reply: Reply, value: str | None) -> Reply:
    return reply if value is None else replace(reply, headers={"retry-after": str(value)})


@dataclass(frozen=True)
class Prompt:
    """The project's user message, taken apart."""

    id: str
    document: str
    variables: list[Json]

    @classmethod
    def read(cls, text: str) -> Prompt | None:
        opening = re.match(r"<document ([0-9a-f]{16})>\n", text)
        if not opening:
            return None
        id, start = opening[1], opening.end()
        # the last one: the document may hold anything, the JSON after it holds no raw newline
        boundary = f"\n</document {id}>\n\n<variables {id}>\n"
        end = text.rfind(boundary, start - 1)
        close = text.find(f"\n</variables {id}>", end + len(boundary))
        if min(end, close) < 0:
            return None
        try:
            variables = orjson.loads(text[end + len(boundary) : close])
            names = [variable["variable"] for variable in variables]
        except (ValueError, TypeError, KeyError):
            return None
        return cls(id, text[start:end], variables) if names else None


def text_of(message: Json) -> str:
    """The text of a message, whose content may also be a list of parts."""
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


TOKEN = re.compile(r"\w{1,6}|[^\w\s]")  # near enough to a model's, and quick to count
NUMBER = re.compile(r"(?:(?<![\w-])-)?[0-9]+(?:,[0-9]{3}(?![0-9]))*(?:\.[0-9]+)?")
DATE = re.compile(r"(?<![0-9])[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9])")
SENTENCE = re.compile(r"\S(?:[^\n]{9,198}?[.!?](?=\s|\Z)|[^\n]{0,198})")
INVENTED = "This sentence was invented by the model."


def quote(document: str, start: int, end: int) -> str:
    """The line around a place, shortened where documents have no line breaks."""
    line_start, line_end = document.rfind("\n", 0, start) + 1, document.find("\n", end)
    line_end = len(document) if line_end < 0 else line_end
    return document[max(line_start, start - 100) : min(line_end, end + 100)].strip()


def is_date(text: str) -> bool:
    try:
        return bool(date.fromisoformat(text))
    except ValueError:
        return False


@lru_cache(maxsize=512)
def read_value(document: str, kind: str) -> tuple[str, str] | None:
    """The first value of the type in the document and the line it stands in."""
    if kind == "date":
        match = next((found for found in DATE.finditer(document) if is_date(found[0])), None)
    else:
        match = (NUMBER if kind == "number" else SENTENCE).search(document)
    if not match:
        return None
    value = match[0].replace(",", "") if kind == "number" else match[0].strip()
    return value, quote(document, *match.span())


def default_answer(document: str, variable: Json) -> Json:
    kind = variable.get("type")
    read = read_value(document, kind if kind in ("number", "date") else "text")
    value = read[0] if read else ""
    if kind == "boolean":
        value = "true"
    elif kind == "category":
        categories = variable.get("categories") or []
        read, value = (read, str(categories[0]["value"])) if categories else (None, "")
    return {"values": [{"value": value, "evidence": read[1]}] if read else []}


class Truth:
    """Finds the answers given for a document by a substring of it; the first that fits is taken."""

    def __init__(self, truth: Json | str) -> None:
        table = truth if isinstance(truth, dict) else orjson.loads(Path(truth).read_bytes())
        self._table: dict[str, Json] = table
        self._width = min(map(len, table), default=0)
        self._starts: dict[str, list[tuple[int, str]]] = {}
        for item in enumerate(table):
            self._starts.setdefault(item[1][: self._width], []).append(item)
        self.answers_for = lru_cache(maxsize=512)(self._answers_for)

    def _answers_for(self, document: str) -> Json:
        if len(self._table) < 200:
            return next((self._table[key] for key in self._table if key in document), {})
        # with many keys one pass over the document costs less than a search for each of them
        pieces = {document[at : at + self._width] for at in range(len(document) - self._width + 1)}
        found = (item for piece in pieces & self._starts.keys() for item in self._starts[piece])
        first = min((item for item in found if item[1] in document), default=None)
        return self._table[first[1]] if first else {}

    def answer(self, document: str, variable: Json) -> Json:
        name = variable["variable"]
        given = self.answers_for(document).get(name)
        answer = default_answer(document, variable) if given is None else given
        values = answer.get("values", [])
        status = answer.get("status", "found" if values else "not_stated")
        confidence = answer.get("confidence", 0.9)
        return {"variable": name, "status": status, "values": values, "confidence": confidence}


def invent(answer: Json, variable: Json, document: str) -> Json:
    """The answer with evidence that the document does not hold, and with a value if it had none."""
    evidence = INVENTED
    while evidence in document:
        evidence += " " + INVENTED
    sample = {"number": "7", "date": "2001-02-03"}.get(variable.get("type", ""))
    values = answer["values"] or default_answer(sample or "Invented.", variable)["values"]
    values = [{"value": value["value"], "evidence": evidence} for value in values]
    return {**answer, "status": "found", "values": values}


def write_content(prompt: Prompt | None, truth: Truth, fault: str | None, cells: dict[str, str]) -> str:
    """The content of the reply's message; cells are the faults of single variables."""
    if fault == "malformed":
        return "Certainly! Here is what I found: {governing law: see the document}"
    if prompt is None:
        return "OK."
    answers = []
    for variable in prompt.variables:
        answer = truth.answer(prompt.document, variable)
        spoiled = fault or cells.get(variable["variable"])
        if spoiled == "invented":
            answer = invent(answer, variable, prompt.document)
        elif spoiled == "wrong_shape":
            answer = {"name": variable["variable"], "result": [value["value"] for value in answer["values"]]}
        answers.append(answer)
    return orjson.dumps({"results" if fault == "wrong_shape" else "answers": answers}).decode()


@dataclass(frozen=True)
class Call:
    """A request as it arrived; body is None if it is not a JSON object."""

    authorization: str
    body: Json | None
    digest: str  # of the body with sorted keys: the same for the same request
    prompt: Prompt | None
    texts: list[str]

    @classmethod
    def read(cls, raw: bytes, authorization: str) -> Call:
        body, canonical, texts = None, raw, []
        try:
            loaded = orjson.loads(raw)
            if isinstance(loaded, dict):
                body, canonical = loaded, orjson.dumps(loaded, option=orjson.OPT_SORT_KEYS)
                texts = [text_of(message) for message in loaded["messages"]]
        except (ValueError, TypeError, KeyError, AttributeError):
            pass  # refused later, by what is missing
        prompts = (Prompt.read(text) for text in reversed(texts))
        prompt = next((prompt for prompt in prompts if prompt), None)
        return cls(authorization, body, blake2b(canonical, digest_size=8).hexdigest(), prompt, texts)


@dataclass(frozen=True)
class Completion:
    """A reply of status 200, to which the ledger adds the usage."""

    text: str  # what counts as output
    choices: list[Json]
    delay: float
    fault: str | None

    def reply(self, model: str, number: int, usage: Json) -> Reply:
        body: Json = {"id": f"chatcmpl-{number}", "object": "chat.completion", "created": int(time.time())}
        body |= {"model": model, "choices": self.choices}
        if self.fault != "no_usage":
            body["usage"] = usage
        return Reply(200, orjson.dumps(body), {}, self.delay)


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
        if "truth" in changes:
            self._truth = Truth(settings.truth)
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
        refused = self._refuse(call) or self._limit_rate()
        if refused:
            return refused, None
        fault, cells = self._choose_fault(call, attempt)
        name = fault.fault if fault else None
        delay = self.settings.latency + self._random.random() * self.settings.jitter
        if fault and name in ERRORS:
            wait = self.settings.retry_after if name == "rate_limit" else None
            reply = retry_after(error(*ERRORS[name]), fault.retry_after or wait)
            return replace(reply, delay=delay if reply.status >= 500 else 0.0), name
        if fault and name in SILENT:
            hang = self.settings.hang_seconds if fault.hang_seconds is None else fault.hang_seconds
            return Reply(0, delay=hang if name == "hang" else delay), name
        return self._complete(call, name, cells, delay), name or "+".join(sorted({*cells.values()})) or None

    def _refuse(self, call: Call) -> Reply | None:
        settings, body = self.settings, call.body or {}
        model, messages = body.get("model"), body.get("messages")
        strict = (body.get("response_format") or {}).get("type") == "json_schema"
        warm = body.get("temperature") is not None
        no_messages = not messages or len(call.texts) != len(messages)
        unknown = settings.models is not None and model not in settings.models
        checks: list[tuple[bool, tuple[Any, ...]]] = [
            (not self.authorized(call.authorization), ERRORS["unauthorized"]),
            (call.body is None, (400, "We could not parse the JSON body of your request.")),
            (not isinstance(model, str) or not model, (400, "You must provide a model.", None, "model")),
            (no_messages, (400, "'messages' is missing.", "missing_required_parameter", "messages")),
            (unknown, (404, f"The model `{model}` does not exist.", "model_not_found")),
            (bool(body.get("stream")), (400, "No streaming here.", "unsupported_value", "stream")),
            (settings.refuse_temperature and warm,
             (400, "'temperature' is not supported.", "unsupported_value", "temperature")),
            (not settings.json_schema and strict,
             (400, "'json_schema' is not supported.", None, "response_format")),
        ]  # fmt: skip
        return next((error(*refusal) for holds, refusal in checks if holds), None)

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
        text, finish_reason = write_content(call.prompt, self._truth, fault, cells), "stop"
        limits = (self.settings.max_output_tokens, body.get("max_completion_tokens"), body.get("max_tokens"))
        limit = min((limit for limit in limits if isinstance(limit, int) and limit > 0), default=None)
        if fault == "truncated":
            text, finish_reason = text[: len(text) // 2], "length"
        elif fault in ("empty", "content_filter"):
            text, finish_reason = "", "stop" if fault == "empty" else "content_filter"
        elif limit is not None:
            ends = [match.end() for match in TOKEN.finditer(text)]
            if len(ends) > limit:
                text, finish_reason = text[: ends[limit - 1]], "length"
        message: Json = {"role": "assistant", "content": text, "refusal": None}
        if fault == "refusal":
            text = "I'm sorry, but I can't help with that."
            message.update(content=None, refusal=text)
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}
        return Completion(text, [] if fault == "empty_choices" else [choice], delay, fault)
