"""What the cells of a job share in the process that drives it: model, codebook, gate, budget, threads."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from db import calls, jobs, projects, providers, workers
from db.session import transaction
from tasks.budget import Budget
from tasks.cell_plan import CellPlan, chosen_prompts
from tasks.gates import Gate
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

    job_id: int
    plan: CellPlan
    gate: Gate
    limiter: Limiter
    budget: Budget
    price: Price | None
    worker: int
    threads: ThreadPoolExecutor

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


_contexts: dict[int, JobContext] = {}


@contextlib.contextmanager
def opened(job: Job, slots: int) -> Iterator[JobContext]:
    """A job's context while the block runs. However it is left, no call starts afterwards.

    The caller holds the job (`db.jobs.held`): whoever drove it before has gone.
    """
    with leased() as worker, ThreadPoolExecutor(max_workers=slots, thread_name_prefix="winnow-part") as threads:
        with transaction() as connection:
            workers.end_former(connection, job.id, worker)
            project = projects.by_id(connection, jobs.project_id(connection, job.id))
            if key := provider_key(job.options.model):
                providers.register(connection, key)
            gate = Gate(slots)
            context = JobContext(
                job_id=job.id,
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
                worker=worker,
                threads=threads,
            )
        _contexts[job.id] = context
        try:
            yield context
        finally:
            context.gate.close("the run has ended")


def context_of(job_id: int) -> JobContext:
    """The context of a job that runs in this process."""
    return _contexts[job_id]
