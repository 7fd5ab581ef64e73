"""The one place where a provider's errors become Winnow's.

The provider's words are passed on only where they are about the account or the model, never about the request: those
could quote a document.
"""

import math
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from tasks.provider_failures import UNREACHED, Failure, failure_in, failure_of
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

KEYS = {
    "openai": "OPENAI_API_KEY",
    "azure_openai": "AZURE_OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "google_genai": "GOOGLE_API_KEY",
    "mistralai": "MISTRAL_API_KEY",
}
"""Where a provider's key stands in the environment."""

_CLIENTS = ("openai", "anthropic", "ollama", "mistralai", "google", "httpx", "httpx2", "httpcore", "httpcore2")


def to_provider_error(error: Exception, model: str) -> ProviderError | None:
    """Winnow's error for what a call to a model raised; None where it is no provider's error."""
    failure = failure_of(error)
    return _named(failure, model) if failure else None


def error_in_reply(body: Any, model: str) -> ProviderError | None:
    """Winnow's error for one that came with status 200, in place of an answer; None where none did."""
    failure = failure_in(body)
    return _named(failure, model) if failure else None


def from_client_library(error: Exception, model: str) -> ProviderError | None:
    """For an error of no known kind that a provider's client raised; None where it is a mistake of our own."""
    module = type(error).__module__.partition(".")[0]
    if module not in _CLIENTS and (not module.startswith("langchain_") or module == "langchain_core"):
        return None
    return ProviderDownError(f"the client library of {model} failed: {type(error).__name__}")


def _named(failure: Failure, model: str) -> ProviderError:
    if failure.about_the_text:
        return _about_the_text(failure, model)
    if failure.status == 429 and not failure.no_credit:
        return RateLimitedError(f"{model}: too many requests", retry_after(failure.headers))
    return _staying(failure, model) or _passing(failure, model) or _rejected(failure, model)


def _about_the_text(failure: Failure, model: str) -> ProviderError:
    if failure.too_long:
        return RejectedCallError(f"the document is too long for {model}", "too_long")
    return RejectedCallError(f"the provider of {model} filtered the request", "content_filtered")


def _staying(failure: Failure, model: str) -> ProviderError | None:
    said = _clean(failure.said)
    if failure.no_credit:
        return QuotaExceededError(f"The quota of the account for {model} is used up: {said}. Add credit and run again.")
    if failure.status in (401, 403):
        key = KEYS.get(model.partition(":")[0], "the provider's variable")
        return AuthenticationFailedError(
            f"The provider of {model} does not accept the key: {said}. Set the right one ({key}) and run again."
        )
    if failure.status == 404:
        return UnknownModelError(
            f"The provider does not know the model {model}: {said}. Check the name, and the address "
            "(such as OPENAI_BASE_URL), and run again."
        )
    return None


def _passing(failure: Failure, model: str) -> ProviderError | None:
    if failure.status == 408:
        return ProviderTimeoutError(f"{model} did not answer in time")
    if failure.status == UNREACHED:
        return ProviderDownError(f"{model} cannot be reached")
    if failure.status >= 500 or failure.status == 409:
        return ProviderDownError(f"the provider of {model} answered {failure.status}")
    return None


def _rejected(failure: Failure, model: str) -> ProviderError:
    # Codes and parameters are names; whatever else stands there could be the request's.
    named = [name for name in (*sorted(failure.codes), failure.param) if name and len(name) < 80 and " " not in name]
    return RejectedCallError(f"{model} refused the request ({', '.join(named) or f'status {failure.status}'})")


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


def _clean(said: str) -> str:
    """The provider's message in one line, without any secret of this process's environment."""
    line = " ".join(said.split()).rstrip(".")
    for name, value in os.environ.items():
        if len(value) >= 8 and name.endswith(("_KEY", "_TOKEN", "_SECRET", "_PASSWORD")):
            line = line.replace(value, f"<{name}>")
    return line[:300]
