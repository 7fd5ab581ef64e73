"""A progress bar for a job that runs in this process."""

import contextlib
import threading
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from db import jobs, projects
from db.session import transaction
from winnow.exceptions import WinnowError

_EVERY, _SELDOM = 0.5, 5.0  # seconds
_REST = 20  # times as long as counting took: a large job's bar moves less often


@contextlib.contextmanager
def job_progress(project: str, console: Console) -> Iterator[None]:
    """Show a bar of the cells of the project's newest job, which the block starts or goes on with."""
    with transaction() as connection:
        project_id = projects.get(connection, project).id
    ended = threading.Event()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[found]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        watcher = threading.Thread(target=_watch, args=(bar, project_id, ended), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()


def _watch(bar: Progress, project_id: int, ended: threading.Event) -> None:
    """Look at the job's row until the block ends. The job may not be planned yet: then the bar says so."""
    shown, pause = bar.add_task("Starting", total=None, found=""), _EVERY
    while not ended.wait(pause):
        began = time.monotonic()
        with contextlib.suppress(WinnowError), transaction() as connection:  # a database that is down may come back
            running = jobs.running_id(connection, project_id)
            if running:
                counts = jobs.counts(connection, running)
                found = f"{counts.flagged} flagged, {counts.failed} failed"
                bar.update(shown, description=f"Job {running}", completed=counts.done, total=counts.total, found=found)
        pause = min(max(_EVERY, _REST * (time.monotonic() - began)), _SELDOM)
