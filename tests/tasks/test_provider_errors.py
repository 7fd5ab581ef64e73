"""Every error that a provider's client can raise becomes one of Winnow's, and says nothing that it should not."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import httpx2
import langchain_openai.chat_models.base as langchain_openai
import openai
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from langchain_core import exceptions as langchain

from tasks.capabilities import refused
from tasks.provider_errors import (
    LONGEST_RETRY_AFTER,
    error_in_reply,
    from_client_library,
    retry_after,
    to_provider_error,
)
from winnow.exceptions import (
    AuthenticationFailedError,
    PassingError,
    ProviderDownError,
    ProviderError,
    ProviderTimeoutError,
    QuotaExceededError,
    RateLimitedError,
    RejectedCallError,
    StayingError,
    UnknownModelError,
)

MODEL = "openai:tested"
REQUEST = httpx2.Request("POST", "http://127.0.0.1/v1/chat/completions")
DOCUMENT = "The patient, Ada Quill, owes 1,250 EUR."


def family(root: type[Exception]) -> set[type[Exception]]:
    return {root}.union(*(family(kind) for kind in root.__subclasses__()))


def named(kinds: set[type[Exception]]) -> list[Any]:
    return [pytest.param(kind, id=kind.__name__) for kind in sorted(kinds, key=lambda kind: kind.__name__)]


def answered(status: int, message: str = "no", headers: dict[str, str] | None = None, **body: Any) -> Exception:
    """The error that OpenAI's client raises for a response."""
    response = httpx2.Response(status, headers=headers, request=REQUEST)
    return STATUSES.get(status, openai.APIStatusError)(message, response=response, body={"message": message, **body})


def mapped(error: Exception) -> ProviderError:
    ours = to_provider_error(error, MODEL)
    assert ours is not None
    return ours


# The families of errors, as the installed packages have them: a new one fails here until it has its place.

LANGCHAIN = {
    "ModelAuthenticationError": AuthenticationFailedError,
    "ModelPermissionDeniedError": AuthenticationFailedError,
    "ModelInvalidRequestError": RejectedCallError,
    "ModelNotFoundError": UnknownModelError,
    "ModelRateLimitError": RateLimitedError,
    "ModelAPIError": ProviderDownError,
    "ModelConnectionError": ProviderDownError,
    "ModelTimeoutError": ProviderTimeoutError,
    "ContextOverflowError": RejectedCallError,
}

_model_errors = family(langchain.ModelError) - {langchain.ModelError}


@pytest.mark.parametrize("kind", named({kind for kind in _model_errors if kind.__module__ == langchain.__name__}))
def test_every_model_error_of_langchain_is_known(kind: type[langchain.ModelError]) -> None:
    ours = mapped(kind(DOCUMENT))

    assert type(ours) is LANGCHAIN[kind.__name__]
    assert isinstance(ours, PassingError) == kind.is_retryable
    assert DOCUMENT not in str(ours)


@pytest.mark.parametrize(
    "kind", named({kind for kind in _model_errors if kind.__module__ == langchain_openai.__name__})
)
def test_every_error_that_langchain_makes_of_openais_is_known(kind: type[Exception]) -> None:
    base = next(base.__name__ for base in kind.__mro__ if base.__module__ == langchain.__name__)

    assert type(mapped(made(kind))) is LANGCHAIN[base]


def made(kind: Any) -> Exception:
    if issubclass(kind, openai.APIStatusError):
        response = httpx2.Response(getattr(kind, "status_code", 500), request=REQUEST)
        return kind("no", response=response, body=None)
    if issubclass(kind, openai.APIConnectionError):
        return kind(request=REQUEST)
    return kind("no", request=REQUEST, body=None)


OPENAI = {
    "BadRequestError": RejectedCallError,
    "AuthenticationError": AuthenticationFailedError,
    "OAuthError": AuthenticationFailedError,
    "PermissionDeniedError": AuthenticationFailedError,
    "NotFoundError": UnknownModelError,
    "ConflictError": ProviderDownError,
    "UnprocessableEntityError": RejectedCallError,
    "RateLimitError": RateLimitedError,
    "InternalServerError": ProviderDownError,
}
OPENAI_ERRORS = {kind for kind in family(openai.APIStatusError) if kind.__module__ == "openai"}
STATUSES: dict[int, Any] = {
    kind.status_code: kind for kind in openai.APIStatusError.__subclasses__() if hasattr(kind, "status_code")
}


