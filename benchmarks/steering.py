"""Pause, resume and cancel a job in the Prefect UI, in a real browser: how soon calls stop, and what is kept.

`python -m benchmarks.steering` starts `winnow up` with a home of its own, fills in the run form of the deployment
`extract-variables`, and clicks as a person does. It prints a table for docs/benchmarks.md. It needs Chromium on this
machine, and the dependency group `browser`.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from benchmarks import corpus
from benchmarks.command import ROOT, Winnow, head, line, own_winnow
from tests.openai_server import OpenAIServer

PROJECT = "contracts"
VARIABLES = 20
PATIENCE = 180  # seconds, for anything to happen
QUIET = 5  # seconds after the last reply in which no call may follow
COLUMNS = (
    "clicked", "calls take", "in flight", "new calls", "seconds to the last", "answered so far", "kept",
    "the UI shows, after seconds", "repeated",
)  # fmt: skip


def main() -> None:
    """Measure every latency, with a stack of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, nargs="+", default=[1.0, 5.0], help="seconds, about")
    parser.add_argument("--slots", type=int, default=8, help="calls in flight at once")
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--screenshots", type=Path, metavar="FOLDER", help="keep a picture of every step there")
    parser.add_argument("--browser", default=shutil.which("chromium") or shutil.which("google-chrome"))
    asked = parser.parse_args()
    if not asked.browser:
        parser.error("there is no Chromium here; install it, or name another by --browser")
    print(head(COLUMNS))
    for latency in asked.latency:
        _measure(latency, asked)


