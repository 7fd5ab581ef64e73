"""What a provider said when it did not answer: one form for every client library and every provider.

LangChain's `ModelError` family tells most errors apart; where a provider raises its own, the HTTP status, its codes
and, last, its words do.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import httpx2
from langchain_core import exceptions as langchain

UNREACHED = 0  # in place of a status, where no answer came

_KINDS: tuple[tuple[tuple[type[Exception], ...], int], ...] = (
    ((langchain.ModelRateLimitError,), 429),
    ((langchain.ModelAuthenticationError,), 401),
    ((langchain.ModelPermissionDeniedError,), 403),
    ((langchain.ModelNotFoundError,), 404),
    ((langchain.ModelTimeoutError, httpx.TimeoutException, httpx2.TimeoutException, TimeoutError), 408),
    ((langchain.ModelConnectionError, httpx.RequestError, httpx2.RequestError, ConnectionError), UNREACHED),
    ((langchain.ModelAPIError,), 500),
    ((langchain.ModelInvalidRequestError, langchain.ContextOverflowError), 400),
)

# What providers call it, in `code`, `status` or `type`: for errors that come with status 200 or with a plain 400.
_CODES = {
    **dict.fromkeys(("rate_limit_exceeded", "rate_limit_error", "too_many_requests", "resource_exhausted"), 429),
    **dict.fromkeys(("invalid_api_key", "api_key_invalid", "authentication_error", "unauthenticated"), 401),
    **dict.fromkeys(("permission_error", "permission_denied"), 403),
    **dict.fromkeys(("model_not_found", "not_found_error", "not_found"), 404),
    **dict.fromkeys(("timeout", "timeout_error", "deadline_exceeded"), 408),
    **dict.fromkeys(("server_error", "api_error", "internal", "internal_server_error"), 500),
    **dict.fromkeys(("overloaded_error", "service_unavailable", "unavailable"), 503),
    **dict.fromkeys(("invalid_request_error", "invalid_argument"), 400),
}
_NO_CREDIT = {"insufficient_quota", "billing_not_active", "billing_hard_limit_reached", "billing_error"}
_FILTERED = {"content_filter", "content_policy_violation", "responsibleaipolicyviolation", "data_inspection_failed"}
_TOO_LONG = {"context_length_exceeded", "exceed_context_size_error", "request_too_large", "string_above_max_length"}

_NO_CREDIT_WORDS = ("credit balance is too low",)
_FILTERED_WORDS = ("content management policy", "content filtering policy")
_TOO_LONG_WORDS = (
    "maximum context length",  # OpenAI, vLLM, Mistral
    "context window",  # OpenAI's responses
    "maximum model length",  # vLLM
    "available context size",  # llama.cpp
    "prompt is too long",  # Anthropic
    "exceed context limit",  # Anthropic, with the room for the reply
    "exceeds the maximum number of tokens",  # Gemini
    "request too large",  # more than the account's tokens of a minute: no waiting makes it fit
)
_KEY_WORDS = ("api key not valid", "could not resolve authentication", "anthropic authentication failed")


@dataclass(frozen=True)
class Failure:
    """What a provider said when it did not answer."""

    status: int  # as HTTP has them
    codes: frozenset[str] = frozenset()  # lower case
    said: str = ""
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def too_long(self) -> bool:
        """Whether the request is longer than the model's context."""
        return self._is(_TOO_LONG, _TOO_LONG_WORDS)

    @property
    def filtered(self) -> bool:
        """Whether a content filter stopped the request."""
        return self._is(_FILTERED, _FILTERED_WORDS)

    @property
    def no_credit(self) -> bool:
        """Whether the account has nothing left."""
        return self.status == 402 or self._is(_NO_CREDIT, _NO_CREDIT_WORDS)

    @property
    def about_the_text(self) -> bool:
        """Whether what the request says was refused, rather than how it is made."""
        return self.too_long or self.filtered

    def _is(self, codes: set[str], words: tuple[str, ...]) -> bool:
        said = self.said.lower()
        return bool(self.codes & codes) or (bool(self.status) and any(wording in said for wording in words))


