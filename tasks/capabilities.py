"""What a model's server does not take: found out by asking, and remembered for the process.

A server that refuses part of a request is asked again at once without it. The run says so once for each.
"""

import logging
import re
import threading
from collections.abc import Collection
from dataclasses import dataclass

from tasks.provider_failures import Failure, failure_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Capability:
    """Something a request asks for that not every server takes."""

    name: str
    named: tuple[str, ...]  # the words by which a refusal names it
    instead: str  # what is done without it


_EVERYDAY = {"temperature", "tools"}  # words that a request repeated in an error may hold as well

CAPABILITIES = (
    Capability("temperature", ("temperature",), "it is asked at its own temperature"),
    Capability("prompt_cache_key", ("prompt_cache_key",), "it is asked without one"),
    Capability("logprobs", ("logprobs", "top_logprobs"), "its tokens' probabilities stay unknown"),
    Capability(
        "json_schema",
        ("response_format", "json_schema", "output_config", "output_format", "output format", "structured output"),
        "it is asked to call a tool",
    ),
    Capability(
        "tool", ("tools", "tool_choice", "tool choice", "support tools", "function calling"), "it is asked in JSON mode"
    ),
    Capability("json_object", ("response_format", "json_object", "json mode"), "the rules alone ask it for JSON"),
)
FORMS = ("json_schema", "tool", "json_object")  # of a reply, the most exact first

_REFUSALS = (400, 403, 422)  # OpenAI answers 403 where a model may not be asked for probabilities

_lacking: dict[str, frozenset[str]] = {}
_learning = threading.Lock()


def lacking(model: str) -> frozenset[str]:
    """The names of what the model's server is known not to take."""
    return _lacking.get(model, frozenset())


def form(without: Collection[str]) -> str | None:
    """The most exact form in which a reply can be asked for; None where only the rules can ask."""
    return next((name for name in FORMS if name not in without), None)


def refused(error: Exception, sent: Collection[str]) -> str | None:
    """The part of the request that made it fail, of those sent; None where it failed for another reason."""
    failure = failure_of(error)
    if failure is None or failure.status not in _REFUSALS or failure.about_the_text or failure.no_credit:
        return None
    return next((each.name for each in CAPABILITIES if each.name in sent and _names(failure, each)), None)


def learn(model: str, without: frozenset[str]) -> None:
    """Remember what a model answered without. Only an answer proves that it was this which was in the way."""
    with _learning:
        new = without - lacking(model)
        _lacking[model] = lacking(model) | new
    for each in CAPABILITIES:
        if each.name in new:
            logger.warning("%s does not take %s: %s.", model, each.name, each.instead)


def forget() -> None:
    """Forget what was found out: for another server under the same name."""
    with _learning:
        _lacking.clear()


def _names(failure: Failure, capability: Capability) -> bool:
    """Whether a refusal names it; an everyday word only where it stands quoted or before a colon."""
    if failure.param:
        return any(re.match(rf"{re.escape(word)}\b", failure.param) for word in capability.named)
    for word in capability.named:
        name = re.escape(word)
        quoted = rf"['\"`]{name}(?:[.\[][\w.\[\]]*)?['\"`]|(?:^|[\s.]){name}(?:\.\w+)*:"
        if re.search(quoted if word in _EVERYDAY else rf"\b{name}", failure.said, re.IGNORECASE):
            return True
    return False
