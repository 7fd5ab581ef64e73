"""The documentation says what the code does: commands, options, settings, keys, names of files, links, prefect.yaml."""

import importlib
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest
import typer.main
import yaml
from prometheus_client import Counter
from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel

from flows.cli import app
from tasks import metrics
from tasks.gold_tables import read_gold
from tasks.read_codebook import read_codebook
from tasks.read_prices import read_prices
from winnow import __version__, codebook, confidence, extractions, frames
from winnow.check_values import FUNCTIONS
from winnow.exceptions import CodebookError, OutputError
from winnow.jobs import Spending
from winnow.prompts import variable_prompt
from winnow.settings import Settings

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "examples" / "README.md"])


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


SETTINGS = {f"WINNOW_{name.upper()}": field for name, field in Settings.model_fields.items()}


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def section(text: str, heading: str) -> str:
    """What stands under a heading, up to the next of its level or above."""
    level = heading.partition(" ")[0]
    found = re.search(rf"^{re.escape(heading)}(?= |$)(.*?)(?=^#{{1,{len(level)}}} |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, f"there is no heading {heading!r}"
    return found.group(1)


def commands(group: Any = None, path: str = "winnow") -> Iterator[tuple[str, Any]]:
    group = group or typer.main.get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def options(command: Any) -> set[str]:
    return {spelling for parameter in command.params for spelling in parameter.opts if spelling.startswith("-")}


COMMANDS = dict(commands())


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_and_its_options_are_documented(name: str) -> None:
    text = section(read("docs/commands.md"), f"## {name}")
    documented = set(re.findall(r"`(--?[a-z][a-z-]*)`", text))

    assert documented == options(COMMANDS[name]) - {"--help"}


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_commands_that_pages_show_can_be_given(page: Path) -> None:
    for line in re.findall(r"^\$ (winnow .*)$", "".join(blocks(page.read_text(), "console")), re.MULTILINE):
        words = shlex.split(line, comments=True)
        name = next((name for name in COMMANDS if words[: len(name.split())] == name.split()), None)
        assert name, line
        COMMANDS[name].make_context(name, words[len(name.split()) :])


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_make_targets_that_pages_name_exist(page: Path) -> None:
    known = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))

    assert set(re.findall(r"(?:`|\$ )make ([a-z]+)", page.read_text())) <= known


def test_json_that_the_page_on_commands_shows_is_json() -> None:
    shown = blocks(read("docs/commands.md"), "json")

    assert all(isinstance(json.loads(text), dict) for text in shown)
    assert len(shown) == read("docs/commands.md").count("```json")


def test_columns_and_extras_of_exports_are_documented() -> None:
    text = section(read("docs/commands.md"), "## winnow export")

    assert [name for name in (*frames._LONG, *frames.EXTRAS) if f"`{name}`" not in text] == []


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_is_documented_with_its_default(name: str) -> None:
    rows = [line for line in read("README.md").splitlines() if line.startswith(f"| `{name}` |")]
    example = re.search(rf"^# {name}=(.*)$", read(".env.example"), re.MULTILINE)

    assert len(rows) == 1
    assert example
    if SETTINGS[name].default is not None:
        default = re.sub(r"\.0$", "", str(SETTINGS[name].default))
        assert rows[0].split("|")[2].strip(" `") == example[1] == default


@pytest.mark.parametrize("page", [*PAGES, ROOT / ".env.example"], ids=page_name)
def test_settings_that_pages_name_exist(page: Path) -> None:
    assert set(re.findall(r"WINNOW_[A-Z_]+", page.read_text())) <= SETTINGS.keys()


PARTS = [part for part in vars(codebook).values() if isinstance(part, type) and issubclass(part, codebook.Definition)]


@pytest.mark.parametrize("model", PARTS, ids=lambda model: model.__name__)
def test_keys_of_a_codebook_are_documented(model: type[BaseModel]) -> None:
    text = read("docs/codebook.md")

    assert [key for key in model.model_fields if f"`{key}`" not in text] == []


CHOICES = [
    codebook.VariableType,
    codebook.IfMultipleValues,
    codebook.DateOrder,
    codebook.WithoutEvidence,
    codebook.Condition,
    extractions.Flag,
    extractions.Mark,
    extractions.Completeness,
]


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: get_args(choice)[0])
def test_words_of_a_codebook_and_of_its_outcome_are_documented(choice: Any) -> None:
    text = read("docs/codebook.md")

    assert [word for word in get_args(choice) if f"`{word}`" not in text] == []


@pytest.mark.parametrize("model", [codebook.Variable, codebook.Chunking], ids=lambda model: model.__name__)
def test_defaults_of_a_codebook_are_documented(model: type[BaseModel]) -> None:
    documented = {
        row.split("|")[1].strip(" `"): row.split("|")[3].strip(" `")
        for row in read("docs/codebook.md").splitlines()
        if row.count("|") == 5
    }
    plain = {name: field.default for name, field in model.model_fields.items() if is_plain(field.default)}

    assert {name: documented[name] for name in plain} == {name: str(default) for name, default in plain.items()}