@pytest.mark.parametrize(
    "kind",
    named(OPENAI_ERRORS - {openai.APIStatusError}),
)
def test_every_error_of_openai_that_has_a_status_is_known(kind: Any) -> None:
    response = httpx2.Response(getattr(kind, "status_code", 500), request=REQUEST)
    words = () if kind is openai.OAuthError else ("no",)

    assert type(mapped(kind(*words, response=response, body=None))) is OPENAI[kind.__name__]


@pytest.mark.parametrize("kind", named(family(httpx.RequestError)))
def test_every_error_of_a_connection_passes(kind: type[httpx.RequestError]) -> None:
    expected = ProviderTimeoutError if issubclass(kind, httpx.TimeoutException) else ProviderDownError

    assert type(mapped(kind(DOCUMENT))) is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(ConnectionResetError("reset"), ProviderDownError, id="reset"),
        pytest.param(ConnectionRefusedError("refused"), ProviderDownError, id="refused"),
        pytest.param(TimeoutError("slow"), ProviderTimeoutError, id="timeout"),
    ],
)
def test_errors_of_sockets_pass(error: Exception, expected: type[ProviderError]) -> None:
    assert type(mapped(error)) is expected


@pytest.mark.parametrize(
    "error",
    [ValueError("x"), KeyError("x"), OSError("x"), RuntimeError("x"), AssertionError(), openai.OpenAIError("x")],
    ids=lambda error: type(error).__name__,
)
def test_what_is_no_providers_error_is_not_taken_for_one(error: Exception) -> None:
    assert to_provider_error(error, MODEL) is None


def test_an_error_after_a_good_reply_is_not_the_providers() -> None:
    error = ValueError("the client could not read it")
    error.response = httpx2.Response(200, request=REQUEST)  # as langchain-openai does

    assert to_provider_error(error, MODEL) is None


# Statuses and codes

CASES = {
    "moved": (answered(301), RejectedCallError, "rejected"),
    "bad request": (answered(400, code="invalid_value", param="messages"), RejectedCallError, "rejected"),
    "filtered": (answered(400, code="content_filter"), RejectedCallError, "content_filtered"),
    "too long, by code": (answered(400, code="context_length_exceeded"), RejectedCallError, "too_long"),
    "too long, as vLLM says it": (
        answered(400, "This model's maximum context length is 8192 tokens. However, you requested 9000.", code="400"),
        RejectedCallError,
        "too_long",
    ),
    "too long, as llama.cpp says it": (
        answered(400, "the request exceeds the available context size.", type="exceed_context_size_error"),
        RejectedCallError,
        "too_long",
    ),
    "too long, as vLLM says it of a prompt": (
        answered(400, "The decoder prompt (length 9000) is longer than the maximum model length of 8192."),
        RejectedCallError,
        "too_long",
    ),
    "too long, as Anthropic says it": (
        answered(400, "input length and `max_tokens` exceed context limit: 199000 + 8192 > 200000"),
        RejectedCallError,
        "too_long",
    ),
    "too long, as Gemini says it": (
        answered(400, "The input token count (2000000) exceeds the maximum number of tokens allowed (1048576)."),
        RejectedCallError,
        "too_long",
    ),
    "too long for a minute's tokens": (
        answered(429, "Request too large for tested on tokens per min (TPM): Limit 30000, Requested 40000."),
        RejectedCallError,
        "too_long",
    ),
    "filtered, as Azure says it": (
        answered(400, code="bad_request", innererror={"code": "ResponsibleAIPolicyViolation"}),
        RejectedCallError,
        "content_filtered",
    ),
    "credit, as Anthropic says it": (
        answered(400, "Your credit balance is too low to access the Anthropic API."),
        QuotaExceededError,
        "quota",
    ),
    "key, as Gemini says it": (
        answered(400, "API key not valid. Please pass a valid API key.", type="INVALID_ARGUMENT"),
        AuthenticationFailedError,
        "authentication",
    ),
    "model, with another status": (answered(400, code="model_not_found"), UnknownModelError, "unknown_model"),
    "key": (answered(401, code="invalid_api_key"), AuthenticationFailedError, "authentication"),
    "payment": (answered(402, "Insufficient Balance"), QuotaExceededError, "quota"),
    "permission": (answered(403), AuthenticationFailedError, "authentication"),
    "model": (answered(404, code="model_not_found"), UnknownModelError, "unknown_model"),
    "request timeout": (answered(408), ProviderTimeoutError, "provider_timeout"),
    "conflict": (answered(409), ProviderDownError, "provider_unavailable"),
    "too large": (answered(413), RejectedCallError, "rejected"),
    "teapot": (answered(418), RejectedCallError, "rejected"),
    "not processable": (answered(422), RejectedCallError, "rejected"),
    "rate": (answered(429, code="rate_limit_exceeded"), RateLimitedError, "rate_limited"),
    "quota": (answered(429, code="insufficient_quota"), QuotaExceededError, "quota"),
    "billing": (answered(429, code="billing_not_active"), QuotaExceededError, "quota"),
    "billing limit": (answered(400, code="billing_hard_limit_reached"), QuotaExceededError, "quota"),
    "failure": (answered(500), ProviderDownError, "provider_unavailable"),
    "bad gateway": (answered(502), ProviderDownError, "provider_unavailable"),
    "unavailable": (answered(503), ProviderDownError, "provider_unavailable"),
    "gateway timeout": (answered(504), ProviderDownError, "provider_unavailable"),
    "overloaded": (answered(529), ProviderDownError, "provider_unavailable"),
}


