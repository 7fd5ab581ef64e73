"""Winnow as people run it, for the benchmarks: the command line, each with a home of its own."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
MODEL = "openai:test-model"


@dataclass(frozen=True)
class Winnow:
    """The `winnow` command with its own database, which asks the server at `url`."""

    home: Path
    url: str
    database_url: str = ""  # empty: the embedded server of its home

    @property
    def environment(self) -> dict[str, str]:
        """What its processes see."""
        own = {"WINNOW_DATABASE_URL": self.database_url} if self.database_url else {}
        return os.environ | own | {
            "WINNOW_HOME": str(self.home),
            "WINNOW_MODEL": MODEL,
            "OPENAI_API_KEY": "sk-benchmark",
            "OPENAI_BASE_URL": self.url,
        }  # fmt: skip

    def __call__(self, *arguments: object, may_fail: bool = False) -> dict[str, Any]:
        """What a command prints with --json.

        Args:
            arguments: as on the command line.
            may_fail: whether cells may end as failed (exit status 1).

        Raises:
            RuntimeError: it ended otherwise; the message holds what it said.
        """
        command, how = self.process(*arguments)
        done = subprocess.run(command, **how, capture_output=True, text=True, check=False)
        if not 0 <= done.returncode <= may_fail:
            raise RuntimeError(f"winnow {arguments[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
        figures: dict[str, Any] = json.loads(done.stdout)
        return figures

    def process(self, *arguments: object) -> tuple[list[str], dict[str, Any]]:
        """The command line, and where it runs, for `subprocess`."""
        program = "import sys; from flows.cli import main; sys.exit(main())"
        command = [sys.executable, "-c", program, *map(str, arguments), "--json"]
        return command, {"cwd": ROOT, "env": self.environment}


@contextmanager
def own_winnow(url: str) -> Iterator[Winnow]:
    """A Winnow that has answered nothing before; its home goes away with the block."""
    with tempfile.TemporaryDirectory(prefix="winnow-bench-", ignore_cleanup_errors=True) as home:
        yield Winnow(Path(home) / "home", url)


def head(names: tuple[str, ...]) -> str:
    """The first two lines of a Markdown table, in which all but the first column stand to the right."""
    return f"{line(names)}\n|---|{'--:|' * (len(names) - 1)}"


def line(fields: tuple[str, ...]) -> str:
    """One line of a Markdown table."""
    return f"| {' | '.join(fields)} |"
