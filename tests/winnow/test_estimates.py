import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.estimates import CallPlan, Estimate, call_estimate, estimate
from winnow.prices import FREE, Price

MINI = Price(input=0.40, cached_input=0.10, output=1.60)


def plan(prefix, question, variables=1):
    return CallPlan(prefix_tokens=prefix, question_tokens=question, variables=variables)


def test_the_range_of_a_job():
    plans = [
        ("a", plan(8_000, 100)),
        ("a", plan(8_000, 150)),
        ("a", plan(8_000, 250, 4)),
        ("short", plan(1_023, 100)),
        ("short", plan(1_023, 100)),
    ]
    assert estimate(plans, MINI) == Estimate(
        calls_low=5,
        calls_high=6,  # 5.5
        prompt_tokens_low=26_746,  # 24,500 + 2,246
        prompt_tokens_high=32_364,  # 26,746 x 1.1 = 29,421; x 1.1 = 32,363.1
        cached_tokens_low=16_000,  # the second and third of the long one
        cached_tokens_high=0,
        completion_tokens_low=320,  # 8 x 40
        completion_tokens_high=2_200,  # 8 x 250 x 1.1
        cost_low=pytest.approx(0.0064104),  # 10,746 x 0.40 + 16,000 x 0.10 + 320 x 1.60 = 6,410.4 per million
        cost_high=pytest.approx(0.0164656),  # 32,364 x 0.40 + 2,200 x 1.60 = 16,465.6 per million
    )


def test_the_shortest_prefix_that_is_cached():
    assert estimate([(1, plan(1_024, 1)), (1, plan(1_024, 1))], MINI).cached_tokens_low == 1_024
    assert estimate([(1, plan(1_024, 1)), (2, plan(1_024, 1))], MINI).cached_tokens_low == 0


def test_without_a_price_tokens_alone():
    found = estimate([("a", plan(2_000, 100))], None)
    assert (found.cost_low, found.cost_high) == (None, None)
    assert (found.prompt_tokens_low, found.prompt_tokens_high) == (2_100, 2_541)


def test_what_is_free_and_what_is_nothing():
    free = estimate([("a", plan(2_000, 100))], FREE)
    assert (free.cost_low, free.cost_high) == (0.0, 0.0)
    nothing = estimate([], MINI)
    assert (nothing.calls_low, nothing.calls_high, nothing.cost_low, nothing.cost_high) == (0, 0, 0.0, 0.0)


def test_the_most_that_a_call_costs():
    # 8,100 x 1.1 = 8,910 x 0.40 + 500 x 1.60 = 4,364 per million
    assert call_estimate(plan(8_000, 100, 2), MINI) == pytest.approx(0.004364)
    assert call_estimate(plan(8_000, 100, 2), FREE) == 0.0


counts = st.integers(0, 10**6)
plans = st.lists(st.tuples(st.integers(0, 3), st.builds(plan, counts, counts, st.integers(0, 50))), max_size=20)


@given(plans)
def test_low_is_never_above_high_and_no_single_calls_exceed_it(planned):
    found = estimate(planned, MINI)
    assert found.calls_low <= found.calls_high
    assert found.cached_tokens_low <= found.prompt_tokens_low <= found.prompt_tokens_high
    assert found.completion_tokens_low <= found.completion_tokens_high
    assert found.cost_low <= found.cost_high
    single = sum(call_estimate(one, MINI) for _, one in planned)
    assert found.cost_low <= single * (1 + 1e-9)
    assert single <= found.cost_high + len(planned) * 2e-6  # each call is rounded up to whole tokens
