import pytest

from winnow.calls import Usage
from winnow.prices import FREE, Price, Prices, cost, is_estimated


def price(amount):
    return Price(input=amount, cached_input=amount / 4, output=amount * 4)


SHIPPED = {
    "openai:gpt-4.1": price(2.0),
    "openai:gpt-4.1*": price(3.0),
    "openai:gpt-4.1-mini*": price(0.4),
    "anthropic:claude-haiku-4-5*": price(1.0),
}


@pytest.mark.parametrize(
    ("model", "found"),
    [
        pytest.param("openai:gpt-4.1", price(2.0), id="exact"),
        pytest.param(" openai:gpt-4.1\n", price(2.0), id="white space"),
        pytest.param("openai:gpt-4.1-2025-04-14", price(3.0), id="beginning"),
        pytest.param("openai:gpt-4.1-mini", price(0.4), id="longest beginning, nothing after it"),
        pytest.param("openai:gpt-4.1-mini-2025-04-14", price(0.4), id="longest beginning"),
        pytest.param("openai:gpt-4", None, id="unknown"),
        pytest.param("gpt-4.1", None, id="without its provider"),
        pytest.param("", None, id="nothing"),
        pytest.param("baseline", FREE, id="baseline"),
        pytest.param("gguf:/models/small.gguf", FREE, id="runs here"),
    ],
)
def test_the_price_of_a_model(model, found):
    assert Prices((SHIPPED,)).price(model) == found


def test_an_earlier_table_goes_before_a_closer_name_in_a_later_one():
    prices = Prices(({"openai:*": price(9.0), "gguf:*": price(0.1)}, SHIPPED))
    assert prices.price("openai:gpt-4.1-mini") == price(9.0)
    assert prices.price("anthropic:claude-haiku-4-5-20251001") == price(1.0)
    assert prices.price("gguf:x") == price(0.1)


MINI = Price(input=0.40, cached_input=0.10, output=1.60)


@pytest.mark.parametrize(
    ("usage", "estimated", "usd"),
    [
        # 10,000 x 0.40 + 500 x 1.60 = 4,800 per million
        pytest.param(Usage(prompt_tokens=10_000, completion_tokens=500), None, 0.0048, id="nothing cached"),
        # 2,000 x 0.40 + 8,000 x 0.10 + 500 x 1.60 = 2,400 per million
        pytest.param(
            Usage(prompt_tokens=10_000, cached_tokens=8_000, completion_tokens=500), None, 0.0024, id="cached tokens"
        ),
        pytest.param(
            Usage(prompt_tokens=1_000, cached_tokens=5_000, completion_tokens=0), None, 0.0001, id="more than there are"
        ),
        pytest.param(Usage(), None, 0.0, id="nothing known"),
        pytest.param(
            Usage(), Usage(prompt_tokens=10_000, cached_tokens=8_000, completion_tokens=500), 0.0024, id="estimated"
        ),
        pytest.param(
            Usage(prompt_tokens=10_000), Usage(prompt_tokens=1, completion_tokens=500), 0.0048, id="partly estimated"
        ),
        pytest.param(
            Usage(prompt_tokens=10_000, completion_tokens=0), Usage(completion_tokens=500), 0.004, id="counted as none"
        ),
    ],
)
def test_the_cost_of_a_call(usage, estimated, usd):
    assert cost(MINI, usage, estimated) == pytest.approx(usd, rel=1e-12)


def test_what_is_free_costs_nothing():
    assert cost(FREE, Usage(prompt_tokens=10**9, cached_tokens=10**6, completion_tokens=10**9)) == 0


def test_a_cost_is_estimated_where_tokens_were_not_counted():
    assert is_estimated(Usage(prompt_tokens=1))
    assert is_estimated(Usage(completion_tokens=1))
    assert not is_estimated(Usage(prompt_tokens=1, completion_tokens=0))
