"""deployments/ without a container engine: files against the schema of Compose, Prefect's settings, and our own."""

import json
import re
import shlex
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import prefect.logging
import pytest
import yaml
from prefect.settings import Settings as PrefectSettings
from prefect_redis.cleanup_queue import RedisWorkerCleanupQueueSettings
from prefect_redis.client import RedisMessagingSettings
from pydantic import AliasChoices
from pydantic_settings import BaseSettings

from winnow.settings import Settings

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "deployments"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if "build" in service]
POOL = json.loads((FOLDER / "kubernetes-pool.json").read_text())
GIVEN = {"POSTGRES_PASSWORD": "0f1e2d", "SERVER_LOGIN": "name:password"}  # what has no default


def interpolated(text: str, given: dict[str, str] = GIVEN) -> str:
    """As Compose does it, from the inside out: `${NAME:-default}` and `${NAME:?message}`."""
    while variables := list(re.finditer(r"\$\{(\w+):([-?])([^${}]*)\}", text)):
        for variable in variables:
            name, sign, rest = variable.groups()
            assert sign == "-" or name in given, f"{name} has neither a value nor a default"
            text = text.replace(variable[0], given.get(name, rest))
    return text


def environment(name: str) -> dict[str, str]:
    return {key: interpolated(value) for key, value in SERVICES[name].get("environment", {}).items()}


def names(settings: type[BaseSettings]) -> set[str]:
    """The environment variables of settings and of the settings in them."""
    found: set[str] = set()
    for name, field in settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseSettings):
            found |= names(field.annotation)
        else:
            found.add(f"{settings.model_config['env_prefix']}{name}".upper())
            if isinstance(field.validation_alias, AliasChoices):
                found |= {choice.upper() for choice in field.validation_alias.choices if isinstance(choice, str)}
    return found


def log_names(level: Any, path: str = "PREFECT_LOGGING") -> set[str]:
    """The environment variables that override a line of Prefect's logging.yml."""
    if not isinstance(level, dict):
        return {path}
    return {
        name
        for key, value in level.items()
        for name in log_names(value, f"{path}_{re.sub(r'[^A-Za-z0-9]', '_', key).upper()}")
    }


LOGGING = yaml.safe_load((files(prefect.logging) / "logging.yml").read_text())
KNOWN = (
    names(PrefectSettings) | names(RedisMessagingSettings) | names(RedisWorkerCleanupQueueSettings) | log_names(LOGGING)
)
OWN = {f"WINNOW_{name.upper()}" for name in Settings.model_fields}


