"""Every fault of a provider or of a reply, through the whole flow. The table of faults stands in docs/faults.md."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tasks import ledger, provider_errors
from tasks.extract_cell import RETRY_DELAYS
from tests.conftest import Server, winnow_at
from tests.factories import variable
from tests.flows.conftest import Make, add, apply, contracts, dataset, point_at, rows, run, values
from tests.openai_server import OpenAIServer
from winnow.exceptions import BudgetReachedError, StayingError
from winnow.extractions import DatasetCell

TRIES = len(RETRY_DELAYS) + 1
EIGHT = ("title", "buyer", "seller", "place", "goods", "court", "notary", "witness")
PRICES = '"openai:tested": {input: 100, output: 100}\n'  # USD for a million tokens


# One job in which every variable meets a fault of its own, in one of two documents, however often it is asked for

SALVAGED = ("fenced", "prose", "tool_call_reply", "no_usage")
FAILED = {  # the reason on the cell, and how many requests were made for it
    "malformed": ("malformed", 2),  # asked once more, with what was wrong
    "wrong_shape": ("malformed", 2),
    "extra_key": ("malformed", 2),
    "null_values": ("malformed", 2),
    "scalar_for_list": ("malformed", 2),
    "nan_confidence": ("malformed", 2),
    "huge_number": ("malformed", 2),
    "duplicate_keys": ("malformed", 2),
    "missing_variable": ("missing_answer", 2),
    "empty": ("empty_reply", 2),
    "empty_choices": ("empty_reply", 2),
    "truncated": ("truncated", 1),  # too short to be split
    "length_json": ("truncated", 1),
    "reasoning_exhausted": ("truncated", 1),
    "refusal": ("refused", 1),
    "content_filter": ("content_filtered", 1),
    "content_filter_400": ("content_filtered", 1),
    "context_overflow": ("too_long", 1),
    "context_overflow_words": ("too_long", 1),
    "server_error": ("provider_unavailable", TRIES),
    "unavailable": ("provider_unavailable", TRIES),
    "error_in_200": ("provider_unavailable", TRIES),
    "drop": ("provider_unavailable", TRIES),
    "rate_limit": ("rate_limited", TRIES),  # without Retry-After
}
NO_REPLY = {fault for fault, (_, requests) in FAILED.items() if requests == TRIES} | {
    "content_filter_400",
    "context_overflow",
    "context_overflow_words",
}
EVERY = (*SALVAGED, "invented", *FAILED)


@dataclass(frozen=True)
class Spoiled:
    """What the job has left, and what the next one did once the faults were over."""

    figures: dict[str, Any]
    cells: dict[tuple[str, str], DatasetCell]
    requests: Counter[str]  # about the spoiled document, by variable
    kept: dict[str, int]  # raw replies about it, by variable
    estimated_cost: float
    next_figures: dict[str, Any]
    next_requests: Counter[str]


@pytest.fixture(scope="module")
def spoiled(
    server: Server, one_model_server: OpenAIServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Spoiled]:
    home = tmp_path_factory.mktemp("spoiled")
    (home / "prices.yaml").write_text(PRICES)
    one_model_server.reset(settings=True)
    faults = {fault: {"fault": fault, "document": "Contract 1 "} for fault in EVERY}
    with server.database(Server.template) as url, winnow_at(url, home), pytest.MonkeyPatch.context() as patch:
        point_at(one_model_server, patch)
        apply(*EVERY)
        add("Tested", home / "documents", contracts(2))
        one_model_server.configure(fault_variables=faults, retry_after=None)
        figures = run("Tested")
        cells = {(cell.document, cell.variable): cell for cell in dataset("Tested")}
        kept = rows("""
            SELECT variable.name, count(*) FROM call JOIN document ON document.id = call.document_id
                JOIN prompt ON prompt.id = call.prompt_ids[1] JOIN variable ON variable.id = prompt.variable_id
            WHERE document.name = 'd01.txt' AND call.reply IS NOT NULL GROUP BY 1
        """)
        ((estimated,),) = rows("SELECT sum(cost) FROM call WHERE cost_estimated")
        log = one_model_server.requests()
        of_document = Counter(line["document"] for line in log).most_common(1)[0][0]
        requests = Counter(line["variables"][0] for line in log if line["document"] == of_document)
        one_model_server.reset(settings=True)
        next_figures = run("Tested")
        asked = Counter(line["variables"][0] for line in one_model_server.requests())
        yield Spoiled(figures, cells, requests, dict(map(tuple, kept)), estimated, next_figures, asked)


def test_the_table_names_every_fault_that_a_cell_can_meet() -> None:
    from tests.openai_settings import FAULTS

    stops_the_job = {"quota", "unauthorized"}
    assert {*EVERY, *stops_the_job, "hang"} == FAULTS


@pytest.mark.parametrize("fault", FAILED)
def test_a_fault_that_lasts_fails_its_cell_alone_with_its_reason_after_so_many_requests(
    spoiled: Spoiled, fault: str
) -> None:
    reason, requests = FAILED[fault]
    cell = spoiled.cells["d01.txt", fault]

    assert (cell.status, cell.reason, cell.extraction) == ("failed", reason, None)
    assert spoiled.requests[fault] == requests
    assert spoiled.cells["d00.txt", fault].status == "found"


@pytest.mark.parametrize("fault", EVERY)
def test_every_reply_is_kept_as_it_came_and_what_brought_none_is_not(spoiled: Spoiled, fault: str) -> None:
    assert spoiled.kept.get(fault, 0) == (0 if fault in NO_REPLY else spoiled.requests[fault])


@pytest.mark.parametrize("fault", SALVAGED)
def test_a_reply_that_can_be_read_in_one_way_alone_is_read(spoiled: Spoiled, fault: str) -> None:
    cell, other = spoiled.cells["d01.txt", fault], spoiled.cells["d00.txt", fault]

    assert spoiled.requests[fault] == 1
    assert cell.extraction
    assert other.extraction
    assert cell.extraction.flags == ()
    assert cell.extraction.accepted == ("Contract 1 costs 11 euros.",)
    assert cell.extraction.confidence == other.extraction.confidence


def test_a_value_with_invented_evidence_is_flagged_and_not_asked_again(spoiled: Spoiled) -> None:
    cell = spoiled.cells["d01.txt", "invented"]

    assert cell.extraction
    assert "evidence_absent" in cell.extraction.flags
    assert cell.extraction.confidence is not None
    assert cell.extraction.confidence < 0.5
    assert spoiled.requests["invented"] == 1


def test_tokens_that_the_provider_does_not_count_are_estimated(spoiled: Spoiled) -> None:
    assert spoiled.figures["estimated"] == 1
    assert spoiled.estimated_cost == pytest.approx(spoiled.figures["cost"] / spoiled.figures["calls"], rel=0.5)


def test_the_next_run_asks_for_what_failed_and_for_nothing_else(spoiled: Spoiled) -> None:
    assert spoiled.figures["status"] == "completed_with_errors"
    assert spoiled.figures["failures"] == Counter(reason for reason, _ in FAILED.values())
    assert spoiled.next_figures["status"] == "completed"
    assert spoiled.next_requests == dict.fromkeys(FAILED, 1)


# Too many requests


def test_when_the_provider_says_when_to_come_back_nobody_comes_earlier(
    project: Make, model_server: OpenAIServer
) -> None:
    name = project("title", documents=12)
    model_server.configure(script=["rate_limit"], retry_after="1.5", latency=0.5)  # the 429 comes at once

    assert run(name, concurrency=4)["cells"]["extracted"] == 12

    times = [line["at"] for line in model_server.requests()]
    assert sum(at - times[0] < 1.5 for at in times) <= 4  # those that were under way already
    assert len(times) == 12 + 1


def test_waiting_as_long_as_the_provider_says_uses_up_no_try(project: Make, model_server: OpenAIServer) -> None:
    name = project("title", documents=1)
    model_server.configure(script=["rate_limit"] * (TRIES + 2), retry_after="0.1")

    assert run(name)["cells"]["extracted"] == 1

    times = [line["at"] for line in model_server.requests()]
    assert len(times) == TRIES + 3
    assert all(later - earlier >= 0.1 for earlier, later in pairwise(times))
    assert rows("SELECT attempts FROM call") == [(TRIES + 3,)]


def test_a_provider_that_puts_off_for_ever_is_not_waited_for_for_ever(
    project: Make, model_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "_PATIENCE", 0.1)
    name = project("title", documents=1)
    model_server.configure(rates={"rate_limit": 1.0}, retry_after="0.06")

    assert run(name)["failures"] == {"rate_limited": 1}
    assert TRIES <= model_server.stats().requests <= 2 * TRIES


def test_whatever_retry_after_says_the_job_goes_on(
    project: Make, model_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_errors, "LONGEST_RETRY_AFTER", 0.4)
    name = project("title", documents=1)
    date = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    headers = [date, "999999", "0", "-5", "soon", "nan"]
    model_server.configure(script=[{"fault": "rate_limit", "retry_after": header} for header in headers])

    assert run(name)["cells"]["extracted"] == 1

    times = [line["at"] for line in model_server.requests()]
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert len(waits) == len(headers)
    assert all(0.4 <= wait < 3 for wait in waits[:2])  # no longer than the longest that is waited for


# What no further call would change


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"api_key": "another"}, "does not accept the key.*Set the right one"),
        ({"models": ["another"]}, "does not know the model.*Check the name"),
        ({"rates": {"quota": 1.0}}, "quota.*Add credit"),
    ],
)
def test_an_error_that_stays_is_met_once_and_withdraws_a_job_that_has_nothing_yet(
    project: Make, model_server: OpenAIServer, settings: dict[str, Any], remedy: str
) -> None:
    name = project("title", documents=5)
    model_server.configure(**settings)

    with pytest.raises(StayingError, match=remedy) as raised:
        run(name, concurrency=2)

    assert model_server.stats().requests <= 2  # one for each call at once
    assert rows("SELECT count(*) FROM job")[0][0] == 0
    assert "canary-key" not in str(raised.value)


@pytest.mark.parametrize("fault", ["quota", "unauthorized"])
def test_an_error_that_stays_pauses_a_job_and_the_next_run_goes_on_with_it(
    project: Make, model_server: OpenAIServer, fault: str
) -> None:
    name = project("title", documents=6)
    model_server.configure(script=["ok", "ok", fault])
    with pytest.raises(StayingError):
        run(name, concurrency=1)
    (paused,) = rows("SELECT id, status, reason FROM job")
    assert paused.status == "paused"
    assert "run again" in paused.reason
    assert model_server.stats().requests == 3
    assert rows("SELECT count(*) FROM cell WHERE status = 'pending'")[0][0] == 4

    figures = run(name, concurrency=1)

    assert figures["job"] == paused.id
    assert figures["cells"]["extracted"] == 6
    assert model_server.stats().answered == 6


# What passes


def test_a_burst_of_failures_of_the_provider_is_outlasted(project: Make, model_server: OpenAIServer) -> None:
    name = project("title", documents=4)
    model_server.configure(script=["server_error", "unavailable", "error_in_200", "drop", "server_error"])

    assert run(name, concurrency=2)["status"] == "completed"
    assert (model_server.stats().requests, model_server.stats().duplicates) == (4 + 5, 0)


def test_a_call_that_is_not_answered_in_time_is_made_again(
    project: Make, model_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINNOW_TIMEOUT_SECONDS", "0.7")
    name = project("title", documents=1)
    model_server.configure(script=["hang", "drop"])

    assert run(name)["status"] == "completed"

    hung, dropped, answered = model_server.requests()
    assert 0.6 < dropped["at"] - hung["at"] < 5
    assert answered["status"] == 200
    assert rows("SELECT attempts, status FROM call") == [(3, "answered")]  # each try may have been paid for


# Replies that are mended by asking again


@pytest.mark.parametrize("fault", ["malformed", "empty", "wrong_shape", "missing_variable"])
def test_a_reply_that_cannot_be_read_is_asked_for_once_more_with_the_reason(
    project: Make, model_server: OpenAIServer, fault: str
) -> None:
    name = project("title", documents=1)
    model_server.configure(script=[fault])

    assert run(name)["status"] == "completed"

    first, again = model_server.requests()
    assert first["correction"] is None
    assert [wrong["variable"] for wrong in again["correction"]] == ["title"]


def test_of_eight_variables_the_seven_answered_are_kept_and_one_is_asked_again(
    project: Make, model_server: OpenAIServer
) -> None:
    name = project(*EIGHT, documents=1)
    model_server.configure(script=["missing_variable"])

    assert run(name, variables_per_call=0)["cells"]["extracted"] == 8

    assert [line["variables"] for line in model_server.requests()] == [list(EIGHT), [EIGHT[0]]]


def test_a_reply_cut_short_is_split_by_variables_until_every_answer_is_whole(
    project: Make, model_server: OpenAIServer
) -> None:
    name = project(*EIGHT, documents=1)
    model_server.configure(max_output_tokens=150)

    assert run(name, variables_per_call=0)["status"] == "completed"

    assert values(name) == {("d00", asked): ("Contract 0 costs 10 euros.",) for asked in EIGHT}
    sizes = [len(line["variables"]) for line in model_server.requests()]
    assert sizes[0] == 8
    assert max(sizes[1:]) == 4
    assert model_server.stats().duplicates == 0


def test_what_is_still_cut_when_nothing_can_be_split_is_truncated_and_never_stored_as_an_answer(
    project: Make, model_server: OpenAIServer
) -> None:
    name = project("title", "buyer", documents=1)
    model_server.configure(max_output_tokens=20)

    figures = run(name, variables_per_call=0)

    assert figures["failures"] == {"truncated": 2}
    assert values(name) == {("d00", "title"): "truncated", ("d00", "buyer"): "truncated"}
    assert rows("SELECT count(*) FROM extraction")[0][0] == 0


def test_a_refusal_of_one_variable_does_not_cost_the_others_of_its_call(
    project: Make, model_server: OpenAIServer
) -> None:
    name = project(*EIGHT[:4], documents=1)
    model_server.configure(fault_variables={"seller": "refusal"})

    assert run(name, variables_per_call=0)["cells"]["extracted"] == 3
    assert values(name)["d00", "seller"] == "refused"
    assert model_server.stats().variables["seller"] == 3  # among four, two and alone


LONG = "\n\n".join(f"Paragraph {at}. The parties of the contract met in Tulsa again." for at in range(60))


def test_a_document_beyond_the_models_context_is_read_in_halves(project: Make, model_server: OpenAIServer) -> None:
    name = project("title", documents={"long": f"{LONG}\n\nThe fee is 4711 euros.", "short": "The fee is 12 euros."})
    truth = {"*": {"title": {"values": [{"value": "4711", "evidence": "The fee is 4711 euros."}]}}}
    model_server.configure(context_tokens=1_200, truth=truth, strict_evidence=True)

    assert run(name)["status"] == "completed"

    assert values(name) == {("long", "title"): ("4711",), ("short", "title"): ()}
    assert model_server.stats().by_status[400] >= 1
    (unread,) = rows("SELECT count(*) FROM extraction WHERE 'incomplete' = ANY (flags)")
    assert unread[0] == 0


def test_a_context_that_takes_no_part_of_a_document_leaves_its_cell_too_long(
    project: Make, model_server: OpenAIServer
) -> None:
    name = project("title", documents=1)
    model_server.configure(context_tokens=50)

    assert run(name)["failures"] == {"too_long": 1}
    assert model_server.stats().answered == 0


# Budget


@pytest.mark.parametrize("rates", [{}, {"no_usage": 1.0}], ids=["counted", "without usage"])
def test_no_call_starts_that_could_exceed_the_budget_and_the_job_goes_on_with_a_larger_one(
    project: Make, model_server: OpenAIServer, tmp_path: Path, rates: dict[str, float]
) -> None:
    (tmp_path / "prices.yaml").write_text(PRICES)
    name = project("title", documents=8)
    model_server.configure(rates=rates)

    with pytest.raises(BudgetReachedError, match="larger --budget"):
        run(name, budget=0.3, concurrency=2)

    (job,) = rows("SELECT id, status FROM job")
    asked, spent = model_server.stats().requests, rows("SELECT sum(cost) FROM call")[0][0]
    assert job.status == "paused"
    assert 1 <= asked < 8
    assert 0 < spent <= 0.3
    assert rows("SELECT bool_and(cost_estimated) FROM call WHERE reply IS NOT NULL")[0][0] is bool(rates)

    figures = run(name, budget=10.0)
    assert (figures["job"], figures["cells"]["extracted"]) == (job.id, 8)
    assert (model_server.stats().requests, model_server.stats().duplicates) == (8, 0)


# Dependencies


def test_what_depends_on_a_cell_that_failed_is_skipped_and_never_asked(
    project: Make, model_server: OpenAIServer
) -> None:
    child = variable("amount", depends_on=[{"variable": "title", "condition": "is_found"}])
    grandchild = variable("currency", depends_on=[{"variable": "amount", "condition": "is_found"}])
    name = project("title", child, grandchild, documents=1)
    model_server.configure(fault_variables={"title": "refusal"})

    figures = run(name)

    assert figures["status"] == "completed_with_errors"
    assert figures["cells"]["skipped"] == 2
    assert values(name) == {
        ("d00", "title"): "refused",
        ("d00", "amount"): "skipped_dependency",
        ("d00", "currency"): "skipped_dependency",
    }
    assert model_server.stats().variables == {"title": 1}


def test_the_page_on_faults_has_them_all_and_names_tests_that_exist() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "faults.md").read_text()
    known = {
        name for file in (root / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())
    }

    assert re.findall(r"^\| ([LR]-\d+)", page, re.MULTILINE) == [
        *(f"{kind}-{number:02}" for kind in "LR" for number in range(1, 17))
    ]
    assert set(re.findall(r"`(test_\w+)`", page)) <= known
    assert [file for file in re.findall(r"`(tests/\S+\.py)`", page) if not (root / file).exists()] == []
    assert [name for name in re.findall(r"`python -m (\S+)`", page) if find_spec(name) is None] == []
    assert [reason for reason, _ in FAILED.values() if f"`{reason}`" not in page and reason != "missing_answer"] == []
