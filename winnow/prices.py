"""What a call costs: prices by model, and the tokens that were used."""

from collections.abc import Mapping
from dataclasses import dataclass

from winnow.calls import Usage

MILLION = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Price:
    """USD for a million tokens."""

    input: float
    cached_input: float  # prompt tokens that the provider read from its cache
    output: float


FREE = Price(input=0.0, cached_input=0.0, output=0.0)
_RUNS_HERE: Mapping[str, Price] = {"baseline": FREE, "gguf:*": FREE}


@dataclass(frozen=True)
class Prices:
    """Tables of prices, by model: `openai:gpt-4.1-mini`, or the beginning of names, `gguf:*`.

    An earlier table goes before a later one. Within a table the exact name goes before beginnings, and a longer
    beginning before a shorter one. What runs on this machine is free, unless a table says otherwise.
    """

    tables: tuple[Mapping[str, Price], ...] = ()

    def price(self, model: str) -> Price | None:
        """What the model costs; None where no table knows it."""
        for table in (*self.tables, _RUNS_HERE):
            if (pattern := _closest(model.strip(), table)) is not None:
                return table[pattern]
        return None


def _closest(model: str, table: Mapping[str, Price]) -> str | None:
    if model in table:
        return model
    beginnings = [name for name in table if name.endswith("*") and model.startswith(name[:-1])]
    return max(beginnings, key=len, default=None)


def cost(price: Price, usage: Usage, estimated: Usage | None = None) -> float:
    """What a call cost, in USD.

    Args:
        price: of the model.
        usage: as the provider counted it. Cached tokens are among the prompt tokens, and cost their own price.
        estimated: for what the provider did not count; what is in neither counts as 0.
    """
    guess = estimated or Usage()
    prompt = _first(usage.prompt_tokens, guess.prompt_tokens)
    cached = min(_first(usage.cached_tokens, guess.cached_tokens), prompt)
    completion = _first(usage.completion_tokens, guess.completion_tokens)
    return ((prompt - cached) * price.input + cached * price.cached_input + completion * price.output) / MILLION


def is_estimated(usage: Usage) -> bool:
    """Whether a cost needs estimates, because the provider did not count the tokens."""
    return usage.prompt_tokens is None or usage.completion_tokens is None


def _first(*counts: int | None) -> int:
    return next((max(count, 0) for count in counts if count is not None), 0)