@pytest.mark.parametrize(("error", "kind", "reason"), CASES.values(), ids=CASES)
def test_a_status_has_its_error_and_reason(error: Exception, kind: type[ProviderError], reason: str) -> None:
    ours = mapped(error)

    assert (type(ours), ours.reason) == (kind, reason)
    assert MODEL in str(ours)


@pytest.mark.parametrize("status", [301, 401, 402, 403, 404, 408, 429, 500])
def test_a_status_counts_where_only_the_response_has_it(status: int) -> None:
    raised = httpx.HTTPStatusError(
        DOCUMENT, request=httpx.Request("POST", "http://127.0.0.1/"), response=httpx.Response(status)
    )

    assert type(mapped(raised)) is type(mapped(answered(status)))
    assert DOCUMENT not in str(mapped(raised))


def test_the_message_names_what_was_wrong_with_a_request() -> None:
    assert "(invalid_value, messages[0].content)" in str(
        mapped(answered(400, code="invalid_value", param="messages[0].content"))
    )
    assert "(status 422)" in str(mapped(answered(422)))


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_what_stays_is_said_in_the_providers_words_with_a_remedy(status: int) -> None:
    ours = mapped(answered(status, "Project  proj_1\nhas no access."))

    assert isinstance(ours, StayingError)
    assert "Project proj_1 has no access." in str(ours)
    assert "run again" in str(ours)


def test_a_long_message_is_cut() -> None:
    assert len(str(mapped(answered(401, "word " * 10_000)))) < 600


@pytest.mark.parametrize("status", [301, 400, 408, 409, 413, 418, 422, 429, 500, 503])
@pytest.mark.parametrize("code", [None, "content_filter", "context_length_exceeded", "invalid_prompt"])
def test_errors_about_a_request_never_quote_it(status: int, code: str | None) -> None:
    said = str(mapped(answered(status, f"Invalid prompt: {DOCUMENT}", code=code, param="messages")))

    assert "Quill" not in said
    assert "1,250" not in said


@pytest.mark.parametrize("body", ["<html>no</html>", ["no"], None, {}, {"message": None}, {"message": {"a": 1}}])
def test_a_body_of_any_form_is_taken(body: Any) -> None:
    error = openai.AuthenticationError("no entry", response=httpx2.Response(401, request=REQUEST), body=body)

    assert type(mapped(error)) is AuthenticationFailedError


@pytest.mark.parametrize("status", [401, 402, 403, 404])
@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "X_SECRET", "DB_PASSWORD"])
def test_a_key_of_the_environment_is_never_in_a_message(
    name: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "canary-0123456789")
    said = str(mapped(answered(status, "Incorrect API key provided: canary-0123456789, see canary-0123456789.")))

    assert "canary" not in said
    assert said.count(f"<{name}>") == 2


def test_a_key_where_the_message_would_be_cut_is_not_half_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary-0123456789")
    for padding in range(270, 301):
        assert "canary" not in str(mapped(answered(401, "x" * padding + "canary-0123456789")))


# Errors in place of an answer, with status 200

IN_REPLIES: dict[str, tuple[Any, type[ProviderError], str]] = {
    "rate": ({"message": "slow down", "code": "rate_limit_exceeded"}, RateLimitedError, "rate_limited"),
    "a status for a code": ({"message": "slow down", "code": 429}, RateLimitedError, "rate_limited"),
    "a status in digits": ({"message": "no", "code": "401"}, AuthenticationFailedError, "authentication"),
    "quota": ({"code": "insufficient_quota", "type": "insufficient_quota"}, QuotaExceededError, "quota"),
    "key": ({"code": "invalid_api_key", "type": "invalid_request_error"}, AuthenticationFailedError, "authentication"),
    "model": ({"type": "invalid_request_error", "code": "model_not_found"}, UnknownModelError, "unknown_model"),
    "too long": ({"code": "context_length_exceeded"}, RejectedCallError, "too_long"),
    "filtered": ({"code": "content_filter"}, RejectedCallError, "content_filtered"),
    "overloaded": ({"type": "overloaded_error"}, ProviderDownError, "provider_unavailable"),
    "slow": ({"code": 408}, ProviderTimeoutError, "provider_timeout"),
    "wrong": ({"type": "invalid_request_error"}, RejectedCallError, "rejected"),
    "no code": ({"message": "no"}, ProviderDownError, "provider_unavailable"),
    "words alone": ("upstream failed", ProviderDownError, "provider_unavailable"),
    "an odd form": ([1], ProviderDownError, "provider_unavailable"),
}