def is_plain(default: object) -> bool:
    return isinstance(default, str | int | float)


def test_operations_of_checks_are_documented() -> None:
    text = section(read("docs/codebook.md"), "### Checks across variables")

    assert [name for name in FUNCTIONS if f"`{name}`" not in text] == []


def test_grounds_of_the_confidence_are_documented() -> None:
    text = section(read("docs/codebook.md"), "## Confidence")
    figures = [*confidence._BY_FLAG.items(), ("absent", confidence._BY_MARK["absent"]), ("quote", confidence._NO_QUOTE)]

    for word, figure in figures:
        assert re.search(rf"\b{figure} [^0-9|]*\b{word}\b", text), word


def test_reasons_without_an_answer_are_documented() -> None:
    text = section(read("docs/commands.md"), "### Why cells have no answer")
    reasons = re.findall(r"\w+", str(OutputError.__doc__).partition("one of")[2])

    assert len(reasons) > 1
    assert [reason for reason in (*reasons, "skipped_dependency") if f"`{reason}`" not in text] == []


def test_figures_of_a_job_are_documented() -> None:
    shown = [json.loads(text) for text in blocks(section(read("docs/commands.md"), "## winnow run"), "json")]

    assert [figures.keys() >= {field.name for field in fields(Spending)} for figures in shown] == [True]


def test_metrics_are_documented_with_their_labels() -> None:
    rows = [line.split("|")[1:3] for line in section(read("docs/operations.md"), "## Metrics").splitlines()]
    documented = {row[0].strip(" `"): re.findall(r"\w+", row[1]) for row in rows if len(row) == 2 and "`" in row[0]}
    known = [metric for metric in vars(metrics).values() if isinstance(metric, MetricWrapperBase)]
    named = {metric._name + "_total" * isinstance(metric, Counter): list(metric._labelnames) for metric in known}

    assert documented == named


def test_events_of_the_log_are_documented() -> None:
    text = section(read("docs/operations.md"), "## Logs")
    events = re.findall(r'_say\(\s*"([^"]+)"', read("tasks/observe.py"))

    assert len(events) > 5
    assert [event for event in events if f"| `{event}` |" not in text] == []


def test_prices_that_the_page_on_commands_shows_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(blocks(section(read("docs/commands.md"), "### What it will cost"), "yaml")[0])

    assert len(read_prices(path)) == 2


@pytest.mark.parametrize("name", ["grants", "protests"])
def test_an_example_is_a_codebook_with_documents_and_gold_values_for_them(name: str) -> None:
    folder = ROOT / "examples" / name
    known = read_codebook(folder / "codebook.yaml")
    gold = read_gold(folder / "gold.csv")

    assert {key[0] for key in gold} == {path.name for path in (folder / "documents").iterdir()}
    assert {key[1] for key in gold} == {variable.name for variable in known.variables}
    assert all(len(key) == (2 if known.unit_of_observation == "document" else 3) for key in gold)


def test_what_the_model_does_not_see_of_a_variable_is_documented() -> None:
    said = section(read("docs/codebook.md"), "## What a change costs").split(": ")[0]
    variable = codebook.Variable(
        name="a", label="A", type="category", instructions="-", unit="m", examples=("b",), categories=({"value": "b"},)
    )
    seen = json.loads(variable_prompt(variable)).keys() | {"name", "validation"}

    assert set(re.findall(r"`(\w+)`", said)) == codebook.Variable.model_fields.keys() - seen
    assert '"pattern"' in variable_prompt(
        codebook.Variable(name="a", type="text", instructions="-", validation=codebook.Validation(pattern="b"))
    )


@pytest.mark.parametrize(("page", "number"), [("README.md", 0), ("docs/codebook.md", 0)])
def test_codebooks_that_pages_show_are_accepted(page: str, number: int, tmp_path: Path) -> None:
    path = tmp_path / "codebook.yaml"
    path.write_text(blocks(read(page), "yaml")[number])

    assert read_codebook(path).variables


def test_parts_of_codebooks_that_the_page_shows_are_accepted() -> None:
    whole, *parts, _with_mistakes = map(yaml.safe_load, blocks(read("docs/codebook.md"), "yaml"))

    assert len(parts) > 3
    for part in parts:
        if part.keys() <= codebook.Codebook.model_fields.keys():
            assert codebook.Codebook.model_validate(whole | part)
        else:
            variable = {"name": "a", "type": "category" if "categories" in part else "text", "instructions": "-"}
            assert codebook.Variable.model_validate(variable | part)