def _measure(latency: float, asked: argparse.Namespace) -> None:
    with (
        # not all alike, so that calls do not end, and begin, in step
        OpenAIServer(latency=0.8 * latency, jitter=0.4 * latency) as server,
        own_winnow(server.url) as winnow,
    ):
        documents = _documents(winnow.home.parent / "documents", max(1, asked.cells // VARIABLES))
        book = winnow.home.parent / "codebook.yaml"
        book.write_text(json.dumps(corpus.codebook(PROJECT, VARIABLES)))
        winnow("apply", book)
        winnow("ingest", PROJECT, documents)
        with _stack(winnow) as ui, _person(ui, asked.browser, asked.screenshots, latency) as person:
            _steer(person, _Job(winnow, server, latency), asked.slots)


def _steer(person: "_Person", job: "_Job", slots: int) -> None:
    person.start(slots)
    job.wait_for_requests(3 * slots)
    print(job.stop(person, "Pause", "Suspended"), flush=True)
    before = job.requests()
    clicked = person.click("Resume")
    job.wait_for_requests(before + 1)
    again = time.monotonic() - clicked
    job.wait_for_requests(before + 3 * slots)
    person.look("resumed")
    print(job.stop(person, "Cancel", "Cancelled"), flush=True)
    job.server.configure(latency=0.05, jitter=0)
    figures = job.winnow("resume", job.figures()["job"])
    stats, cells = job.server.stats(), figures["cells"]
    print(
        f"\nCalls began {again:.1f} s after the click on Resume. Resumed once more after the Cancel, the job ended "
        f"{figures['status']}: {cells['extracted']} of {cells['total']} cells extracted by {stats.requests} requests, "
        f"{stats.duplicates} of them repeated.\n",
        flush=True,
    )


@dataclass(frozen=True)
class _Job:
    """The newest job, and the model server that it asks."""

    winnow: Winnow
    server: OpenAIServer
    latency: float

    def stop(self, person: "_Person", action: str, state: str) -> str:
        """Let a person stop it. A line of the table."""
        clicked = person.click(action)
        person.see(state)
        shown = time.monotonic() - clicked
        _until(lambda: self.figures()["status"] == {"Pause": "paused", "Cancel": "cancelled"}[action])
        _until(lambda: self.server.stats().in_flight == 0)
        time.sleep(QUIET)
        person.look(f"{action} later")
        calls, stats = self.server.requests(), self.server.stats()
        if stats.in_flight:
            raise RuntimeError(f"calls go on {time.monotonic() - clicked:.0f} s after {action}")
        in_flight = sum(call["at"] <= clicked < call["at"] + call["seconds"] for call in calls)
        new = [call["at"] - clicked for call in calls if call["at"] > clicked]
        return line(
            (
                action, f"{self.latency:g} s", f"{in_flight}", f"{len(new)}", f"{max(new, default=0):.1f}",
                f"{stats.answered}", f"{self.figures()['cells']['extracted']}", f"{state}, {shown:.1f}",
                f"{stats.duplicates}",
            )
        )  # fmt: skip

    def requests(self) -> int:
        return self.server.stats().requests

    def wait_for_requests(self, number: int) -> None:
        _until(lambda: self.requests() >= number)

    def figures(self) -> dict[str, Any]:
        newest: dict[str, Any] = self.winnow("jobs")["jobs"][0]
        return newest


class _Person:
    """Somebody at the Prefect UI, who finds things by what is written on them."""

    def __init__(self, page: Page, ui: str, pictures: Path | None, latency: float) -> None:
        self._page, self._ui, self._pictures, self._latency = page, ui, pictures, latency
        self._taken = 0

    def start(self, slots: int) -> None:
        """Fill in the run form of the deployment, and open the page of the flow run."""
        page = self._page
        page.goto(f"{self._ui}/v2/deployments")
        page.get_by_role("link", name="extract-variables").first.click()
        page.get_by_role("button", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Custom run").click()
        page.get_by_label("Project").fill(PROJECT)
        page.get_by_label("Concurrency").fill(str(slots))
        self.look("run form")
        page.get_by_role("button", name="Submit").click()
        page.get_by_role("button", name="View run").click()
        self.see("Running")

    def click(self, action: str) -> float:
        """Choose an action of the flow run's menu and confirm it. When that was, as `time.monotonic()`."""
        self._page.get_by_role("button", name="Open menu").click()
        self._page.get_by_role("menuitem", name=action, exact=True).click()
        confirm = self._page.get_by_role("button", name=action if action == "Resume" else f"{action} Flow Run")
        confirm.wait_for()
        self.look(f"{action} dialog")
        clicked = time.monotonic()
        confirm.click()
        confirm.wait_for(state="hidden")  # the dialog says what the state will be
        return clicked

    def see(self, state: str) -> None:
        """Wait until the page shows the flow run in a state."""
        self._page.get_by_text(state, exact=True).first.wait_for()
        self.look(state)

    def look(self, what: str) -> None:
        """Take a picture, if pictures are wanted."""
        if self._pictures:
            self._taken += 1
            name = f"{self._latency:g}s-{self._taken:02}-{what.lower().replace(' ', '-')}.png"
            self._page.screenshot(path=self._pictures / name)


@contextmanager
def _person(ui: str, browser: str, pictures: Path | None, latency: float) -> Iterator[_Person]:
    if pictures:
        pictures.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        page = driver.chromium.launch(executable_path=browser).new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(1000 * PATIENCE)
        yield _Person(page, ui, pictures, latency)


@contextmanager
def _stack(winnow: Winnow) -> Iterator[str]:
    """Run `winnow up`; gives the address of its UI."""
    environment = {name: value for name, value in winnow.environment.items() if not name.startswith("PREFECT_")}
    noted, log = winnow.home / "up.json", winnow.home / "up.log"
    with log.open("wb") as written:
        up = [sys.executable, "-m", "flows.cli", "up", "--port", "0"]
        process = subprocess.Popen(up, cwd=ROOT, env=environment, stdout=written, stderr=written)
    try:
        _until(lambda: "Winnow is up" in log.read_text() or process.poll() is not None)
        if process.poll() is not None:
            raise RuntimeError(f"winnow up ended with {process.returncode}: {log.read_text()[-2000:]}")
        yield json.loads(noted.read_text())["api"].removesuffix("/api")
    finally:
        os.kill(process.pid, signal.SIGINT)
        process.wait()


def _documents(folder: Path, number: int) -> Path:
    folder.mkdir()
    for at in range(number):
        (folder / f"contract-{at:02}.txt").write_text(corpus.document(at, 300))
    return folder


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"nothing happened within {PATIENCE} s")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
