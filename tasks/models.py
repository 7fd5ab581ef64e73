"""The models: which one a job asks, with which parameters, and the call itself."""

import threading
import time
from functools import cache
from typing import Any

from tasks import capabilities, chat_models, gguf_model
from tasks.chat_models import BASELINE, Asker
from tasks.http_hooks import take_response
from tasks.model_replies import json_of, reply_in, reply_of
from tasks.provider_errors import error_in_reply, from_client_library, to_provider_error
from winnow import baseline
from winnow.calls import Reply
from winnow.codebook import VariableType
from winnow.exceptions import ProviderDownError
from winnow.prompts import Prompt
from winnow.settings import settings

TEMPERATURES: dict[VariableType, float] = {
    "boolean": 0.1,
    "category": 0.1,
    "number": 0.15,
    "date": 0.15,
    "text": 0.2,
}

_setting_up = threading.Lock()


def chosen_model(name: str | None) -> str:
    """The model to ask: the one named, or else the one set, or else the baseline."""
    return (name or "").strip() or settings().model or BASELINE


def parameters(model: str, variable_type: VariableType) -> dict[str, Any]:
    """What shapes a reply besides the prompt: part of the call's key, and stored with the call.

    Raises:
        ModelSetupError: a local model's file is missing.
    """
    if model == BASELINE:
        return {"version": baseline.VERSION}
    asked: dict[str, Any] = {"temperature": TEMPERATURES[variable_type]}
    return asked | gguf_model.parameters(model) if model.startswith(gguf_model.PREFIX) else asked


def check_model(model: str) -> None:
    """Set the model up without calling it.

    Raises:
        ModelSetupError: its name, its package, its file or its key is wrong or missing.
    """
    _set_up(model, None, capabilities.form(capabilities.lacking(model)))


def ask(model: str, asked: dict[str, Any], prompt: Prompt, *, cache_key: str | None = None) -> Reply:
    """Ask a model once; what its server does not take is left out.

    Args:
        asked: the parameters, as `parameters` gives them.
        cache_key: the same for all requests that begin alike, so that the provider's cache knows them.

    Returns:
        The reply as it came. It may be cut short, refused or empty: `interpret` in `winnow.replies` tells.

    Raises:
        ProviderError: the provider did not answer.
        ModelSetupError: as `check_model`.
    """
    return _ask(model, asked, prompt, cache_key, capabilities.lacking(model))


def _ask(model: str, asked: dict[str, Any], prompt: Prompt, cache_key: str | None, without: frozenset[str]) -> Reply:
    warmth = {"temperature": asked["temperature"]} if "temperature" in asked.keys() - without else {}
    asker = _set_up(model, warmth.get("temperature"), capabilities.form(without))
    extras = {name: value for name, value in _extras(asker, asked, cache_key).items() if name not in without}
    started = time.monotonic()
    take_response()
    try:
        reply = reply_of(asker.ask(prompt, extras), time.monotonic() - started)
    except Exception as error:  # every provider has its own; what is not one is raised again
        refused = capabilities.refused(error, {*warmth, *extras, asker.form or ""})
        if refused:
            return _ask(model, asked, prompt, cache_key, without | {refused})
        kept = _kept(error, model, time.monotonic() - started)
        if kept is None:
            raise
        reply = kept
    if reply.finish_reason == "error":
        raise ProviderDownError(f"the provider of {model} broke off its reply")
    capabilities.learn(model, without)
    return reply


def _extras(asker: Asker, asked: dict[str, Any], cache_key: str | None) -> dict[str, Any]:
    """What is sent beside prompt and form, to those who speak OpenAI's protocol."""
    extras = {"max_tokens": asked["max_tokens"]} if "max_tokens" in asked else {}
    if cache_key and asker.provider == "openai":
        extras["prompt_cache_key"] = cache_key[:64]  # OpenAI takes no longer one
    if settings().logprobs and asker.speaks_openai:
        extras["logprobs"] = True
    return extras


def _kept(error: Exception, model: str, seconds: float) -> Reply | None:
    """The reply that a client library turned into an error; None where the error is a mistake of our own.

    Raises:
        ProviderError: the provider did not answer.
    """
    ours = to_provider_error(error, model)
    if ours:
        raise ours from None  # the provider's own words may quote the request
    response = take_response() or getattr(error, "response", None)
    reply = reply_in(response, seconds)
    ours = error_in_reply(json_of(response)[0], model) if reply else from_client_library(error, model)
    if ours:
        raise ours from None
    return reply


def _set_up(model: str, temperature: float | None, form: str | None) -> Asker:
    """The model to ask, made once however many threads start at the same time."""
    with _setting_up:
        return _asker(model, temperature, form)


@cache
def _asker(model: str, temperature: float | None, form: str | None) -> Asker:
    return chat_models.make(model, temperature, form)
