"""The models: which one a job asks, with which parameters, and the call itself."""

import threading
import time
from functools import cache
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.runnables import Runnable, RunnableSequence

from tasks.provider_errors import refuses_temperature, to_provider_error
from winnow import baseline
from winnow.answers import ENVELOPE_SCHEMA
from winnow.calls import Reply, Usage
from winnow.codebook import VariableType
from winnow.exceptions import ModelSetupError
from winnow.prompts import Prompt
from winnow.settings import settings

BASELINE = "baseline"

TEMPERATURES: dict[VariableType, float] = {
    "boolean": 0.1,
    "category": 0.1,
    "number": 0.15,
    "date": 0.15,
    "text": 0.2,
}

_refusing_temperature: set[str] = set()
_setting_up = threading.Lock()


def chosen_model(name: str | None) -> str:
    """The model to ask: the one named, or else the one set, or else the baseline."""
    return (name or "").strip() or settings().model or BASELINE


def parameters(model: str, variable_type: VariableType) -> dict[str, Any]:
    """What shapes a reply besides the prompt: part of the call's key, and stored with the call."""
    if model == BASELINE:
        return {"version": baseline.VERSION}
    return {"temperature": TEMPERATURES[variable_type]}


def check_model(model: str) -> None:
    """Set the model up without calling it.

    Raises:
        ModelSetupError: its name, its package or its key is wrong or missing.
    """
    _asker(model, None)


def ask(model: str, asked: dict[str, Any], prompt: Prompt) -> Reply:
    """Ask a model once.

    Args:
        asked: the parameters, as `parameters` gives them.

    Returns:
        The reply as it came. It may be cut short, refused or empty: `interpret` in `tasks.replies` tells.

    Raises:
        ProviderError: the provider did not answer.
    """
    temperature = None if model in _refusing_temperature else asked.get("temperature")
    started = time.monotonic()
    try:
        message = _asker(model, temperature).invoke([SystemMessage(prompt.system), HumanMessage(prompt.user)])
    except Exception as error:  # noqa: BLE001 # every provider has its own; what is not one is raised again
        if temperature is not None and refuses_temperature(error):
            _refusing_temperature.add(model)
            return ask(model, asked, prompt)
        return _reply_in_error(error, time.monotonic() - started) or _raise(error, model)
    return _reply(message, time.monotonic() - started)


def _raise(error: Exception, model: str) -> Reply:
    ours = to_provider_error(error, model)
    if ours is None:
        raise error
    raise ours from None  # the provider's own words may quote the request


@cache
def _asker(model: str, temperature: float | None) -> Runnable[Any, AIMessage]:
    """The model bound to the envelope's schema, without LangChain's parser: replies are read by `winnow.answers`."""
    with _setting_up:
        chat = _chat_model(model, temperature)
    options: dict[str, Any] = {}
    if _is_openai(chat):
        options = {"method": "json_schema", "strict": True}
    structured = chat.with_structured_output(ENVELOPE_SCHEMA, **options)
    assert isinstance(structured, RunnableSequence)  # noqa: S101 # what LangChain's providers make: model | parser
    return structured.first


def _is_openai(chat: BaseChatModel) -> bool:
    return chat._llm_type.startswith("openai")


def _chat_model(model: str, temperature: float | None) -> BaseChatModel:
    if model == BASELINE:
        from tasks.baseline_model import BaselineChatModel

        return BaselineChatModel()
    from langchain.chat_models import init_chat_model

    options: dict[str, Any] = {"max_retries": 0, "timeout": settings().timeout_seconds}
    if temperature is not None:
        options["temperature"] = temperature
    if ":" not in model:
        raise ModelSetupError(
            f"The model {model!r} has no provider. Write it as provider:name, for example openai:{model}, "
            "or use `baseline`, which needs no key."
        )
    try:
        chat: BaseChatModel = init_chat_model(model, **options)
        return chat
    except ImportError as error:
        package = getattr(error, "name", None) or "its package"
        raise ModelSetupError(
            f"The model {model!r} needs a package that is not installed here ({str(package).replace('_', '-')}). "
            "Install it with pip and run again."
        ) from error
    except Exception as error:
        raise ModelSetupError(_setup_message(model, error)) from error


def _setup_message(model: str, error: Exception) -> str:
    said = str(error)
    if "api_key" in said or "API_KEY" in said:
        provider = model.split(":", 1)[0].upper().replace("-", "_")
        return (
            f"The model {model!r} needs a key: set {provider}_API_KEY in the environment or in .env, "
            "or use `--model baseline`, which needs none."
        )
    first = said.strip().splitlines()[0] if said.strip() else type(error).__name__
    return f"The model {model!r} cannot be set up: {first[:300]}"


def _reply(message: AIMessage, seconds: float) -> Reply:
    usage = message.usage_metadata
    details = usage.get("input_token_details") or {} if usage else {}
    return Reply(
        raw=message.model_dump(mode="json", exclude_none=True),
        text=_text(message),
        finish_reason=_finish_reason(message.response_metadata),
        refusal=bool(message.additional_kwargs.get("refusal")),
        usage=Usage(
            prompt_tokens=usage["input_tokens"] if usage else None,
            cached_tokens=details.get("cache_read") if usage else None,
            completion_tokens=usage["output_tokens"] if usage else None,
        ),
        seconds=seconds,
    )


def _text(message: AIMessage) -> str:
    """Where the envelope stands: in the arguments of the one tool call, or in the text."""
    if len(message.tool_calls) == 1:
        import json

        return json.dumps(message.tool_calls[0]["args"])
    return message.text


def _finish_reason(metadata: dict[str, Any]) -> str | None:
    """Providers call it finish_reason or stop_reason, and a reply cut short length or max_tokens."""
    reason = metadata.get("finish_reason") or metadata.get("stop_reason")
    return "length" if reason in ("length", "max_tokens", "MAX_TOKENS") else reason


def _reply_in_error(error: Exception, seconds: float) -> Reply | None:
    """A reply that the client library turned into an error: cut short, filtered, without choices. It was paid for."""
    completion = getattr(error, "completion", None)  # openai.LengthFinishReasonError
    response = getattr(error, "response", None)
    if completion is not None:
        raw = completion.model_dump(mode="json")
    elif response is not None and response.status_code == 200:
        try:
            raw = response.json()
        except ValueError:
            return None
    else:
        return None
    choices = raw.get("choices") or [{}]
    usage = raw.get("usage") or {}
    return Reply(
        raw=raw,
        text=(choices[0].get("message") or {}).get("content") or "",
        finish_reason=choices[0].get("finish_reason"),
        usage=Usage(
            prompt_tokens=usage.get("prompt_tokens"),
            cached_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens"),
            completion_tokens=usage.get("completion_tokens"),
        ),
        seconds=seconds,
    )
