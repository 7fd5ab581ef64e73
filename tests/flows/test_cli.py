"""The command line: what it prints, its exit status, and what a wrong request gets."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from db import projects
from db.session import transaction
from flows import cli
from tasks.ingest_file import ingest_file
from tasks.plan_job import plan_job
from tests.openai_server import OpenAIServer
from winnow import __version__
from winnow.jobs import JobOptions

CODEBOOK = """
project: letters
variables:
  - {name: sender, type: text, instructions: Who wrote the letter.}
  - {name: sent_on, type: date, instructions: The date of the letter.}
"""


class Said:
    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


@pytest.fixture
def winnow(database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    """Run a command in this process: `winnow("apply", "codebook.yaml")`."""
    monkeypatch.chdir(tmp_path)

    def command(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["winnow", *words])
        capsys.readouterr()
        try:
            cli.main()
            status = 0
        except SystemExit as ended:
            status = int(ended.code or 0)
        out, err = capsys.readouterr()
        return Said(status, out, err)

    return command


@pytest.fixture
def letters(winnow: Any, tmp_path: Path) -> str:
    """A project with one document."""
    (tmp_path / "letters.yaml").write_text(CODEBOOK)
    folder = tmp_path / "letters"
    folder.mkdir()
    (folder / "one.txt").write_text("Sender: Ada Byron\nSent on: 5 May 1843\n\nDear Charles, the notes are done.\n")
    assert winnow("apply", "letters.yaml").status == 0
    with transaction() as connection:
        project_id = projects.get(connection, "letters").id
    assert ingest_file.fn(str(folder / "one.txt"), "one.txt", project_id) == "parsed"
    return "letters"


def everything() -> list[Any]:
    tables = ("project", "variable", "prompt", "document", "job", "cell", "call", "extraction", "job_event")
    with transaction() as connection:
        return [connection.execute(text(f"SELECT * FROM {table} ORDER BY 1")).all() for table in tables]


def test_apply_says_what_changed_and_the_second_time_nothing(winnow: Any, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CODEBOOK)
    assert "Project letters: created" in winnow("apply", "c.yaml").out

    (tmp_path / "c.yaml").write_text(CODEBOOK.replace("Who wrote", "Who signed"))
    changed = winnow("apply", "c.yaml").out
    assert "sender: changed (instructions), prompt version 2" in changed
    assert "1 variable unchanged" in changed

    again = winnow("apply", "c.yaml", "--json")
    assert json.loads(again.out)["change"] == "unchanged"


def test_the_whole_way_with_the_baseline(winnow: Any, letters: str, tmp_path: Path) -> None:
    ingested = winnow("ingest", letters, "letters", "letters/one.txt", "--json")
    assert json.loads(ingested.out)["files"] == {"known": 1}

    ran = winnow("run", letters, "--json")
    assert ran.status == 0
    assert json.loads(ran.out)["cells"]["total"] == 2

    assert winnow("export", letters, "-o", "out.csv", "--with", "evidence").status == 0
    assert winnow("export", letters, "-o", "out.xlsx").status == 0
    table = (tmp_path / "out.csv").read_text()
    assert table.startswith("document,sender,sender_evidence,sent_on,sent_on_evidence\n")
    assert "Ada Byron" in table
    assert "1843-05-05" in table

    assert "letters" in winnow("jobs").out
    assert json.loads(winnow("jobs", "--json").out)["jobs"][0]["status"] == "completed"
    job = str(json.loads(ran.out)["job"])
    assert "2 cells" in winnow("job", job).out
    told = json.loads(winnow("job", job, "--costs", "--documents", "--json").out)
    assert {line["variable"] for line in told["costs"]["variable"]} == {"sender", "sent_on"}
    assert [(line["document"], line["status"]) for line in told["documents"]] == [("one.txt", "complete")]
    assert "one.txt" in winnow("job", job, "--costs", "--documents").out


def test_a_dry_run_says_what_is_left_to_ask_and_asks_and_stores_nothing(
    winnow: Any, letters: str, model_server: OpenAIServer
) -> None:
    before = everything()

    said = winnow("run", letters, "--model", "openai:gpt-4.1-mini", "--dry-run", "--json")

    assert said.status == 0
    estimate = json.loads(said.out)
    assert estimate["calls_low"] == 2 <= estimate["calls_high"]
    assert 0 < estimate["cost_low"] < estimate["cost_high"]
    assert everything() == before
    assert model_server.stats().requests == 0
    assert winnow("run", letters, "--model", "openai:gpt-4.1-mini", "--variables-per-call", "0").status == 0
    again = winnow("run", letters, "--model", "openai:gpt-4.1-mini", "--dry-run", "--json")
    assert json.loads(again.out)["calls_high"] == 0
    assert model_server.stats().requests == 1


def test_a_budget_that_is_reached_ends_with_status_1_and_says_how_to_go_on(
    winnow: Any, letters: str, model_server: OpenAIServer
) -> None:
    said = winnow("run", letters, "--model", "openai:gpt-4.1-mini", "--budget", "0.0001")

    assert said.status == 1
    assert "larger --budget" in said.err
    assert model_server.stats().requests == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["apply", "nowhere.yaml"], "The codebook 'nowhere.yaml' cannot be opened"),
        (["apply", "bad.yaml"], "line 3: variable 'a': `type` is 'txt', which is not a type"),
        (["ingest", "unknown", "letters"], "There is no project 'unknown'. Known projects: bare, letters"),
        (["ingest", "letters", "nowhere"], "There is no file or folder 'nowhere'"),
        (["ingest", "letters", "empty"], "There are no files in 'empty'"),
        (["run", "unknown"], "There is no project 'unknown'. Known projects: bare, letters"),
        (["run", "bare"], "Project 'bare' has no variables"),
        (["run", "undocumented"], "it has no documents"),
        (["run", "protests"], "it has no documents"),
        (["run", "letters", "--variables", "sender,weight"], "no variable 'weight'. It has: sender, sent_on."),
        (["run", "letters", "--model", "gpt-4.1"], "has no provider"),
        (["run", "letters", "--model", "nobody:gpt"], "'nobody:gpt'"),
        (["run", "letters", "--model", "bedrock:nova"], "Install it with `pip install langchain-aws`"),
        (["run", "letters", "--model", "openai:gpt-4.1-mini"], "set OPENAI_API_KEY"),
        (["job", "77"], "There is no job 77"),
        (["export", "unknown", "-o", "x.csv"], "There is no project 'unknown'"),
        (["export", "undocumented", "-o", "x.csv"], "has nothing to export"),
        (["export", "letters", "-o", "x.pdf"], "does not say its format"),
        (["export", "letters", "-o", "nowhere/x.csv"], "Cannot write"),
        (["export", "letters", "-o", "x.csv", "--with", "colour"], "There are no columns colour"),
    ],
)
def test_a_wrong_request_gets_one_message_and_changes_nothing(
    winnow: Any, letters: str, tmp_path: Path, words: list[str], message: str
) -> None:
    (tmp_path / "bad.yaml").write_text("project: bad\nvariables:\n  - {name: a, type: txt, instructions: x}\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "bare.yaml").write_text("project: bare\n")
    (tmp_path / "undocumented.yaml").write_text(CODEBOOK.replace("letters", "undocumented"))
    entity = "unit_of_observation: {entity: protest, definition: One gathering.}"
    (tmp_path / "protests.yaml").write_text(CODEBOOK.replace("letters", "protests") + entity)
    for name in ("bare", "undocumented", "protests"):
        assert winnow("apply", f"{name}.yaml").status == 0
    before = everything()

    said = winnow(*words)

    assert said.status == 2
    assert message in said.err
    assert "Traceback" not in said.err
    assert said.out == ""
    assert everything() == before


def test_a_key_that_the_provider_refuses_changes_nothing(winnow: Any, letters: str, model_server: OpenAIServer) -> None:
    model_server.configure(api_key="another")
    before = everything()[:6]

    said = winnow("run", letters, "--model", "openai:tested")

    assert said.status == 2
    assert "does not accept the key" in said.err
    assert "canary-key" not in said.err
    assert everything()[:6] == before


def test_failed_cells_end_with_status_1(winnow: Any, letters: str, model_server: OpenAIServer) -> None:
    model_server.configure(fault_variables={"sender": "refusal"})

    said = winnow("run", letters, "--model", "openai:tested")

    assert said.status == 1
    assert "1 refused" in said.out


def test_a_job_is_cancelled_and_resumed_and_its_failed_cells_are_asked_again(
    winnow: Any, letters: str, model_server: OpenAIServer
) -> None:
    model_server.configure(fault_variables={"sent_on": "refusal"})
    assert winnow("run", letters, "--model", "openai:tested").status == 1
    again = winnow("cancel", "1")
    assert (again.status, again.err) == (2, "winnow: Job 1 has ended already: completed with errors.\n")
    assert winnow("resume", "1").status == 2
    model_server.configure(fault_variables={})

    ended = winnow("resume", "1", "--retry-failed", "--json")
    assert ended.status == 0, ended.err
    figures = json.loads(ended.out)
    assert (figures["job"], figures["status"], figures["calls"]) == (1, "completed", 3)
    assert winnow("pause", "7").err.startswith("winnow: There is no job 7.")


def test_a_second_full_job_is_refused_and_can_begin_when_the_first_is_cancelled(
    winnow: Any, letters: str, model_server: OpenAIServer
) -> None:
    plan_job(letters, JobOptions(kind="full", model="openai:tested"))  # whose process has died

    refused = winnow("run", letters)
    assert (refused.status, "winnow cancel 1" in refused.err) == (2, True)
    cancelled = winnow("cancel", "1", "--json")
    assert json.loads(cancelled.out)["status"] == "cancelled"
    assert winnow("run", letters).status == 0


def test_version_and_help_need_neither_database_nor_prefect() -> None:
    code = "import sys; from flows import cli; print(sorted(m for m in sys.modules if m in {'prefect', 'sqlalchemy'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    done = subprocess.run([sys.executable, "-m", "flows.cli", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"winnow {__version__}"
