"""What a run tells those who watch it from outside: each event is a log record, counts in the metrics, ends a span.

On a terminal nothing shows: there the progress bar and the report say it. See `tasks.log_lines`, `tasks.metrics` and
`tasks.spans`; what may stand in them is said in the first.
"""

import contextlib
import functools
import inspect
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from typing import Any, ParamSpec

from tasks import metrics
from tasks.log_lines import about, use_log_lines
from tasks.metrics import serve_metrics
from tasks.spans import span
from winnow.calls import Reply
from winnow.exceptions import BudgetReachedError, PassingError, StayingError
from winnow.extractions import Extraction
from winnow.jobs import Job
from winnow.settings import settings

logger = logging.getLogger(__name__)

_Parameters = ParamSpec("_Parameters")


def _say(event: str, level: int = logging.INFO, **fields: Any) -> None:
    if settings().log == "json":
        logger.log(level, event, extra={key: value for key, value in fields.items() if value is not None})
    else:
        logger.debug("%s %s", event, fields)


# Jobs


def planning(plan: Callable[_Parameters, Job]) -> Callable[_Parameters, Job]:
    """Tell of every job that a function plans. It is the first that a run does: logs and metrics begin here."""

    @functools.wraps(plan)
    def planned(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> Job:
        use_log_lines()
        serve_metrics()
        started = time.monotonic()
        job = plan(*args, **kwargs)
        told: dict[str, Any] = {"kind": job.options.kind, "model": job.options.model, "seconds": _since(started)}
        _say("job planned", job=job.id, **told, **_counts(job))
        return job

    return planned


@contextlib.contextmanager
def running(job: Job) -> Iterator[Callable[[Job], None]]:
    """A job that this process drives. Yields what is to be told of the job as the run leaves it."""
    started = time.monotonic()
    _say("job started", job=job.id, **_counts(job))

    with span("winnow.job", **{"winnow.job": job.id, "gen_ai.request.model": job.options.model}) as opened:

        def ended(left: Job) -> None:
            opened.set_attribute("winnow.status", left.status)
            metrics.JOBS.labels(left.status).inc()
            _say("job ended", job=job.id, status=left.status, seconds=_since(started), **_counts(left))

        yield ended


def _counts(job: Job) -> dict[str, Any]:
    return {"cells": asdict(job.counts) | {"total": job.counts.total}}


# Cells


@dataclass
class _Work:
    """What a task run does, as its threads tell of it."""

    job: int
    variable: str
    document: int | None = None
    ended: Counter[str] = field(default_factory=Counter)  # cells by the status that they got
    calls: list[str] = field(default_factory=list)  # outcomes; a list, since threads append to it


_work: ContextVar[_Work | None] = ContextVar("winnow_work", default=None)


def cells(run: Callable[_Parameters, str]) -> Callable[_Parameters, str]:
    """Tell of every run of `extract_cell`: how its cells ended, and what it took."""
    signature = inspect.signature(run)

    @functools.wraps(run)
    def told(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> str:
        given = signature.bind(*args, **kwargs).arguments
        work = _Work(job=given["job"], variable=given["variable"])
        before = _work.set(work), about.set({"job": work.job, "variable": work.variable})
        try:
            with span("winnow.cell", **{"winnow.job": work.job, "winnow.variable": work.variable}) as opened:
                status, started = "interrupted", time.monotonic()
                try:
                    status = run(*args, **kwargs)
                    return status
                except Exception as error:  # raised again: whatever it was, the cell's end is told
                    status = _status_after(error, work)
                    raise
                finally:
                    opened.set_attributes({"winnow.status": status, "winnow.document": work.document or 0})
                    _tell(work, status, len(given["ids"]), _since(started))
        finally:
            _work.reset(before[0])
            about.reset(before[1])

    told.__signature__ = signature  # type: ignore[attr-defined] # Prefect asks for it eight times a run
    return told


def _status_after(error: Exception, work: _Work) -> str:
    if isinstance(error, StayingError | BudgetReachedError):
        return "paused"
    if not isinstance(error, PassingError) or work.ended["failed"]:
        return "failed"
    metrics.RETRIES.labels(error.reason).inc()
    _say("cell to be tried again", logging.WARNING, reason=error.reason)
    return "retrying"


def _tell(work: _Work, status: str, cells: int, seconds: float) -> None:
    for ending, number in work.ended.items():
        metrics.CELLS.labels(ending).inc(number)
    level = logging.WARNING if status in ("failed", "paused") else logging.INFO
    _say("cell ended", level, status=status, cells=cells, seconds=seconds, calls=len(work.calls))


def document(document_id: int) -> None:
    """The task run's work is about this document."""
    work = _work.get()
    if work:
        work.document = document_id
        about.set({**about.get(), "document": document_id})


def ended(outcomes: Iterable[object]) -> None:
    """So the task run's cells have ended: extractions, reasons why they were skipped, or errors."""
    work = _work.get()
    if work:
        work.ended.update(map(_status, outcomes))


def _status(outcome: object) -> str:
    if isinstance(outcome, Extraction):
        return "flagged" if outcome.flagged else "extracted"
    return "skipped" if isinstance(outcome, str) else "failed"


# Calls

_USAGE = {  # as OpenTelemetry's conventions for models name them
    "prompt": "gen_ai.usage.input_tokens",
    "cached": "gen_ai.usage.cache_read.input_tokens",
    "completion": "gen_ai.usage.output_tokens",
}


@contextlib.contextmanager
def call(model: str) -> Iterator[Callable[[Reply, float | None], None]]:
    """A call under way. Yields what is to be told of its reply, with the cost."""
    started = time.monotonic()
    of = {f"winnow.{key}": value for key, value in about.get().items()}
    with span("winnow.call", **{"gen_ai.request.model": model, **of}) as opened:

        def answered(reply: Reply, cost: float | None) -> None:
            tokens = _count(model, reply, cost)
            opened.set_attributes({_USAGE[kind]: number for kind, number in tokens.items()})
            _call_ended(model, "answered", started, cost=cost, **{f"{kind}_tokens": n for kind, n in tokens.items()})

        try:
            with metrics.IN_FLIGHT.labels(model).track_inprogress():
                yield answered
        except Exception as error:  # raised again: whatever it was, the call's end is told
            _call_ended(model, getattr(error, "reason", "internal_error"), started)
            raise


def _count(model: str, reply: Reply, cost: float | None) -> dict[str, int]:
    used = reply.usage
    kinds = {"prompt": used.prompt_tokens, "cached": used.cached_tokens, "completion": used.completion_tokens}
    counted = {kind: number for kind, number in kinds.items() if number is not None}
    for kind, number in counted.items():
        metrics.TOKENS.labels(model, kind).inc(number)
    metrics.COST.labels(model).inc(cost or 0.0)
    return counted


def _call_ended(model: str, outcome: str, started: float, **fields: Any) -> None:
    seconds = _since(started)
    metrics.CALLS.labels(model, outcome).inc()
    metrics.SECONDS.labels(model).observe(seconds)
    work = _work.get()
    if work:
        work.calls.append(outcome)
    level = logging.INFO if outcome == "answered" else logging.WARNING
    _say("call ended", level, model=model, outcome=outcome, seconds=seconds, **fields)


def reused(model: str) -> None:
    """A stored reply answered the request: no call was made."""
    metrics.CALLS.labels(model, "stored").inc()
    _say("call ended", model=model, outcome="stored", seconds=0.0)


def held(model: str, seconds: float | None) -> None:
    """The provider asked everyone who uses the key to wait."""
    metrics.HOLDS.labels(model).inc()
    metrics.HOLD_SECONDS.labels(model).inc(seconds or 0.0)
    _say("calls held back", logging.WARNING, model=model, seconds=seconds)


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)
