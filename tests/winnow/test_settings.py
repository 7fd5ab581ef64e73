"""Settings: from the environment, or from a `.env` file that never overrides it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from winnow.exceptions import DefinitionError
from winnow.settings import Settings, settings

URL = "postgresql://ada:canary-secret@127.0.0.1/winnow"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to start in, with `.env` files allowed. What they bring is taken away again."""
    before = dict(os.environ)
    monkeypatch.delenv("PYTHON_DOTENV_DISABLED")
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()
    yield tmp_path
    os.environ.clear()
    os.environ.update(before)
    settings.cache_clear()


def test_every_setting_has_its_default(folder: Path) -> None:
    assert settings().model_dump() == {
        "home": folder / ".winnow",
        "database_url": None,
        "model": None,
        "concurrency": 16,
        "cells_per_run": 1000,
        "runs_per_job": 4,
        "timeout_seconds": 120.0,
        "max_file_mb": 200,
        "requests_per_minute": None,
        "tokens_per_minute": None,
        "parse_seconds": 120.0,
        "parse_memory_mb": 2048,
        "logprobs": False,
        "prices": None,
        "log": "text",
        "metrics_port": None,
        "metrics_host": "127.0.0.1",
    }


GIVEN: dict[str, tuple[str, Any]] = {
    "home": ("/srv/winnow", Path("/srv/winnow")),
    "model": ("openai:gpt-4.1-mini", "openai:gpt-4.1-mini"),
    "concurrency": ("64", 64),
    "cells_per_run": ("500", 500),
    "runs_per_job": ("1", 1),
    "timeout_seconds": ("0.5", 0.5),
    "max_file_mb": ("1", 1),
    "parse_seconds": ("0.5", 0.5),
    "parse_memory_mb": ("4096", 4096),
    "requests_per_minute": ("600", 600),
    "tokens_per_minute": ("90000", 90_000),
    "logprobs": ("true", True),
    "prices": ("/srv/prices.yaml", Path("/srv/prices.yaml")),
    "log": ("json", "json"),
    "metrics_port": ("9464", 9464),
    "metrics_host": ("0.0.0.0", "0.0.0.0"),
}


@pytest.mark.parametrize(("name", "given", "expected"), [(name, *given) for name, given in GIVEN.items()])
def test_a_setting_is_read_from_its_variable(
    name: str, given: str, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"WINNOW_{name.upper()}", given)

    assert getattr(settings(), name) == expected


def test_every_setting_but_the_databases_is_in_the_table_above() -> None:
    assert GIVEN.keys() | {"database_url"} == Settings.model_fields.keys()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_variable_that_is_empty_is_as_if_not_set(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    default = getattr(settings(), name)
    settings.cache_clear()
    monkeypatch.setenv(f"WINNOW_{name.upper()}", "")

    assert getattr(settings(), name) == default


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_described(name: str) -> None:
    assert Settings.model_fields[name].description


WRONG = {
    "no number": ("CONCURRENCY", "many", "valid integer"),
    "none at all": ("CONCURRENCY", "0", "greater than or equal to 1"),
    "too many": ("CONCURRENCY", "513", "less than or equal to 512"),
    "no time": ("TIMEOUT_SECONDS", "0", "greater than 0"),
    "a time with its unit": ("TIMEOUT_SECONDS", "120s", "valid number"),
    "half a megabyte": ("MAX_FILE_MB", "0.5", "valid integer"),
}


@pytest.mark.parametrize(("name", "given", "why"), WRONG.values(), ids=WRONG)
def test_a_value_that_a_setting_cannot_have_is_a_mistake(
    name: str, given: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"WINNOW_{name}", given)

    with pytest.raises(DefinitionError, match=f"WINNOW_{name} is wrong") as raised:
        settings()
    assert why in str(raised.value)
    assert ".env" in str(raised.value)


def test_all_wrong_settings_are_named_at_once_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_DATABASE_URL", URL)
    monkeypatch.setenv("WINNOW_CONCURRENCY", "canary")
    monkeypatch.setenv("WINNOW_MAX_FILE_MB", "canary")

    with pytest.raises(DefinitionError) as raised:
        settings()
    assert "WINNOW_CONCURRENCY" in str(raised.value)
    assert "WINNOW_MAX_FILE_MB" in str(raised.value)
    assert "canary" not in str(raised.value)


def test_a_setting_that_is_corrected_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_CONCURRENCY", "many")
    with pytest.raises(DefinitionError):
        settings()
    monkeypatch.setenv("WINNOW_CONCURRENCY", "4")

    assert settings().concurrency == 4


def test_other_variables_of_winnow_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_NO_SUCH_SETTING", "x")

    assert settings() == settings()


# The home folder


@pytest.mark.parametrize(
    ("given", "expected"),
    [("data", "{here}/data"), ("./a/../b", "{here}/b"), ("~/winnow", "{home}/winnow"), ("/srv/../x", "/x")],
)
def test_the_home_is_a_full_path(given: str, expected: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("WINNOW_HOME", given)

    assert str(settings().home) == expected.format(here=folder, home="/home/ada")


def test_the_home_stays_where_it_was_when_the_process_moves(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings().home == folder / ".winnow"
    monkeypatch.chdir("/")

    assert settings().home == folder / ".winnow"


# Files


def test_a_file_beside_the_process_is_read_with_keys_of_providers_too(folder: Path) -> None:
    (folder / ".env").write_text("WINNOW_CONCURRENCY=3\nOPENAI_API_KEY='canary'\n# WINNOW_MODEL=x\n")

    assert (settings().concurrency, settings().model) == (3, None)
    assert os.environ["OPENAI_API_KEY"] == "canary"


def test_the_environment_goes_before_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".env").write_text("WINNOW_CONCURRENCY=3\nWINNOW_MAX_FILE_MB=7\n")
    monkeypatch.setenv("WINNOW_CONCURRENCY", "5")

    assert (settings().concurrency, settings().max_file_mb) == (5, 7)


def test_a_file_further_up_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".env").write_text("WINNOW_CONCURRENCY=3\n")
    (folder / "deeper").mkdir()
    monkeypatch.chdir(folder / "deeper")

    assert settings().concurrency == 16


def test_settings_are_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = settings()
    monkeypatch.setenv("WINNOW_CONCURRENCY", "5")
    (folder / ".env").write_text("WINNOW_MODEL=x\n")

    assert settings() is first


# Secrets


def test_the_databases_password_is_in_no_representation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_DATABASE_URL", URL)
    read = settings()

    assert read.database_url is not None
    assert read.database_url.get_secret_value() == URL
    for shown in (repr(read), str(read), str(read.model_dump()), read.model_dump_json()):
        assert "canary" not in shown


def test_no_key_of_a_provider_becomes_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary")
    monkeypatch.setenv("WINNOW_OPENAI_API_KEY", "canary")

    assert "canary" not in repr(settings())
