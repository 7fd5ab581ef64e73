"""What a job does while its database is away or refuses to store: no call is bought in vain, and none twice."""

import threading
import time

import pytest
from sqlalchemy.exc import IntegrityError

from db.session import transaction
from tasks import models
from tasks.extract_cell import extract_cell
from tasks.job_context import JobContext, opened
from tests.conftest import Server
from tests.openai_server import OpenAIServer
from tests.tasks.jobs_here import context, database_away, project, rows, run, wait_until
from winnow.exceptions import ModelSetupError, ProviderDownError, StayingError

pytestmark = pytest.mark.usefixtures("database")

TROUBLE = """
    CREATE SEQUENCE trouble;
    CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('trouble') <= 2 THEN RAISE EXCEPTION 'trouble' USING ERRCODE = '{state}'; END IF;
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER trouble AFTER UPDATE ON call DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NEW.status = 'answered') EXECUTE FUNCTION trouble();
"""


def documents(many: int) -> None:
    project("title", texts={f"{number:02}.txt": f"Contract {number:02} costs 11 euros." for number in range(many)})


# Storing


@pytest.mark.parametrize(
    "state",
    [
        pytest.param("40001", id="serialization failure"),
        pytest.param("40P01", id="deadlock"),
        pytest.param("53100", id="disk full"),
        pytest.param("57P01", id="shutdown"),
    ],
)
def test_a_commit_that_fails_is_repeated_from_the_reply_in_memory(model_server: OpenAIServer, state: str) -> None:
    documents(1)
    with transaction() as connection:
        connection.exec_driver_sql(TROUBLE.format(state=state))
    job = run()

    assert rows("SELECT last_value FROM trouble") == [(3,)]  # it failed twice
    assert (job.status, job.counts.extracted) == ("completed", 1)
    assert model_server.stats().requests == 1
    assert rows("SELECT status, attempts FROM call") == [("answered", 1)]


def test_a_commit_that_fails_for_what_stands_in_it_is_not_repeated(model_server: OpenAIServer) -> None:
    documents(1)
    with transaction() as connection:
        connection.exec_driver_sql(TROUBLE.format(state="23514"))
    with pytest.raises(IntegrityError):
        run()

    assert rows("SELECT status, reason, detail FROM cell") == [("failed", "internal_error", "IntegrityError")]
    assert model_server.stats().requests == 1


# Away


def test_while_the_database_is_away_no_call_starts_and_the_job_goes_on_by_itself(
    server: Server, database: str, model_server: OpenAIServer
) -> None:
    documents(10)
    model_server.configure(latency=0.2)
    asked: list[int] = []

    def go_away() -> None:
        wait_until(lambda: model_server.stats().requests >= 3)
        with database_away(server, database):
            for seconds in (0.7, 0.7):  # those in flight come back
                time.sleep(seconds)
                asked.append(model_server.stats().requests)

    away = threading.Thread(target=go_away)
    away.start()
    job = run(slots=2)
    away.join()

    assert asked[0] == asked[1] < 10
    assert (job.status, job.counts.extracted) == ("completed", 10)
    assert (model_server.stats().requests, model_server.stats().duplicates) == (10, 0)


# Further tries


def failed_for_good(job: JobContext) -> bool:
    """Try the job's cell once, which fails: was that its last try?"""
    (holding,) = job.holdings.claim(0)
    try:
        extract_cell.fn(list(holding.cells), "00.txt", "title", job.job_id)
    except ProviderDownError as error:
        return error.last
    raise AssertionError("it was answered")


def test_a_restart_waits_until_the_next_try_is_due_and_goes_on_counting(
    model_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.extract_cell.RETRY_DELAYS", [1.0])
    model_server.configure(script=["server_error", "server_error"])
    documents(1)
    with context() as first:
        assert not failed_for_good(first)
    with opened(first.job, 1) as again:
        assert failed_for_good(again)

    one, other = (line["at"] for line in model_server.requests())
    assert other - one > 0.9
    assert rows("SELECT status, reason, tries FROM cell") == [("failed", "provider_unavailable", 2)]


def test_what_every_cell_would_meet_pauses_the_job(model_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> None:
    documents(5)
    ask, asked = models.ask, []

    def ask_once(*given: object, **more: object) -> object:
        asked.append(given)
        if len(asked) > 1:
            raise ModelSetupError("The package of the model is gone.")
        return ask(*given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(models, "ask", ask_once)
    with pytest.raises(StayingError, match="package of the model is gone"):
        run(slots=1)

    assert len(asked) == 2
    assert rows("SELECT status, reason FROM job") == [("paused", "The package of the model is gone.")]
    assert rows("SELECT status, count(*) FROM cell GROUP BY 1 ORDER BY 1") == [("extracted", 1), ("pending", 4)]
