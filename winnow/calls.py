"""A call to a model: what was intended, and what came back."""

from dataclasses import dataclass
from typing import Any, Literal

Standing = Literal["clear", "failing", "held"]
"""Of a provider key: nothing is known against it; its last calls failed; it rests, or its breaker is not closed."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens as the provider counted them; None where it did not say."""

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back, before anyone reads it."""

    raw: dict[str, Any]  # everything the provider sent, as JSON
    text: str  # where the envelope should stand
    finish_reason: str | None = None
    refusal: bool = False
    usage: Usage = Usage()
    seconds: float | None = None
    probability: float | None = None  # of its tokens, their geometric mean; None where the provider gives none


@dataclass(frozen=True, kw_only=True)
class Intent:
    """A call about to be made, or already answered. With a `reply`, nothing needs to be bought."""

    call_id: int
    reply: Reply | None = None
    elsewhere: bool = False  # another worker asks this just now: its reply will serve
    provider: Standing = "clear"
