"""What the cells of a job share in the process that drives it: model, codebook, gate, budget, threads."""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from db import calls, jobs, projects, providers
from db.session import transaction
from tasks.budget import Budget
from tasks.cell_plan import CellPlan, chosen_prompts
from tasks.gates import Gate
from tasks.holdings import Holdings
from tasks.lease import leased
from tasks.limits import Limiter, provider_key
from tasks.read_prices import prices
from winnow.answering import CheckOfRow
from winnow.checks import compile_check
from winnow.codebook import Codebook
from winnow.coercion import Conventions
from winnow.jobs import Job
from winnow.prices import Price


@dataclass(frozen=True)
class JobContext:
    """A job that runs in this process."""

    job: Job
    plan: CellPlan
    gate: Gate
    limiter: Limiter
    budget: Budget
    price: Price | None
    holdings: Holdings
    threads: ThreadPoolExecutor
    asking: "Asking"

    @property
    def job_id(self) -> int:
        """The job's id."""
        return self.job.id

    @property
    def model(self) -> str:
        """The model that is asked."""
        return self.plan.model

    @property
    def rules(self) -> str:
        """The constant part of every prompt."""
        return self.plan.rules

    @property
    def codebook(self) -> Codebook:
        """The project's codebook, as it was when the run began."""
        return self.plan.codebook

    @cached_property
    def conventions(self) -> Conventions:
        """How the documents write dates and numbers."""
        return Conventions(language=self.codebook.language, date_order=self.codebook.date_order)

    @cached_property
    def checks(self) -> tuple[CheckOfRow, ...]:
        """What must hold between the variables of a row."""
        return tuple(
            CheckOfRow(
                check=compile_check(check.expression, self.codebook.variables),
                message=check.message or f"breaks the rule {check.expression}",
            )
            for check in self.codebook.checks
        )

    def spread(self, work: Callable[[Any], Any], items: Iterable[Any]) -> Iterable[Any]:
        """`map`, over threads where there is more than one item. The gate limits the calls among them.

        Where one fails, those that have not begun are left out, and those under way are waited for: what they buy is
        to be stored.
        """
        listed = list(items)
        if len(listed) <= 1:
            return [work(item) for item in listed]
        parts = [self.threads.submit(copy_context().run, work, item) for item in listed]
        wait(parts, return_when=FIRST_EXCEPTION)
        for part in parts:
            part.cancel()
        wait(parts)
        failed = next((error for part in parts if not part.cancelled() and (error := part.exception())), None)
        if failed:
            raise failed
        return [part.result() for part in parts]


class Asking:
    """The requests that this process is about to buy, or has bought and not stored yet: each is one thread's."""

    def __init__(self) -> None:
        self._keys: set[str] = set()
        self._lock = threading.Lock()

    def take(self, request_key: str) -> bool:
        """Take a request; False where another thread has it."""
        with self._lock:
            free = request_key not in self._keys
            self._keys.add(request_key)
        return free

    def give_back(self, request_key: str) -> None:
        """Let others ask it, who will find what became of it in the ledger."""
        with self._lock:
            self._keys.discard(request_key)


_contexts: dict[int, JobContext] = {}


@contextlib.contextmanager
def opened(job: Job, slots: int) -> Iterator[JobContext]:
    """A job's context while the block runs, in which this process is one of the job's workers.

    However it is left, no call starts afterwards.
    """
    gate = Gate(slots)
    with leased(job.id) as lease, _opened(job, slots, gate, Holdings(job.id, gate, lease)) as context:
        yield context


@contextlib.contextmanager
def opened_for(job: Job) -> Iterator[JobContext]:
    """The same in a process that works for a worker, one cell at a time, on what that one holds."""
    gate = Gate(1)
    with _opened(job, 1, gate, Holdings(job.id, gate)) as context:
        yield context


@contextlib.contextmanager
def _opened(job: Job, slots: int, gate: Gate, holdings: Holdings) -> Iterator[JobContext]:
    with ThreadPoolExecutor(max_workers=slots, thread_name_prefix="winnow-part") as threads:
        with transaction() as connection:
            project = projects.by_id(connection, jobs.project_id(connection, job.id))
            if key := provider_key(job.options.model):
                providers.register(connection, key)
            context = JobContext(
                job=job,
                plan=CellPlan(
                    model=job.options.model,
                    rules=jobs.rules(connection, job.id),
                    codebook=project.codebook,
                    prompts=chosen_prompts(job.options.variables, projects.prompts(connection, project.id)),
                    unit=projects.unit_prompt(connection, project.id),
                ),
                gate=gate,
                limiter=Limiter(key, gate),
                budget=Budget(job.options.budget, calls.spending(connection, job.id).cost or 0.0),
                price=prices().price(job.options.model),
                holdings=holdings,
                threads=threads,
                asking=Asking(),
            )
        _contexts[job.id] = context
        try:
            yield context
        finally:
            gate.close("the run has ended")


def context_of(job_id: int) -> JobContext:
    """The context of a job that runs in this process."""
    return _contexts[job_id]
