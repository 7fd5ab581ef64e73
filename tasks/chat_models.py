"""LangChain's chat models: set up by name, bound to the envelope's schema, and told of the prompt in their own way."""

import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import Runnable, RunnableSequence

from tasks import gguf_model
from tasks.http_hooks import client_of, watch
from winnow.answers import ENVELOPE_SCHEMA
from winnow.exceptions import ModelSetupError
from winnow.prompts import Prompt
from winnow.settings import settings

BASELINE = "baseline"

_NAME = ENVELOPE_SCHEMA["title"]
_BODIES: dict[str | None, dict[str, Any]] = {
    "json_schema": {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": _NAME, "strict": True, "schema": ENVELOPE_SCHEMA},
        }
    },
    "tool": {
        "tools": [{"type": "function", "function": {"name": _NAME, "parameters": ENVELOPE_SCHEMA}}],
        "tool_choice": {"type": "function", "function": {"name": _NAME}},
    },
    "json_object": {"response_format": {"type": "json_object"}},
    None: {},
}
_METHODS = {"json_schema": "json_schema", "tool": "function_calling", "json_object": "json_mode"}  # LangChain's names

# Ollama cuts a prompt that is longer than its context without a word, and its own default is short.
_OLLAMA_CONTEXT_TOKENS = 16_384


@dataclass(frozen=True)
class Asker:
    """A model ready to be asked, in one form of reply."""

    runnable: Runnable[Any, AIMessage]
    provider: str
    form: str | None  # the one that is really asked for; None where the rules alone ask
    speaks_openai: bool = False
    turn: AbstractContextManager[Any] = field(default_factory=nullcontext)  # where calls wait for one another

    def ask(self, prompt: Prompt, extras: dict[str, Any]) -> AIMessage:
        """Ask once. `extras` are parts of the request's body, for those who speak OpenAI's protocol."""
        body: dict[str, Any] = {"extra_body": _BODIES[self.form] | extras} if self.speaks_openai else {}
        with self.turn:
            return self.runnable.invoke(_messages(prompt, self.provider), **body)


def make(model: str, temperature: float | None, form: str | None) -> Asker:
    """Set a model up without calling it.

    Raises:
        ModelSetupError: its name, its package or its key is wrong or missing.
    """
    chat = _chat_model(model, temperature)
    client = client_of(chat)
    if client:
        watch(client, settings().timeout_seconds)
    provider = model.partition(":")[0]
    if "openai" in chat._llm_type:
        # What `with_structured_output` asks for, past the client's walk through every part of the schema at each call:
        # that walk was a quarter of a cell's work.
        if hasattr(getattr(chat, "client", None), "with_raw_response"):
            chat.client = _AsItIs(chat.client)  # type: ignore[attr-defined] # a field of LangChain's, for clients like this
        turn = gguf_model.serve(model).turn if model.startswith(gguf_model.PREFIX) else nullcontext()
        return Asker(chat, provider, form, speaks_openai=True, turn=turn)
    return _bound(chat, provider, form)


class _AsItIs:
    """Completions of OpenAI's client, whose messages are sent as LangChain wrote them.

    The client would walk through every message as each of the six kinds that it may be: a fifth of a call's work.
    """

    def __init__(self, completions: Any) -> None:
        self.with_raw_response = self
        self._create = completions.with_raw_response.create

    def create(self, *, messages: list[Any], extra_body: dict[str, Any] | None = None, **payload: Any) -> Any:
        """Make a call, as the client's own method does."""
        return self._create(messages=[], extra_body={"messages": messages, **(extra_body or {})}, **payload)


def _bound(chat: BaseChatModel, provider: str, form: str | None) -> Asker:
    """The model bound to the envelope's schema, without LangChain's parser: replies are read by `winnow.answers`."""
    for name in list(_METHODS)[list(_METHODS).index(form) :] if form else ():
        try:
            structured = chat.with_structured_output(ENVELOPE_SCHEMA, method=_METHODS[name])
        except (NotImplementedError, TypeError, ValueError):
            continue  # this provider's package knows no such form
        assert isinstance(structured, RunnableSequence)  # noqa: S101 # what LangChain's providers make: model | parser
        return Asker(structured.first, provider, name)
    return Asker(chat, provider, None)


def _messages(prompt: Prompt, provider: str) -> list[BaseMessage]:
    """The prompt's messages. Anthropic keeps a prefix only where a mark stands at its end: after the document."""
    if provider != "anthropic":
        return [SystemMessage(prompt.system), HumanMessage(prompt.user)]
    document = {"type": "text", "text": prompt.document, "cache_control": {"type": "ephemeral"}}
    question = {"type": "text", "text": prompt.question}
    return [SystemMessage(prompt.system), HumanMessage([part for part in (document, question) if part["text"]])]


def _chat_model(model: str, temperature: float | None) -> BaseChatModel:
    if model == BASELINE:
        from tasks.baseline_model import BaselineChatModel

        return BaselineChatModel()
    provider, _, name = model.partition(":")
    if not provider.strip() or not name.strip():
        lacking, example = ("name", "openai:gpt-4.1-mini") if ":" in model else ("provider", f"openai:{model}")
        raise ModelSetupError(
            f"The model {model!r} has no {lacking}. Write it as provider:name, for example {example}, "
            "or use `baseline`, which needs no key."
        )
    options = _options(provider, temperature)
    if model.startswith(gguf_model.PREFIX):
        return _local_model(model, options)
    from langchain.chat_models import init_chat_model

    try:
        chat: BaseChatModel = init_chat_model(model, **options)
    except ImportError as error:
        package = re.search(r"pip install ([\w-]+)", str(error))
        raise ModelSetupError(
            f"The model {model!r} needs a package that is not installed here. "
            f"Install it with `pip install {package[1] if package else error.name}` and run again."
        ) from error
    except Exception as error:  # each provider's package complains of a missing key or a bad name in its own way
        raise ModelSetupError(setup_message(model, error)) from error
    if provider == "anthropic" and not _has_key(chat):
        raise ModelSetupError(setup_message(model, ValueError("no ANTHROPIC_API_KEY")))
    return chat


def _has_key(chat: Any) -> bool:
    """Whether Anthropic's client has any credentials: it asks for them only when it is called."""
    client = chat._client
    return bool(client.api_key or client.auth_token or getattr(client, "_token_cache", None))


def _options(provider: str, temperature: float | None) -> dict[str, Any]:
    options: dict[str, Any] = {"max_retries": 0, "timeout": settings().timeout_seconds}
    if provider == "ollama":
        options = {"client_kwargs": {"timeout": settings().timeout_seconds}, "num_ctx": _OLLAMA_CONTEXT_TOKENS}
    if temperature is not None:
        options["temperature"] = temperature
    return options


def _local_model(model: str, options: dict[str, Any]) -> BaseChatModel:
    from langchain_openai import ChatOpenAI

    served = gguf_model.serve(model)
    return ChatOpenAI(model=model, base_url=served.url, api_key=served.key, http_client=served.client, **options)


def setup_message(model: str, error: Exception) -> str:
    """What a provider's package said when it could not be set up, with its remedy."""
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