@pytest.mark.parametrize(("said", "kind", "reason"), IN_REPLIES.values(), ids=IN_REPLIES)
def test_an_error_in_place_of_an_answer_has_its_kind(said: Any, kind: type[ProviderError], reason: str) -> None:
    ours = error_in_reply({"error": said}, MODEL)

    assert (type(ours), ours and ours.reason) == (kind, reason)


@pytest.mark.parametrize(
    "body", [{}, {"error": None}, {"error": {}, "choices": []}, [], "error", None, {"choices": [1]}]
)
def test_a_reply_without_an_error_holds_none(body: Any) -> None:
    assert error_in_reply(body, MODEL) is None


def test_an_answer_beside_an_error_stays_an_answer() -> None:
    assert error_in_reply({"error": {"code": 500}, "choices": [{"index": 0}]}, MODEL) is None


# Errors of client libraries that nobody foresaw


@pytest.mark.parametrize("kind", [openai.OpenAIError, httpx.StreamError, httpx2.InvalidURL, httpx2.CookieConflict])
def test_an_unknown_error_of_a_client_library_passes(kind: type[Exception]) -> None:
    error = kind(DOCUMENT)

    ours = from_client_library(error, MODEL)
    assert type(ours) is ProviderDownError
    assert DOCUMENT not in str(ours)


@pytest.mark.parametrize("error", [ValueError("x"), TypeError("x"), langchain.OutputParserException("x")])
def test_our_own_mistakes_are_no_client_librarys(error: Exception) -> None:
    assert from_client_library(error, MODEL) is None


# What a server does not take

EVERYTHING = {"temperature", "prompt_cache_key", "logprobs", "json_schema"}
FASTAPI = [{"type": "extra_forbidden", "loc": ["body", "prompt_cache_key"], "msg": "Extra inputs", "input": "k"}]
ECHOED = [{"type": "missing", "loc": ["body", "user"], "msg": "Field required", "input": {"temperature": 1}}]
REFUSALS: dict[str, tuple[Exception, str | None]] = {
    "by parameter": (answered(400, param="temperature", code="unsupported_value"), "temperature"),
    "by words": (answered(400, "Unsupported parameter: 'temperature' is not supported."), "temperature"),
    "with status 422": (answered(422, "`temperature` is deprecated for this model."), "temperature"),
    "before a colon": (answered(400, "temperature: Extra inputs are not permitted"), "temperature"),
    "another parameter": (answered(400, "Unsupported parameter: 'top_p'"), None),
    "another parameter beside its name": (answered(400, "'temperature' is well", param="messages"), None),
    "the word alone": (answered(400, f"The temperature is high: {DOCUMENT}"), None),
    "another status": (answered(500, param="temperature"), None),
    "no provider's error": (ValueError("'temperature'"), None),
    "what is not known": (answered(400, "property 'prompt_cache_key' is unsupported"), "prompt_cache_key"),
    "probabilities": (answered(400, "This model does not support logprobs."), "logprobs"),
    "probabilities, at OpenAI": (answered(403, "You are not allowed to request logprobs from this model"), "logprobs"),
    "no entry": (answered(403, "Your project has no access."), None),
    "a form, by parameter": (answered(400, "no", param="response_format.type"), "json_schema"),
    "a form": (answered(400, "This response_format type is unavailable now"), "json_schema"),
    "a form, at LM Studio": (answered(400, "'response_format.type' must be 'text'"), "json_schema"),
    "a form, at Anthropic": (answered(400, "'claude-3' does not support output format."), "json_schema"),
    "a tool that was not sent": (answered(400, "model does not support tools"), None),
    "filtered": (answered(400, "'temperature'", code="content_filter"), None),
    "too long": (answered(400, "'temperature' of maximum context length"), None),
    "no credit": (answered(400, "'temperature'", code="billing_hard_limit_reached"), None),
}


