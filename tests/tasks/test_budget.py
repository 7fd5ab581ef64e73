"""A budget is kept: no call starts that could exceed it, and what was answered until then stays."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tasks.budget import Budget
from tasks.job_figures import job_figures
from tasks.plan_job import plan_job
from tests.factories import options, variable
from tests.openai_server import OpenAIServer
from tests.tasks.jobs_here import price, project, rows, run
from winnow.exceptions import BudgetReachedError, DefinitionError
from winnow.jobs import Job


def spend(budget: Budget, most: float, cost: float, seconds: float = 0.0) -> None:
    with budget.reserved(most):
        time.sleep(seconds)
        budget.spend(cost)


def test_without_a_limit_everything_may_be_spent() -> None:
    budget = Budget(None, 1e9)
    spend(budget, 1e12, 1e12)

    assert not budget.limited


def test_a_call_that_could_exceed_what_is_left_is_refused_with_the_figures() -> None:
    budget = Budget(1.0, 0.25)
    spend(budget, 0.5, 0.5)

    with pytest.raises(BudgetReachedError, match=r"\$1\.00 .* \$0\.7500 are spent, .* \$0\.2600\. .*larger --budget"):
        spend(budget, 0.26, 0.1)
    spend(budget, 0.25, 0.25)
    with pytest.raises(BudgetReachedError):
        spend(budget, 0.0001, 0.0)


def test_what_is_set_aside_is_free_again_when_the_call_ends_cheaper_or_fails() -> None:
    budget = Budget(1.0, 0.0)
    for _ in range(5):
        with pytest.raises(ValueError, match="no reply"), budget.reserved(1.0):
            raise ValueError("no reply")
    for _ in range(10):
        spend(budget, 0.5, 0.05)

    with pytest.raises(BudgetReachedError):
        spend(budget, 0.6, 0.0)


def test_a_call_waits_for_those_in_flight_that_may_turn_out_cheaper() -> None:
    budget = Budget(1.0, 0.0)
    began: list[str] = []

    def go(name: str, cost: float, seconds: float) -> None:
        with budget.reserved(0.6):
            began.append(name)
            time.sleep(seconds)
            budget.spend(cost)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(go, "first", 0.1, 0.2)
        time.sleep(0.05)
        second = pool.submit(go, "second", 0.6, 0.0)
        time.sleep(0.05)
        assert began == ["first"]
        first.result(5)
        second.result(5)
    assert began == ["first", "second"]


def test_many_at_once_never_exceed_it() -> None:
    budget, lock = Budget(1.0, 0.0), threading.Lock()
    spent: list[float] = []

    def go(number: int) -> bool:
        try:
            with budget.reserved(0.1):
                time.sleep(0.002)
                with lock:
                    spent.append(0.04 if number % 2 else 0.1)
                budget.spend(spent[-1])
        except BudgetReachedError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        through = list(pool.map(go, range(60)))
    assert 0.9 - 1e-9 < sum(spent) <= 1.0 + 1e-9
    assert sum(through) == len(spent) < 60


# A job with a budget

PRICE = {"input": 1000.0, "cached_input": 1000.0, "output": 1000.0}  # a thousandth of a dollar for every token


@pytest.fixture
def grants(database: str, tmp_path: Path, model_server: OpenAIServer) -> OpenAIServer:
    """A project of eight documents. One call costs about 0.9 dollars, and 1.1 at most."""
    price(tmp_path, **PRICE)
    texts = {f"{number}.txt": f"Contract {number} costs {number + 10} euros." for number in range(8)}
    project("title", texts=texts)
    return model_server


def paused() -> Job:
    (found,) = rows("SELECT id FROM job")
    from db import jobs
    from db.session import transaction

    with transaction() as connection:
        return jobs.get(connection, found.id)


@pytest.mark.parametrize("slots", [1, 4])
def test_a_job_stops_before_the_call_that_would_exceed_its_budget(grants: OpenAIServer, slots: int) -> None:
    with pytest.raises(BudgetReachedError, match=r"The budget of \$4\.00 does not cover the next call"):
        run(slots=slots, budget=4.0)

    job = paused()
    assert (job.status, job.reason is not None and job.reason.startswith("The budget of $4.00")) == ("paused", True)
    spent = job_figures(job.id)["cost"]
    assert 2.0 < spent <= 4.0
    assert (job.counts.extracted, job.counts.pending) == (grants.stats().answered, 8 - grants.stats().answered)
    assert job.counts.extracted >= 2
    assert grants.stats().requests == grants.stats().answered  # no call was begun in vain


def test_a_larger_budget_goes_on_with_the_same_job_and_repeats_nothing(grants: OpenAIServer) -> None:
    with pytest.raises(BudgetReachedError):
        run(budget=4.0)
    with pytest.raises(BudgetReachedError):  # a job's budget counts what it has spent before
        run(budget=4.0)
    answered = paused().counts.extracted

    job = run(budget=100.0)
    assert (job.id, job.status, job.counts.extracted) == (1, "completed", 8)
    assert job.options.budget == 100.0
    assert answered < 8
    assert (grants.stats().requests, grants.stats().duplicates) == (8, 0)


def test_a_budget_is_kept_where_the_provider_counts_no_tokens(grants: OpenAIServer) -> None:
    grants.configure(rates={"no_usage": 1.0})
    with pytest.raises(BudgetReachedError):
        run(budget=4.0)

    figures = job_figures(paused().id)
    assert 0 < figures["calls"] == figures["estimated"] < 8
    assert 1.0 < figures["cost"] <= 4.0


def test_a_job_that_has_bought_a_part_of_its_first_document_goes_on_there(grants: OpenAIServer) -> None:
    pages = "\n\n".join(f"Paragraph {number} of the long contract costs {number + 3} euros." for number in range(150))
    project("title", name="Long", texts={"a.txt": pages}, chunking={"whole_up_to": 500, "tokens": 300})
    with pytest.raises(BudgetReachedError):
        run("Long", budget=4.0)
    bought = grants.stats().requests
    assert (paused().counts.pending, paused().counts.done) == (1, 0)
    assert 2 <= bought <= 4

    with pytest.raises(BudgetReachedError):
        run("Long", budget=4.0)
    assert grants.stats().requests == bought
    assert run("Long", budget=100.0).id == 1
    assert (grants.stats().requests > 4, grants.stats().duplicates) == (True, 0)


def test_what_is_answered_already_costs_nothing_of_the_budget(grants: OpenAIServer) -> None:
    run()
    job = run(budget=0.01, variables=("title",))

    assert (job.status, job.counts.extracted) == ("completed", 8)
    assert job_figures(job.id)["calls"] == 0


@pytest.mark.usefixtures("database")
def test_a_budget_for_a_model_without_a_price_is_refused_with_the_remedy(model_server: OpenAIServer) -> None:
    project("title", variable("amount"), texts={"a.txt": "A text."})
    asked: Any = options(budget=1.0)

    with pytest.raises(DefinitionError, match=r"no price for 'openai:tested'.* prices\.yaml in WINNOW_HOME.*--budget"):
        plan_job("Grants", asked)
    assert rows("SELECT * FROM job") == []
