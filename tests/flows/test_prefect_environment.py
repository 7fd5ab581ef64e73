"""Which Prefect server a command reports to, in processes of their own: settings are read when Prefect is imported."""

import subprocess
import sys
from pathlib import Path

from tests.db.conftest import REPOSITORY

USE = """
import os, time
import psutil
from flows.prefect_environment import use_prefect
from winnow.exceptions import DefinitionError
try:
    use_prefect()
    from prefect.settings import get_current_settings
    until = time.monotonic() + 10
    while psutil.Process().children() and time.monotonic() < until:
        [child.wait(0.1) for child in psutil.Process().children() if child.status() == "zombie"]
    print(get_current_settings().api.url, len(psutil.Process().children()))
except DefinitionError as error:
    print(error)
"""
PROFILE = 'active = "ours"\n[profiles.ours]\nPREFECT_API_URL = "http://prefect.invalid/api"\n'


def use(home: Path, **environment: str) -> str:
    """What a process says that settles on its server."""
    done = subprocess.run(
        [sys.executable, "-c", USE], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60,
        env={"PATH": "/usr/bin:/bin", "WINNOW_HOME": str(home), "PREFECT_HOME": str(home / "prefect"), **environment},
    )  # fmt: skip
    return done.stdout.strip()


def test_a_profile_that_names_a_server_is_followed_and_no_other_server_stays(tmp_path: Path) -> None:
    (tmp_path / "profiles.toml").write_text(PROFILE)
    said = use(tmp_path / "home", PREFECT_PROFILES_PATH=str(tmp_path / "profiles.toml"))
    assert said == "http://prefect.invalid/api 0"
    assert not (tmp_path / "home" / "postgres").exists()


def test_a_home_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = use(tmp_path / "file" / "home")
    assert said.startswith(f"{tmp_path / 'file' / 'home'} cannot be written to: ")
    assert said.endswith("Set WINNOW_HOME to another folder.")
