"""The one place where a provider's errors become Winnow's.

LangChain's `ModelError` family tells most of them apart for every provider; where a provider raises its own errors,
the HTTP status does. The provider's words are passed on only where they are about the account or the model, never
about the request: those could quote a document.
"""

import math
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from langchain_core import exceptions as langchain

from winnow.exceptions import (
    AuthenticationFailedError,
    ProviderDownError,
    ProviderError,
    ProviderTimeoutError,
    QuotaExceededError,
    RateLimitedError,
    RejectedCallError,
    UnknownModelError,
)

LONGEST_RETRY_AFTER = 300.0  # seconds; what asks for more is treated as this

_NO_CREDIT = ("insufficient_quota", "billing_not_active", "billing_hard_limit_reached")


def to_provider_error(error: Exception, model: str) -> ProviderError | None:
    """Winnow's error for what a call to a model raised; None where it is no provider's error."""
    status = _status(error)
    code = getattr(error, "code", None)
    if status == 402 or code in _NO_CREDIT:
        return QuotaExceededError(
            f"The quota of the account for {model} is used up: {_said(error)}. Add credit and run again."
        )
    if isinstance(error, langchain.ModelRateLimitError) or status == 429:
        return RateLimitedError(f"{model}: too many requests", retry_after(_headers(error)))
    if isinstance(error, langchain.ModelAuthenticationError | langchain.ModelPermissionDeniedError) or status in (
        401,
        403,
    ):
        return AuthenticationFailedError(
            f"The provider of {model} does not accept the key: {_said(error)}. Set the right one "
            "(OPENAI_API_KEY for openai models) and run again."
        )
    if isinstance(error, langchain.ModelNotFoundError) or status == 404:
        return UnknownModelError(
            f"The provider does not know the model {model}: {_said(error)}. Check the name, and the address "
            "(OPENAI_BASE_URL), and run again."
        )
    return _passing(error, model, status) or _rejected(error, model, status, code)


def _status(error: Exception) -> int | None:
    status = getattr(error, "status_code", None) or getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _passing(error: Exception, model: str, status: int | None) -> ProviderError | None:
    if isinstance(error, langchain.ModelTimeoutError | httpx.TimeoutException | TimeoutError) or status == 408:
        return ProviderTimeoutError(f"{model} did not answer in time")
    if isinstance(error, langchain.ModelConnectionError | httpx.RequestError | ConnectionError):
        return ProviderDownError(f"{model} cannot be reached")
    if isinstance(error, langchain.ModelAPIError) or (status is not None and (status >= 500 or status == 409)):
        return ProviderDownError(f"the provider of {model} answered {status or 'with a failure'}")
    return None


def _rejected(error: Exception, model: str, status: int | None, code: str | None) -> ProviderError | None:
    if isinstance(error, langchain.ContextOverflowError) or _says_too_long(error, code):
        return RejectedCallError(f"the document is too long for {model}", "too_long")
    if code == "content_filter":
        return RejectedCallError(f"the provider of {model} filtered the request", "content_filtered")
    if isinstance(error, langchain.ModelInvalidRequestError) or (status is not None and 300 <= status < 500):
        named = ", ".join(str(part) for part in (code, getattr(error, "param", None)) if part)
        return RejectedCallError(f"{model} refused the request ({named or f'status {status}'})")
    return None


def _says_too_long(error: Exception, code: str | None) -> bool:
    """Whether an error that LangChain does not tell apart says so: servers such as vLLM and llama.cpp do in words."""
    said = str(getattr(error, "message", ""))
    words = ("maximum context length", "available context size")
    return code == "context_length_exceeded" or any(wording in said for wording in words)


def refuses_temperature(error: Exception) -> bool:
    """Whether a call failed only because the model takes no temperature."""
    param = getattr(error, "param", None)
    return _status(error) == 400 and (param == "temperature" or "'temperature'" in str(error))


def _headers(error: Exception) -> Mapping[str, str]:
    response = getattr(error, "response", None)
    return getattr(response, "headers", None) or {}


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the provider asks to wait: `retry-after-ms`, or `retry-after` as seconds or as an HTTP date.

    None where it does not say, or says something that cannot be read or lies in the past.
    """
    seconds = _number(headers.get("retry-after-ms"), 0.001) or _number(headers.get("retry-after"), 1.0)
    if seconds is None and "retry-after" in headers:
        try:
            when = parsedate_to_datetime(headers["retry-after"])
        except (ValueError, OverflowError):
            return None
        seconds = (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return min(seconds, LONGEST_RETRY_AFTER) if seconds is not None and seconds > 0 else None


def _number(given: str | None, unit: float) -> float | None:
    try:
        number = float(given) * unit if given is not None else None
    except ValueError:
        return None
    return number if number is not None and math.isfinite(number) and number > 0 else None


def _said(error: Exception) -> str:
    """The provider's message in one line, without any secret of this process's environment."""
    body: Any = getattr(error, "body", None)
    message = body.get("message") if isinstance(body, Mapping) else None
    line = " ".join(str(message or getattr(error, "message", None) or type(error).__name__).split()).rstrip(".")
    for name, value in os.environ.items():
        if len(value) >= 8 and name.endswith(("_KEY", "_TOKEN", "_SECRET", "_PASSWORD")):
            line = line.replace(value, f"<{name}>")
    return line[:300]
