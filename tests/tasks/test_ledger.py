"""The ledger: what a reply costs once, when it is stored, and what becomes of it when something comes between."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from db import jobs, projects
from db.session import transaction
from tasks.job_context import JobContext
from tasks.ledger import Ledger
from tests import factories
from tests.conftest import Server
from tests.factories import MODEL, variable
from tests.openai_server import OpenAIServer
from tests.tasks.jobs_here import break_connections, context, database_away, price, project, rows, run, worker_of
from winnow.asking import Asked, Request
from winnow.calls import Reply
from winnow.exceptions import JobStoppedError, ProviderDownError, WorkerLostError
from winnow.prompts import Question
from winnow.tokens import count_tokens

TEXT = "Contract 1 costs 11 euros."
CALLS = "SELECT * FROM call ORDER BY id"


@pytest.fixture(autouse=True)
def _grants(database: str, model_server: OpenAIServer) -> None:
    project("title", variable("amount", type="number"), texts={"a.txt": TEXT, "b.txt": TEXT + " "})


def request(*names: str, span: tuple[int, int] = (0, len(TEXT))) -> Request:
    """A request about the document, for all variables where none is named."""
    with transaction() as connection:
        prompts = projects.prompts(connection, 1)
    asked = tuple(
        Asked(variable=one.variable, prompt=one.text) for one in prompts if not names or one.variable.name in names
    )
    return Request(span=span, asked=asked, question=Question(variables=tuple(one.prompt for one in asked)))


def ledger(of: JobContext, document: int = 1) -> Ledger:
    return Ledger(of, worker_of(of), document, TEXT, {prompt.variable.name: prompt.id for prompt in of.plan.prompts})


def statuses() -> list[str]:
    return [row.status for row in rows(CALLS)]


# When replies are stored


def test_the_last_reply_waits_for_its_cells_and_those_before_do_not() -> None:
    with context() as job:
        buying = ledger(job)
        buying.ask(request("title"))
        assert statuses() == ["intended"]
        buying.ask(request("amount"))
        assert statuses() == ["answered", "intended"]
        buying.store()
        assert statuses() == ["answered", "answered"]
        assert buying.call_ids == [row.id for row in rows(CALLS)]


def test_the_reply_and_what_is_made_of_it_are_stored_together_or_not_at_all() -> None:
    def fail(connection: Connection) -> None:
        connection.execute(text("UPDATE job SET flow_run_id = 'half done'"))
        raise ValueError("a mistake")

    with context() as job:
        buying = ledger(job)
        buying.ask(request("title"))
        with pytest.raises(ValueError, match="a mistake"):
            buying.store(fail)
        assert (statuses(), rows("SELECT flow_run_id FROM job")) == (["intended"], [(None,)])
        buying.store(lambda connection: connection.execute(text("UPDATE job SET flow_run_id = 'done'")))
        assert (statuses(), rows("SELECT flow_run_id FROM job")) == (["answered"], [("done",)])


def test_a_reply_is_stored_as_it_came() -> None:
    with context() as job:
        buying = ledger(job)
        heard = buying.ask(request())
        buying.store()
        again = ledger(job).ask(request())

    (call,) = rows(CALLS)
    assert (call.model, call.job_id, call.document_id, call.prompt_ids) == (MODEL, job.job_id, 1, [1, 2])
    assert call.reply["raw"] == heard.raw
    assert call.parameters == {"temperature": 0.15}  # the more careful of the two
    assert again == heard


# Bought once


def test_what_was_asked_before_needs_no_call_and_no_model(
    model_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with context() as job:
        first = ledger(job)
        heard = first.ask(request())
        assert first.ask(request()) is heard  # not stored yet
        first.store()
    model_server.reset()
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    with context(kind="sample", sample=1) as job:
        assert ledger(job, 2).ask(request()) == heard

    assert model_server.stats().requests == 0
    assert len(rows(CALLS)) == 1


def in_threads(*work: Callable[[], Any]) -> list[Any]:
    together = threading.Barrier(len(work))

    def go(one: Callable[[], Any]) -> Any:
        together.wait()
        return one()

    with ThreadPoolExecutor(len(work)) as pool:
        return [future.result(timeout=20) for future in [pool.submit(go, one) for one in work]]


def asking(of: JobContext, *requests: Request) -> Callable[[], list[Reply]]:
    def go() -> list[Reply]:
        buying = ledger(of)
        heard = [buying.ask(one) for one in requests]
        buying.store()
        return heard

    return go


def test_several_who_ask_the_same_at_once_buy_it_once(model_server: OpenAIServer) -> None:
    model_server.configure(latency=0.2)
    with context() as job:
        heard = in_threads(*[asking(job, request())] * 4)

    assert model_server.stats().requests == 1
    assert [one == heard[0] for one in heard] == [True] * 4


def test_two_jobs_that_ask_the_same_at_once_buy_it_once(model_server: OpenAIServer) -> None:
    model_server.configure(latency=0.2)
    with context() as one, context(kind="sample", sample=1) as other:
        first, second = in_threads(asking(one, request()), asking(other, request()))

    assert model_server.stats().requests == 1
    assert first == second
    assert len(rows("SELECT DISTINCT job_id FROM call")) == 1


def test_two_that_wait_for_each_others_replies_do_not_wait_for_ever(model_server: OpenAIServer) -> None:
    """As two documents of the same text do, whose parts are asked in threads."""
    model_server.configure(latency=0.3)

    def in_threads(asking: Ledger, *names: str) -> dict[str, Reply]:
        with ThreadPoolExecutor(2) as pool:
            replies = list(pool.map(asking.ask, map(request, names)))
        asking.store()  # as whoever asks does at the end
        return dict(zip(names, replies, strict=True))

    with context() as job, ThreadPoolExecutor(2) as pool:
        impatient = threading.Timer(60, job.gate.close, ["they wait for ever"])
        impatient.start()
        one = pool.submit(in_threads, ledger(job), "title", "amount")
        other = pool.submit(in_threads, ledger(job, 2), "amount", "title")
        replies = one.result(), other.result()
        impatient.cancel()

    assert replies[0] == replies[1]
    assert model_server.stats().requests == 2


def test_documents_with_the_same_text_buy_their_replies_once(model_server: OpenAIServer) -> None:
    parts = "\n\n".join(f"Paragraph {number} of the contract costs {number + 3} euros." for number in range(90))
    texts = {"a.txt": parts}
    of = project("title", name="Long", texts=texts, chunking={"whole_up_to": 500, "tokens": 300})
    with transaction() as connection:
        factories.document(connection, of, "b.txt", text=parts, data="other bytes")
    job = run("Long")

    assert (job.counts.total, job.counts.extracted + job.counts.flagged) == (2, 2)
    assert model_server.stats().duplicates == 0
    assert model_server.stats().requests == len(rows("SELECT DISTINCT call_key FROM call")) > 2


def test_a_rejected_reply_is_bought_anew_and_stays_in_the_books(model_server: OpenAIServer) -> None:
    with context() as job:
        buying = ledger(job)
        buying.ask(request("title"))
        buying.reject(request("title"), "malformed")
        assert statuses() == ["unusable"]
        ledger(job).ask(request("title"))

    assert model_server.stats().requests == 2
    (spoiled, _) = rows(CALLS)
    assert (spoiled.error, spoiled.reply is not None) == ("malformed", True)


def test_a_call_without_a_reply_is_noted_and_asked_again(model_server: OpenAIServer) -> None:
    model_server.configure(script=["server_error"])
    with context() as job:
        buying = ledger(job)
        with pytest.raises(ProviderDownError):
            buying.ask(request("title"))
        assert [(row.status, row.error) for row in rows(CALLS)] == [("failed", "provider_unavailable")]
        buying.ask(request("title"))
        buying.store()

    assert [(row.status, row.attempts) for row in rows(CALLS)] == [("answered", 2)]


def test_a_job_that_was_paused_buys_nothing(model_server: OpenAIServer) -> None:
    with context() as job:
        with transaction() as connection:
            jobs.pause(connection, job.job_id, "by hand")
        with pytest.raises(JobStoppedError, match="the job is paused"):
            ledger(job).ask(request())

    assert model_server.stats().requests == 0


# The database goes away


def test_a_reply_is_stored_although_the_connection_breaks_after_the_purchase(
    server: Server, database: str, model_server: OpenAIServer
) -> None:
    written: list[bool] = []

    def write(connection: Connection) -> None:
        if not written:
            written.append(True)
            break_connections(server, database)
        connection.execute(text("UPDATE job SET flow_run_id = 'done'"))

    with context() as job:
        buying = ledger(job)
        buying.ask(request())
        buying.store(write)

    assert statuses() == ["answered"]
    assert rows("SELECT flow_run_id FROM job") == [("done",)]
    assert model_server.stats().requests == 1


def test_a_reply_is_stored_when_the_database_is_back(server: Server, database: str, model_server: OpenAIServer) -> None:
    with context() as job, ThreadPoolExecutor(1) as pool:
        buying = ledger(job)
        buying.ask(request())
        with database_away(server, database):
            storing = pool.submit(buying.store)
            with pytest.raises(TimeoutError):
                storing.result(timeout=0.5)
        storing.result(timeout=20)

    assert statuses() == ["answered"]
    assert model_server.stats().requests == 1


def test_a_worker_that_was_struck_out_stores_its_reply_and_nothing_that_it_says(model_server: OpenAIServer) -> None:
    with context() as job:
        buying = ledger(job)
        buying.ask(request())
        rows("DELETE FROM worker RETURNING id")
        with pytest.raises(WorkerLostError):
            buying.store(lambda connection: connection.execute(text("UPDATE job SET flow_run_id = 'too late'")))

    assert statuses() == ["answered"]
    assert rows("SELECT flow_run_id FROM job") == [(None,)]


def test_a_worker_that_was_struck_out_buys_nothing(model_server: OpenAIServer) -> None:
    with context() as job:
        buying = ledger(job)
        rows("DELETE FROM worker RETURNING id")
        with pytest.raises(WorkerLostError):
            buying.ask(request())

    assert model_server.stats().requests == 0


# Money


def test_a_call_costs_what_the_prices_file_says(tmp_path: Path, model_server: OpenAIServer) -> None:
    price(tmp_path, input=1000.0, cached_input=100.0, output=4000.0)
    with context() as job:
        buying = ledger(job)
        usage = buying.ask(request()).usage
        buying.store()

    (call,) = rows(CALLS)
    assert (usage.cached_tokens, call.cost_estimated) == (0, False)
    assert (call.prompt_tokens, call.completion_tokens) == (usage.prompt_tokens, usage.completion_tokens)
    assert call.cost == pytest.approx((call.prompt_tokens * 1000 + call.completion_tokens * 4000) / 1e6)


def test_cached_tokens_cost_their_own_price(tmp_path: Path, model_server: OpenAIServer) -> None:
    price(tmp_path, input=1000.0, cached_input=100.0, output=0.0)
    project("title", "buyer", name="Long", texts={"a.txt": "The contract is long and has many words. " * 200})
    run("Long", slots=1)

    first, second = rows(CALLS)
    assert (first.cached_tokens, second.cached_tokens > 1000) == (0, True)
    assert second.cost == pytest.approx((second.prompt_tokens * 1000 - second.cached_tokens * 900) / 1e6)


def test_a_model_without_a_price_has_no_cost() -> None:
    with context() as job:
        buying = ledger(job)
        buying.ask(request())
        buying.store()

    assert [(row.cost, row.cost_estimated) for row in rows(CALLS)] == [(None, False)]


def test_tokens_that_the_provider_does_not_count_are_estimated(tmp_path: Path, model_server: OpenAIServer) -> None:
    price(tmp_path, input=1000.0, output=4000.0)
    model_server.configure(script=["no_usage"])
    with context() as job:
        buying = ledger(job)
        heard = buying.ask(request())
        buying.store()

    (call,) = rows(CALLS)
    assert (call.prompt_tokens, call.completion_tokens, call.cost_estimated) == (None, None, True)
    asked = count_tokens(job.rules) + count_tokens(TEXT)
    assert call.cost > (asked * 1000 + count_tokens(heard.text) * 4000) / 1e6