def test_the_file_is_what_compose_reads() -> None:
    schema = json.loads((files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text())

    jsonschema.Draft202012Validator(schema).validate(COMPOSE)


@pytest.mark.parametrize("name", SERVICES)
def test_settings_of_a_service_exist_and_have_values_that_prefect_and_winnow_take(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both pass over a misspelt name without a word."""
    given = environment(name)
    ours = {key for key in given if key.startswith(("PREFECT_", "WINNOW_"))}
    for key, value in given.items():
        monkeypatch.setenv(key, value)

    assert ours - KNOWN - OWN == set()
    assert PrefectSettings()
    assert Settings()
    assert RedisMessagingSettings()


def test_all_processes_of_the_server_share_database_and_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in environment("prefect-services").items():
        monkeypatch.setenv(key, value)
    server = PrefectSettings().server
    places = [
        server.events.messaging_broker,
        server.events.messaging_cache,
        server.events.causal_ordering,
        server.concurrency.lease_storage,
        server.worker_channel.cleanup_queue_storage,
    ]

    assert {place.split(".")[0] for place in places} == {"prefect_redis"}
    assert server.docket.url.startswith("redis://redis:")
    assert environment("prefect-server").items() >= environment("prefect-services").items()
    assert environment("prefect-database") == environment("prefect-services")
    assert server.services.db_vacuum.enabled_vacuum_types >= {"events", "flow_runs"}


def test_the_automation_is_set_up_with_the_heartbeat_of_the_workers() -> None:
    name = "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"
    on_kubernetes = POOL["variables"]["properties"]["env"]["default"]

    assert environment("setup")[name] == environment("worker")[name] == on_kubernetes[name]


@pytest.mark.parametrize("name", SERVICES)
def test_images_have_a_tag_and_services_wait_for_those_that_exist(name: str) -> None:
    service = SERVICES[name]

    assert re.fullmatch(r"[\w./-]+:[\w.-]+", interpolated(service["image"]))
    assert name in OURS or not interpolated(service["image"]).endswith(":latest")
    for other, how in service.get("depends_on", {}).items():
        if how["condition"] == "service_healthy":
            assert "test" in SERVICES[other]["healthcheck"]
        else:
            assert how == {"condition": "service_completed_successfully"}
            assert SERVICES[other]["restart"] == "on-failure"  # it ends


def test_what_is_kept_lies_in_volumes_that_are_declared() -> None:
    mounted = {mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])}

    assert {mount for mount in mounted if re.fullmatch(r"\w+", mount)} == COMPOSE["volumes"].keys()
    assert SERVICES["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]


def test_ports_are_published_on_this_machine_alone_unless_asked() -> None:
    ports = [interpolated(port) for service in SERVICES.values() for port in service.get("ports", [])]

    assert ports == ["127.0.0.1:5432:5432", "127.0.0.1:4200:4200"]


def test_no_secret_stands_in_the_files() -> None:
    text = (FOLDER / "compose.yaml").read_text() + (FOLDER / "Dockerfile").read_text()
    asked = set(re.findall(r"\$\{(\w+):", text))
    template = (FOLDER / "env.example").read_text()
    empty = re.findall(r"^(\w+)=$", template, re.MULTILINE)

    assert {"POSTGRES_PASSWORD", "SERVER_LOGIN", "OPENAI_API_KEY"} <= set(empty)
    assert asked - {"EXTRAS"} <= set(re.findall(r"^(?:# )?(\w+)=", template, re.MULTILINE))
    assert re.findall(r"(?:PASSWORD|AUTH(?:_STRING)?|KEY|TOKEN): (?!\$\{)\S+", text) == []
    assert re.findall(r"://\w+:(?!\$\{)[^@\s/]+@", text) == []
    assert "**/.env" in (ROOT / ".dockerignore").read_text()


def commands() -> list[list[str]]:
    """What our own services run, one line of a shell at a time."""
    found = []
    for name in OURS:
        words = [interpolated(word) for word in SERVICES[name]["command"]]
        found += [shlex.split(line) for line in words[-1].splitlines()] if words[0] == "sh" else [words]
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_a_command_that_a_service_runs_can_be_given(words: list[str]) -> None:
    if words[0] == "prefect":
        from prefect.cli._app import _app

        given = [word for word in words[1:] if word != "--no-prompt"]  # which goes before the command
        _app.parse_args(given, print_error=False, exit_on_error=False)
    elif words[0] == "winnow":
        import typer

        from flows.cli import app as winnow

        command = typer.main.get_command(winnow)
        context = command.make_context("winnow", words[1:], resilient_parsing=True)
        assert command.resolve_command(context, words[1:])[0]  # type: ignore[attr-defined]
    else:
        assert words[:2] == ["python", "-m"]
        assert f"{words[2].replace('.', '/')}.py" in copied()


def test_workers_and_set_up_share_a_pool_and_the_folder_of_the_code() -> None:
    """Deployments note the folder in which they are made as the place of their code."""
    pools = {deployment["work_pool"]["name"] for deployment in deployments()}

    assert pools == {"winnow"}
    assert "--pool=winnow" in SERVICES["worker"]["command"]
    assert "prefect work-pool create winnow --type process" in SERVICES["setup"]["command"][-1]
    assert SERVICES["worker"]["image"] == SERVICES["setup"]["image"]
    assert "working_dir" not in SERVICES["worker"].keys() | SERVICES["setup"].keys()


def deployments() -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    return listed


DOCKERFILE = (FOLDER / "Dockerfile").read_text()


def copied() -> set[str]:
    """What the Dockerfile takes from the checkout."""
    lines = re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
    return {source for line in lines for source in line.split()[:-1]}


def test_the_image_has_every_package_and_file_that_it_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {package.split(".")[0] for package in project["tool"]["setuptools"]["packages"]}
    entrypoints = {Path(deployment["entrypoint"]).parts[0] for deployment in deployments()}
    let_in = set(re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))

    assert packages | entrypoints | {"prefect.yaml", "pyproject.toml", "constraints.txt"} <= copied()
    assert {project["project"]["readme"], *project["project"]["license-files"]} <= copied()
    assert all((ROOT / source).exists() for source in copied())
    assert let_in == copied()


def test_the_image_installs_pinned_packages_and_does_not_run_as_root() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (extras,) = re.findall(r"^ARG EXTRAS=(.+)$", DOCKERFILE, re.MULTILINE)
    bases = set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE))
    last_stage = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]

    assert set(extras.split(",")) <= project["project"]["optional-dependencies"].keys()
    assert "-c constraints.txt" in DOCKERFILE
    assert all(re.fullmatch(r"python:3\.1[123]-slim-\w+", base) for base in bases)
    assert re.search(r"^USER winnow$", last_stage, re.MULTILINE)
    assert re.search(r"^WORKDIR /opt/winnow$", last_stage, re.MULTILINE)
    assert last_stage.count("HEALTHCHECK") == 1


def test_the_pool_of_kubernetes_fills_in_every_variable_and_holds_no_secret() -> None:
    variables = POOL["variables"]["properties"]
    used = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(POOL["job_configuration"])))

    assert used == variables.keys()
    assert variables["env"]["default"].keys() - KNOWN - OWN == set()
    (container,) = POOL["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "winnow"}}]
    assert container["resources"].keys() == {"requests", "limits"}
