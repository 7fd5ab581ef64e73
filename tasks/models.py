"""The models: which one a job asks, with which parameters, and the call itself."""

import re
import threading
import time
from functools import cache
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.runnables import Runnable, RunnableSequence

from tasks.http_hooks import take_response, watch
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

_RESPONSE_FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": ENVELOPE_SCHEMA["title"], "strict": True, "schema": ENVELOPE_SCHEMA},
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
    _set_up(model, None)


def ask(model: str, asked: dict[str, Any], prompt: Prompt) -> Reply:
    """Ask a model once.

    Args:
        asked: the parameters, as `parameters` gives them.

    Returns:
        The reply as it came. It may be cut short, refused or empty: `interpret` in `winnow.replies` tells.

    Raises:
        ProviderError: the provider did not answer.
    """
    temperature = None if model in _refusing_temperature else asked.get("temperature")
    messages = [SystemMessage(prompt.system), HumanMessage(prompt.user)]
    started = time.monotonic()
    take_response()
    try:
        message = _set_up(model, temperature).invoke(messages)
    except Exception as error:  # every provider has its own; what is not one is raised again
        if temperature is not None and refuses_temperature(error):
            _refusing_temperature.add(model)
            return ask(model, asked, prompt)
        ours = to_provider_error(error, model)
        if ours:
            raise ours from None  # the provider's own words may quote the request
        reply = _reply_in_error(error, time.monotonic() - started)
        if reply is None:
            raise
        return reply
    return _reply(message, time.monotonic() - started)


def _set_up(model: str, temperature: float | None) -> Runnable[Any, AIMessage]:
    """The model to invoke, made once however many threads start at the same time."""
    with _setting_up:
        return _asker(model, temperature)


@cache
def _asker(model: str, temperature: float | None) -> Runnable[Any, AIMessage]:
    """The model bound to the envelope's schema, without LangChain's parser: replies are read by `winnow.answers`."""
    chat = _chat_model(model, temperature)
    if chat._llm_type.startswith("openai"):
        watch(cast(Any, chat).root_client._client, settings().timeout_seconds)
        # What `with_structured_output` asks for, past the client's walk through every part of the schema at each call:
        # that walk was a quarter of a cell's work.
        return chat.bind(extra_body={"response_format": _RESPONSE_FORMAT})
    structured = chat.with_structured_output(ENVELOPE_SCHEMA)
    assert isinstance(structured, RunnableSequence)  # noqa: S101 # what LangChain's providers make: model | parser
    return structured.first


def _chat_model(model: str, temperature: float | None) -> BaseChatModel:
    if model == BASELINE:
        from tasks.baseline_model import BaselineChatModel

        return BaselineChatModel()
    from langchain.chat_models import init_chat_model

    options: dict[str, Any] = {"max_retries": 0, "timeout": settings().timeout_seconds}
    if temperature is not None:
        options["temperature"] = temperature
    provider, _, name = model.partition(":")
    if not provider.strip() or not name.strip():
        lacking, example = ("name", "openai:gpt-4.1-mini") if ":" in model else ("provider", f"openai:{model}")
        raise ModelSetupError(
            f"The model {model!r} has no {lacking}. Write it as provider:name, for example {example}, "
            "or use `baseline`, which needs no key."
        )
    try:
        chat: BaseChatModel = init_chat_model(model, **options)
        return chat
    except ImportError as error:
        package = re.search(r"pip install ([\w-]+)", str(error))
        raise ModelSetupError(
            f"The model {model!r} needs a package that is not installed here. "
            f"Install it with `pip install {package[1] if package else error.name}` and run again."
        ) from error
    except Exception as error:  # each provider's package complains of a missing key or a bad name in its own way
        raise ModelSetupError(_setup_message(model, error)) from error


def _setup_message(model: str, error: Exception) -> str:
    said, provider = str(error), model.partition(":")[0]
    if "api_key" in said or "API_KEY" in said:
        named = re.search(r"\b[A-Z][A-Z_]*_API_KEY\b", said)
        key = named[0] if named else f"{provider.upper().replace('-', '_')}_API_KEY"
        return (
            f"The model {model!r} needs a key: set {key} in the environment or in .env, "
            "or use `--model baseline`, which needs none."
        )
    if "infer model provider" in said:
        known = re.search(r"Supported providers: (.+)", said)
        return f"The model {model!r} has a provider that is not known{f'; known are {known[1]}' if known else ''}."
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
    response = take_response() or getattr(error, "response", None)
    if getattr(response, "status_code", None) != 200:
        return None
    raw, text = _json_of(response)
    choice = _at(raw, "choices", 0)
    said = _at(choice, "message", "content") if text is None else text
    usage = _at(raw, "usage")
    return Reply(
        raw=raw,
        text=said if isinstance(said, str) else "",
        finish_reason=_at(choice, "finish_reason"),
        refusal=bool(_at(choice, "message", "refusal")),
        usage=Usage(
            prompt_tokens=_at(usage, "prompt_tokens"),
            cached_tokens=_at(usage, "prompt_tokens_details", "cached_tokens"),
            completion_tokens=_at(usage, "completion_tokens"),
        ),
        seconds=seconds,
    )


def _json_of(response: Any) -> tuple[dict[str, Any], str | None]:
    """The JSON object of a response; where it is anything else (a proxy's page), its text, as it stands."""
    try:
        raw = response.json()
    except ValueError:
        raw = None
    return (raw, None) if isinstance(raw, dict) else ({"body": response.text}, response.text)


def _at(data: Any, *path: str | int) -> Any:
    """What stands at a place in JSON of whatever form; None where nothing does."""
    for step in path:
        if isinstance(data, dict):
            data = data.get(step)
        else:
            data = data[step] if isinstance(data, list) and isinstance(step, int) and step < len(data) else None
    return data
