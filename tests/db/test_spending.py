"""What jobs have bought, and what for."""

import itertools

import pytest

from db import calls, projects
from tests import factories
from tests.factories import MODEL, options
from winnow.calls import Usage
from winnow.jobs import Spending

_numbers = itertools.count()


@pytest.fixture
def grants(connection):
    """A project with three variables and a parsed document."""
    project = factories.project(connection, "title", "donor", "amount")
    factories.document(connection, project.id, "a.pdf")
    return project


def buy(connection, project, job, names, document="a.pdf", model=MODEL, usage=None, **more):
    """Let a job buy a reply about some variables of a document. Returns the call's id."""
    ids = {prompt.variable.name: prompt.id for prompt in projects.prompts(connection, project.id)}
    found = {stored.name: stored.id for stored in factories.documents.of_project(connection, project.id)}
    order = calls.Order(
        request_key=f"request {next(_numbers)}", job_id=job, document_id=found[document],
        prompt_ids=tuple(ids[name] for name in names), model=model, parameters={},
    )  # fmt: skip
    call = calls.intend(connection, order, factories.worker(connection)).call_id
    usage = usage or Usage(prompt_tokens=300, cached_tokens=60, completion_tokens=30)
    calls.keep_reply(connection, call, factories.reply(usage=usage), **more)
    return call


def test_spending_is_all_that_the_job_bought_usable_or_not(connection, grants):
    job = factories.job(connection, grants)
    buy(connection, grants, job, ["title"], cost=0.25)
    bad = buy(connection, grants, job, ["title"], cost=0.5, estimated=True)
    calls.reject(connection, bad, "malformed")
    factories.intend(connection, factories.pending(connection, job)[0].id)
    assert calls.spending(connection, job) == Spending(
        calls=2, prompt_tokens=600, cached_tokens=120, completion_tokens=60, cost=0.75, estimated=1
    )


def test_a_job_without_calls_has_spent_nothing(connection, grants):
    job = factories.job(connection, grants)
    assert calls.spending(connection, job) == Spending()
    assert calls.spending_by(connection, job, "variable") == []


def test_tokens_that_the_provider_did_not_count_and_calls_without_a_price_add_nothing(connection, grants):
    job = factories.job(connection, grants)
    buy(connection, grants, job, ["title"], usage=Usage(prompt_tokens=7))
    assert calls.spending(connection, job) == Spending(calls=1, prompt_tokens=7)


def test_what_another_job_bought_costs_nothing(connection, grants):
    first = factories.job(connection, grants)
    later = factories.job(connection, grants, options("sample"))
    buy(connection, grants, first, ["title"], cost=1.0)
    buy(connection, grants, later, ["donor"], cost=2.0)
    assert calls.spending(connection, later).cost == 2.0
    assert [name for name, _ in calls.spending_by(connection, later, "variable")] == ["donor"]


def test_variables_that_share_a_call_have_even_shares_of_it(connection, grants):
    job = factories.job(connection, grants)
    buy(connection, grants, job, ["title", "donor", "amount"], cost=0.75)
    buy(connection, grants, job, ["amount"], cost=1.0)
    assert calls.spending_by(connection, job, "variable") == [
        ("amount", Spending(calls=2, prompt_tokens=400, cached_tokens=80, completion_tokens=40, cost=1.25)),
        ("donor", Spending(calls=1, prompt_tokens=100, cached_tokens=20, completion_tokens=10, cost=0.25)),
        ("title", Spending(calls=1, prompt_tokens=100, cached_tokens=20, completion_tokens=10, cost=0.25)),
    ]


def test_documents_and_models_come_with_the_most_expensive_first(connection, grants):
    factories.document(connection, grants.id, "b.pdf")
    job = factories.job(connection, grants)
    buy(connection, grants, job, ["title"], "a.pdf", cost=0.5)
    buy(connection, grants, job, ["title"], "b.pdf", cost=0.75)
    buy(connection, grants, job, ["donor"], "a.pdf", model="openai:free")
    by_document = [(name, spent.calls, spent.cost) for name, spent in calls.spending_by(connection, job, "document")]
    by_model = [(name, spent.calls, spent.cost) for name, spent in calls.spending_by(connection, job, "model")]
    assert by_document == [("b.pdf", 1, 0.75), ("a.pdf", 2, 0.5)]
    assert by_model == [(MODEL, 2, 1.25), ("openai:free", 1, None)]