@pytest.mark.parametrize(("error", "expected"), REFUSALS.values(), ids=REFUSALS)
def test_what_a_server_does_not_take_is_told_apart(error: Exception, expected: str | None) -> None:
    assert refused(error, EVERYTHING) == expected


@pytest.mark.parametrize(("detail", "expected"), [(FASTAPI, "prompt_cache_key"), (ECHOED, None)])
def test_a_list_of_wrong_fields_is_read_by_their_names_not_by_what_they_repeat(detail: Any, expected: str) -> None:
    response = httpx2.Response(422, request=REQUEST, json={"detail": detail})
    error = openai.UnprocessableEntityError("no", response=response, body={"detail": detail})

    assert refused(error, EVERYTHING) == expected


def test_what_was_not_sent_was_not_refused() -> None:
    assert refused(answered(400, param="temperature"), EVERYTHING - {"temperature"}) is None
    assert refused(answered(400, "model does not support tools"), {"tool"}) == "tool"
    assert refused(answered(400, param="response_format"), {"json_object"}) == "json_object"


# How long to wait


def in_seconds(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


WAITS: dict[str, tuple[dict[str, str], float | None]] = {
    "seconds": ({"retry-after": "7"}, 7),
    "a float": ({"retry-after": "1.5"}, 1.5),
    "white space": ({"retry-after": " 7 "}, 7),
    "milliseconds": ({"retry-after-ms": "1500"}, 1.5),
    "milliseconds before seconds": ({"retry-after-ms": "1500", "retry-after": "60"}, 1.5),
    "milliseconds that say nothing": ({"retry-after-ms": "soon", "retry-after": "7"}, 7),
    "milliseconds of zero": ({"retry-after-ms": "0", "retry-after": "7"}, 7),
    "negative milliseconds": ({"retry-after-ms": "-5", "retry-after": "7"}, 7),
    "zero": ({"retry-after": "0"}, None),
    "negative": ({"retry-after": "-7"}, None),
    "too long": ({"retry-after": "999999"}, LONGEST_RETRY_AFTER),
    "a date too far": ({"retry-after": in_seconds(999_999)}, LONGEST_RETRY_AFTER),
    "a date in the past": ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, None),
    "a date that is none": ({"retry-after": "Mon, 45 Jan 2024 99:99:99 GMT"}, None),
    "a year beyond all": ({"retry-after": "1 Jan 99999999999999999999 00:00:00 GMT"}, None),
    "a zone beyond all": ({"retry-after": "Mon, 01 Jan 2024 00:00:00 +9999999999999"}, None),
    "words": ({"retry-after": "soon"}, None),
    "empty": ({"retry-after": ""}, None),
    "not a number": ({"retry-after": "nan"}, None),
    "endless": ({"retry-after": "inf"}, None),
    "endless milliseconds": ({"retry-after-ms": "-inf", "retry-after": "1e400"}, None),
    "missing": ({}, None),
}


@pytest.mark.parametrize(("headers", "expected"), WAITS.values(), ids=WAITS)
def test_what_the_provider_asks_for_is_read(headers: dict[str, str], expected: float | None) -> None:
    assert retry_after(headers) == expected


@pytest.mark.parametrize("zone", [" GMT", " +0000", " -0000", ""], ids=["GMT", "offset", "unknown", "none"])
def test_a_date_to_come_is_waited_for(zone: str) -> None:
    text = in_seconds(100).removesuffix(" GMT") + zone

    assert 95 < (retry_after({"retry-after": text}) or 0) <= 100


def test_a_date_counts_in_its_own_zone() -> None:
    there = datetime.now(UTC).astimezone(tz=None) + timedelta(seconds=100)
    abroad = (there.astimezone(UTC) + timedelta(hours=5)).strftime("%a, %d %b %Y %H:%M:%S +0500")

    assert 95 < (retry_after({"retry-after": abroad}) or 0) <= 100


def test_the_wait_goes_with_the_error() -> None:
    limited = mapped(answered(429, headers={"Retry-After": "7"}))

    assert isinstance(limited, RateLimitedError)
    assert limited.retry_after == 7
    assert mapped(langchain.ModelRateLimitError("no response at all")).retry_after is None


@settings(deadline=None, database=None)
@given(seconds=st.text(max_size=40) | st.from_regex(r"\A[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ \d+:\d+:\d+ [+-]\d+\Z"))
@example(seconds="1_0")
@example(seconds="٧")
def test_a_header_of_any_text_is_a_wait_within_bounds_or_none(seconds: str) -> None:
    for name in ("retry-after", "retry-after-ms"):
        wait = retry_after({name: seconds})
        assert wait is None or 0 < wait <= LONGEST_RETRY_AFTER