def test_the_codebook_with_mistakes_gets_the_message_that_the_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = section(read("docs/codebook.md"), "## Mistakes")
    monkeypatch.chdir(tmp_path)
    Path("bad.yaml").write_text(blocks(page, "yaml")[0])

    with pytest.raises(CodebookError) as error:
        read_codebook("bad.yaml")

    assert f"winnow: {error.value}\n" == blocks(page, "text")[0]


def test_the_version_has_a_heading_in_the_changelog() -> None:
    assert re.search(rf"^## \[{re.escape(__version__)}\]", read("CHANGELOG.md"), re.MULTILINE)


def test_extras_are_documented() -> None:
    extras = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"].keys()
    text = "".join(page.read_text() for page in PAGES)

    assert set(re.findall(r"'\.\[(\w+)\]'", text)) <= extras
    assert [extra for extra in extras if not re.search(rf"[`\[]{extra}[`\]]", text)] == []


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    local = [link.partition("#") for link in links if not link.startswith(("https://", "http://"))]

    for path, _, anchor in local:
        target = page.parent / path if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target.read_text()), f"{path}#{anchor}"


def anchors(text: str) -> set[str]:
    """The names that headings have as places to link to."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_files_and_names_that_pages_give_exist(page: Path) -> None:
    text = page.read_text()
    rooms = "winnow|db|tasks|flows|deployments|tests|docs|examples|benchmarks"
    files = re.findall(rf"`((?:{rooms})/[\w/.-]*)`", text)
    places = re.findall(r"`(\w+)`(?: in| of) `([\w/]+\.py)`", text)
    places += [(name, file) for file, name in re.findall(r"`([\w/]+\.py): (\w+)`", text)]

    assert [file for file in files if not (ROOT / file).exists() and file != "flows/tasks.py"] == []
    assert [place for place in places if not defines(*place)] == []


def defines(name: str, file: str) -> bool:
    return bool(re.search(rf"^\s*(?:def |class )?{name}\b(?:\(|:| =)", read(file), re.MULTILINE))


PREFECT_YAML = yaml.safe_load(read("prefect.yaml"))
DEPLOYMENTS = {deployment["name"]: deployment for deployment in PREFECT_YAML["deployments"]}


def unknown_keys(data: dict[str, Any], model: type[BaseModel]) -> set[str]:
    known = {spelling for name, field in model.model_fields.items() for spelling in (name, field.alias)}
    return data.keys() - known


def the_flow(deployment: dict[str, Any]) -> Any:
    file, name = deployment["entrypoint"].split(":")
    return getattr(importlib.import_module(file.removesuffix(".py").replace("/", ".")), name)


def test_prefect_yaml_has_a_deployment_per_flow() -> None:
    from prefect.cli.deploy._models import PrefectYamlModel

    with_flow = {path for path in (ROOT / "flows").glob("*.py") if "\n@flow(" in path.read_text()}

    assert unknown_keys(PREFECT_YAML, PrefectYamlModel) <= {"definitions"}  # which is for YAML's own anchors
    assert {ROOT / deployment["entrypoint"].split(":")[0] for deployment in DEPLOYMENTS.values()} == with_flow


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_deployment_has_only_keys_that_prefect_knows(name: str) -> None:
    """Prefect passes over others without a word, so that a misspelt limit would be no limit."""
    from prefect.cli.deploy._models import ConcurrencyLimitSpec, DeploymentConfig, RawScheduleConfig, WorkPoolConfig

    deployment = DEPLOYMENTS[name]

    assert unknown_keys(deployment, DeploymentConfig) == set()
    assert unknown_keys(deployment["work_pool"], WorkPoolConfig) == set()
    assert unknown_keys(deployment.get("concurrency_limit", {}), ConcurrencyLimitSpec) == set()
    assert DeploymentConfig.model_validate(deployment).name == name
    for schedule in deployment.get("schedules", []):
        works_on_its_own = name == "reap-jobs"  # others are examples, for people to switch on
        assert (RawScheduleConfig.model_validate(schedule).active is not False) == works_on_its_own


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_deployment_runs_the_flow_of_its_name_with_parameters_that_fit(name: str) -> None:
    deployment = DEPLOYMENTS[name]
    flow = the_flow(deployment)

    assert flow.name == name
    for schedule in deployment.get("schedules", []):
        given = deployment.get("parameters", {}) | schedule.get("parameters", {})
        assert flow.validate_parameters(given).keys() >= set(flow.parameters.required)


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_parameters_of_a_deployment_are_documented(name: str) -> None:
    rows = section(read("docs/commands.md"), "## The same on Prefect").splitlines()
    row = next(row for row in rows if f"`{name}/{name}`" in row and row.startswith("|"))

    assert re.findall(r"`(\w+)`", row.split("|")[3]) == list(the_flow(DEPLOYMENTS[name]).parameters.properties)
