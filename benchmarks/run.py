"""`make bench`: Winnow beside plain LangChain `batch`, against the same model server at fixed latency, in one run.

Writes the table into docs/benchmarks.md between its marks. The figures depend on the machine; the ratios less so.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.openai_server import OpenAIServer

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
_MOST_OF_LANGCHAIN = 5000  # cells: it keeps them all in memory, and its cost per cell does not change any more
HEAD = (
    "| cells | latency | side | wall / ideal | cells/s | client CPU per cell | in each quarter | peak memory "
    "| at each quarter's end | requests | repeated | prompt tokens | cached |\n"
    "|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
)


def main() -> None:
    """Measure every size and latency with both sides, one after the other."""
    arguments = _arguments()
    rows = []
    with tempfile.TemporaryDirectory(prefix="winnow-bench-") as home:
        for latency in arguments.latency:
            for cells in arguments.cells:
                for side in ("langchain", "winnow") if cells <= _MOST_OF_LANGCHAIN else ("winnow",):
                    # a home of its own, so that no call was answered before
                    own = Path(home) / f"{latency}-{cells}-{side}"
                    rows.append(_row(side, cells, latency, arguments.slots, own))
                    print(rows[-1], flush=True)
                    if not arguments.dry:
                        _write(rows, arguments.slots)  # at once: a long run that is stopped leaves what it has


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, nargs="+", default=[480, 5000, 20000])
    parser.add_argument("--latency", type=float, nargs="+", default=[0.3, 1.0])
    parser.add_argument("--slots", type=int, default=32)
    parser.add_argument("--dry", action="store_true", help="print only; leave docs/benchmarks.md as it is")
    return parser.parse_args()


def _row(side: str, cells: int, latency: float, slots: int, home: Path) -> str:
    variables = 20
    with OpenAIServer(latency=latency) as server:
        used = _run(side, cells // variables, variables, slots, server.url, home)
        stats = server.stats()
    ideal = cells * latency / slots
    wall = stats.last_reply_at - stats.first_request_at
    return (
        f"| {cells:,} | {latency:g} s | {side} | {wall / ideal:.2f} | {cells / wall:.0f} "
        f"| {1000 * used['cpu_seconds'] / cells:.1f} ms | {_each(used, 'cpu_ms', '.1f')} "
        f"| {used['peak_mb']:.0f} MB | {_each(used, 'rss_mb', '.0f')} | {stats.requests:,} "
        f"| {stats.duplicates} | {stats.prompt_tokens:,} | {stats.cached_tokens / stats.prompt_tokens:.0%} |"
    )


def _each(used: dict[str, Any], figure: str, form: str) -> str:
    return " ".join(format(value, form) for value in used.get(figure, ()))


def _run(side: str, documents: int, variables: int, slots: int, url: str, home: Path) -> dict[str, Any]:
    environment = os.environ | {"OPENAI_API_KEY": "bench", "OPENAI_BASE_URL": url, "WINNOW_HOME": str(home)}
    command = [sys.executable, "-m", "benchmarks.sides", side, *map(str, (documents, variables, slots))]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _write(rows: list[str], slots: int) -> None:
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    where = f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.python_implementation()} "
    said = f"Measured on {where}{platform.python_version()}, {slots} calls in flight.\n\n"
    PAGE.write_text(f"{before}{BEGIN}\n{said}{HEAD}{chr(10).join(rows)}\n{END}{after}")


if __name__ == "__main__":
    main()
