"""What a request to the test model service (see openai_server.py) holds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import orjson

from tests.openai_settings import Json

TOKEN = re.compile(r"\w{1,6}|[^\w\s]")  # near enough to a model's, and quick to count
OPENING = re.compile(r"<(document|variables) ([0-9a-f]{16})>\n")


@lru_cache(maxsize=1024)
def count_tokens(text: str) -> int:
    return len(TOKEN.findall(text))


@dataclass(frozen=True)
class Prompt:
    """The project's user message, taken apart; the document is the text sent, whole or a chunk."""

    id: str
    document: str
    variables: list[Json]
    entity: Json | None = None
    known: list[Json] | None = None
    correction: list[Json] | None = None

    @classmethod
    def read(cls, text: str) -> Prompt | None:
        """Document first or question first; None if it is neither."""
        opening = OPENING.match(text)
        if not opening:
            return None
        id = opening[2]
        parts = _document_first(text, id) if opening[1] == "document" else _question_first(text, id)
        if not parts:
            return None
        document, question = parts
        try:
            variables = _block(question, "variables", id)
            names = [variable["variable"] for variable in variables]
            rest = [_block(question, name, id) for name in ("entity", "known", "correction")]
        except (ValueError, TypeError, KeyError):
            return None
        return cls(id, document, variables, *rest) if names else None

    @property
    def entity_name(self) -> str | None:
        return str(self.entity.get("name", "")) if self.entity else None


def _document_first(text: str, id: str) -> tuple[str, str] | None:
    start = len(f"<document {id}>\n")
    # the last one: the document may hold anything, the JSON after it holds no raw newline
    end = text.rfind(f"\n</document {id}>\n\n<variables {id}>\n", start - 1)
    return None if end < 0 else (text[start:end], text[end:])


def _question_first(text: str, id: str) -> tuple[str, str] | None:
    mark = f"\n<document {id}>\n"
    start, end = text.find(mark), text.rfind(f"\n</document {id}>")
    return None if start < 0 or end < start else (text[start + len(mark) : end], text[:start])


def _block(question: str, name: str, id: str) -> Any:
    """The JSON between the marks; None where there is no such block."""
    mark = f"<{name} {id}>\n"
    start = question.find(mark)
    if start < 0:
        return None
    end = question.find(f"\n</{name} {id}>", start)
    return orjson.loads(question[start + len(mark) : end if end >= 0 else start])


def text_of(message: Json) -> str:
    """The text of a message, whose content may also be a list of parts."""
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


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

    def segments(self) -> list[str]:
        """The prompt in pieces that add up to it, cut where prompts that start alike begin to differ."""
        body = self.body or {}
        shaping = [body.get("model"), body.get("response_format"), *(body.get("tools") or [])]
        segments = [orjson.dumps(shaping).decode() + "\n"]
        for text in self.texts:
            cut = text.rfind("\n\n<variables ")
            segments += [text[:cut], f"{text[cut:]}\n"] if cut > 0 else [f"{text}\n"]
        return segments