def failure_of(error: Exception) -> Failure | None:
    """What a provider said, of an error that a call raised; None where the error is no provider's."""
    source = next((each for each in _chain(error) if _status(each) is not None), error)
    if isinstance(error, TypeError) and _says(str(error), _KEY_WORDS):
        return Failure(401, frozenset(), str(error))  # a client that has no key to send
    kind = next((kind for classes, kind in _KINDS if isinstance(error, classes)), None)
    given = _status(source)
    if given is None or given < 300:
        given = kind
    if given is None:
        return None
    coded, codes, said, param = _read(getattr(source, "body", None) or _json(source))
    codes |= {str(code).lower() for code in (getattr(source, "code", None), getattr(source, "type", None)) if code}
    if isinstance(error, langchain.ContextOverflowError):
        codes |= {"context_length_exceeded"}
    said = str(said or getattr(source, "message", None) or type(source).__name__)
    if given == 400:
        given = 401 if _says(said, _KEY_WORDS) else coded or _coded(codes) or given
    param = param or getattr(source, "param", None)
    return Failure(given, codes, said, param if isinstance(param, str) else None, _headers(source))


def failure_in(body: Any) -> Failure | None:
    """The error that a reply of status 200 holds in place of an answer, as gateways send them; None where none."""
    if not isinstance(body, Mapping) or not body.get("error") or body.get("choices"):
        return None
    coded, codes, said, param = _read(body)
    return Failure(coded or 500, codes, said, param)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those it was raised from: LangChain wraps some."""
    for _ in range(4):
        if error is None:
            return
        yield error
        error = error.__cause__


def _status(error: BaseException) -> int | None:
    response = getattr(error, "response", None)
    for status in (getattr(error, "status_code", None), getattr(response, "status_code", None)):
        if isinstance(status, int) and status > 0:  # Ollama's client says -1 where it has none
            return status
    code = getattr(error, "code", None)  # Google's
    return code if isinstance(code, int) and 300 <= code < 600 else None


def _json(error: BaseException) -> Any:
    """The body of the response that an error holds, where it was read and is JSON."""
    try:
        return getattr(error, "response").json()  # noqa: B009 # most errors have none
    except (AttributeError, TypeError, ValueError, RuntimeError):
        return None


def _read(body: Any) -> tuple[int | None, frozenset[str], str, str | None]:
    """Status, codes, words and parameter of an error's body, in the forms that providers give it."""
    if not isinstance(body, Mapping):
        return None, frozenset(), "", None
    inner = body.get("error") if isinstance(body.get("error"), Mapping) else body
    assert isinstance(inner, Mapping)  # noqa: S101 # for mypy
    deep = inner.get("innererror")  # Azure's
    given = [inner.get("code"), inner.get("status"), inner.get("type")]
    given += [deep.get("code") if isinstance(deep, Mapping) else None]
    codes = [str(code).lower() for code in given if isinstance(code, str | int) and not isinstance(code, bool)]
    message = inner.get("message") or (body.get("error") if isinstance(body.get("error"), str) else None)
    param = inner.get("param")
    said = message if isinstance(message, str) else _listed(body.get("detail"))
    return _coded(codes), frozenset(codes), said, param if isinstance(param, str) else None


def _listed(detail: Any) -> str:
    """The places and words of a list of wrong fields (FastAPI's 422), without the input that it repeats."""
    if isinstance(detail, str):
        return detail
    problems = [each for each in detail if isinstance(each, Mapping)] if isinstance(detail, list) else []
    places = [".".join(str(part) for part in each.get("loc") or () if part != "body") for each in problems]
    return "; ".join(f"{json.dumps(place)} {each.get('msg')}" for place, each in zip(places, problems, strict=True))


def _coded(codes: Iterable[str]) -> int | None:
    """The status that codes stand for. What says more than that the request is wrong goes first."""
    numbers = [int(code) for code in codes if code.isascii() and code.isdigit() and len(code) == 3]
    statuses = [_CODES[code] for code in codes if code in _CODES] + [each for each in numbers if 400 <= each < 600]
    return min(statuses, key=lambda status: (status == 400, status), default=None)


def _says(said: str, words: tuple[str, ...]) -> bool:
    return any(wording in said.lower() for wording in words)


def _headers(error: BaseException) -> Mapping[str, str]:
    response = getattr(error, "response", None)
    return getattr(response, "headers", None) or {}
