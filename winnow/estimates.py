"""What a job would cost, before it is started: a range from the cheapest way it can go to the dearest one foreseen."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from winnow.calls import Usage
from winnow.prices import Price, cost

SHORTEST_CACHED = 1_024  # providers cache no shorter prefix
SHORT_ANSWER = 40  # tokens of an answer that says not_stated, or gives a word with a short quote
LONG_ANSWER = 250  # tokens of several values with quotes of a sentence or two each
REPEATED_PERCENT = 10  # of the calls, for cut or malformed replies and corrections
UNDERCOUNTED_PERCENT = 10  # tokens are counted without the provider's own tokenizer


@dataclass(frozen=True, kw_only=True)
class CallPlan:
    """One planned call."""

    prefix_tokens: int  # rules and document, which calls about the same text share
    question_tokens: int
    variables: int  # how many it asks


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What the planned calls need: `low` the cheapest way, `high` the dearest. Costs in USD, None without a price."""

    calls_low: int
    calls_high: int
    prompt_tokens_low: int
    prompt_tokens_high: int
    cached_tokens_low: int  # of the prompt tokens, the cheapest way: as many as can be
    cached_tokens_high: int  # the dearest way: none
    completion_tokens_low: int
    completion_tokens_high: int
    cost_low: float | None
    cost_high: float | None


def estimate(plans: Iterable[tuple[Hashable, CallPlan]], price: Price | None) -> Estimate:
    """What the planned calls would cost.

    Low: each call but the first about a text finds its prefix cached, answers are short, and nothing is repeated.
    High: nothing is cached, answers are long, some calls are repeated, and texts have more tokens than counted.

    Args:
        plans: each with a key of its prefix; calls with equal keys share the prefix.
        price: of the model, None where it is not known.
    """
    calls = prompt = cached = variables = 0
    seen: set[Hashable] = set()
    for prefix, plan in plans:
        calls += 1
        prompt += plan.prefix_tokens + plan.question_tokens
        variables += plan.variables
        if prefix in seen and plan.prefix_tokens >= SHORTEST_CACHED:
            cached += plan.prefix_tokens
        seen.add(prefix)
    prompt_high = _more(_more(prompt, UNDERCOUNTED_PERCENT), REPEATED_PERCENT)
    completion_low = SHORT_ANSWER * variables
    completion_high = _more(LONG_ANSWER * variables, REPEATED_PERCENT)
    return Estimate(
        calls_low=calls,
        calls_high=_more(calls, REPEATED_PERCENT),
        prompt_tokens_low=prompt,
        prompt_tokens_high=prompt_high,
        cached_tokens_low=cached,
        cached_tokens_high=0,
        completion_tokens_low=completion_low,
        completion_tokens_high=completion_high,
        cost_low=_cost(price, prompt, cached, completion_low) if price else None,
        cost_high=_cost(price, prompt_high, 0, completion_high) if price else None,
    )


def call_estimate(plan: CallPlan, price: Price) -> float:
    """The most that one call is expected to cost, in USD: what a budget must still hold before it is made."""
    prompt = _more(plan.prefix_tokens + plan.question_tokens, UNDERCOUNTED_PERCENT)
    return _cost(price, prompt, 0, LONG_ANSWER * plan.variables)


def expected_tokens(plan: CallPlan) -> int:
    """About as many tokens as one call uses, those of its reply included."""
    return plan.prefix_tokens + plan.question_tokens + SHORT_ANSWER * plan.variables


def _more(count: int, percent: int) -> int:
    """The count and so many per cent of it, rounded up."""
    return -(-count * (100 + percent) // 100)


def _cost(price: Price, prompt: int, cached: int, completion: int) -> float:
    return cost(price, Usage(prompt_tokens=prompt, cached_tokens=cached, completion_tokens=completion))
