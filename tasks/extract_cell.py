"""Some cells of one document: asked, checked, and stored with the replies in one transaction."""

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, NoReturn, ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.states import Cancelled
from sqlalchemy import Connection

from db import cells, entities, extractions, jobs, workers
from db.session import patiently, transaction
from tasks import observe, sources
from tasks.cell_plan import checked_key
from tasks.holdings import ALONE_AFTER, Holding
from tasks.job_context import JobContext, context_of
from tasks.ledger import Ledger
from tasks.lone_cells import lone_cells
from winnow.answering import Outcome, Parent, answer, check_row, holding, known_values, not_asked
from winnow.asking import Asked, Interview
from winnow.codebook import EntityUnit, name_key
from winnow.entities import FoundEntity, Lister
from winnow.exceptions import (
    BudgetReachedError,
    DefinitionError,
    JobStoppedError,
    OutputError,
    PassingError,
    RejectedCallError,
    StayingError,
    WorkerLostError,
)
from winnow.extractions import Extraction
from winnow.jobs import CellRef
from winnow.prompts import Entity, Known, Question

_Kept = TypeVar("_Kept")

RETRY_DELAYS = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]  # seconds before each further try, plus up to half of it


def _passes(task_: Any, task_run: TaskRun, state: State[Any]) -> bool:  # noqa: ARG001 # Prefect's signature
    error = state.result(raise_on_failure=False)
    return isinstance(error, PassingError) and not error.last


_Parameters = ParamSpec("_Parameters")


def _as_state(run: Callable[_Parameters, str]) -> Callable[_Parameters, Any]:
    """Let a task run that ended nothing look so in the Prefect UI."""

    @functools.wraps(run)
    def ended(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> Any:
        how = run(*args, **kwargs)
        return Cancelled(message=_NOT_ENDED[how]) if how in _NOT_ENDED else how

    return ended


_NOT_ENDED = {
    "stopped": "The job was stopped. The cell stays open for the next run.",
    "lost": "Another worker has taken over. The cell is its own now.",
}


@task(
    name="extract-cell",
    task_run_name="{document} · {variable}",
    retries=len(RETRY_DELAYS),
    retry_delay_seconds=RETRY_DELAYS,
    retry_jitter_factor=0.5,
    retry_condition_fn=_passes,
    cache_policy=NO_CACHE,
    persist_result=False,
    log_prints=False,
)
@_as_state
@observe.cells
def extract_cell(ids: list[int], document: str, variable: str, job: int, check: bool = False) -> str:  # noqa: ARG001
    """Answer cells of one document that are asked together, or give each its reason why not.

    Args:
        ids: the cells.
        document, variable: names, for the Prefect UI.
        check: the cells are answered; hold their rows against the codebook's checks.

    Returns:
        How they ended: extracted, flagged, skipped, stopped (the job no longer runs), lost (another worker has taken
        over) or waiting (for a cell that they depend on).

    Raises:
        WinnowError: as the run's state, so that the Prefect UI shows it. The cells' own rows hold the reason too,
            except where a further try follows or the whole job pauses.
    """
    context = context_of(job)
    try:
        return _ended(context, ids, check)
    except WorkerLostError:
        return "lost"
    except JobStoppedError as stopped:
        context.gate.close(str(stopped))  # or its document would be claimed again and again until the run has looked
        return "stopped"


def _ended(context: JobContext, ids: Sequence[int], check: bool) -> str:
    try:
        return patiently(lambda: _work(context, ids, check), context.gate.wait)
    except (JobStoppedError, RejectedCallError):  # the cells say so already
        raise
    except OutputError as error:
        if error.reason == "crashed":
            _fail(context, ids, error.reason, str(error))
        raise
    except PassingError as error:
        _try_later(context, ids, error)
    except (DefinitionError, StayingError, BudgetReachedError) as error:  # every cell would meet the same
        _pause(context, str(error))
        raise
    except Exception as error:  # a mistake of ours: raised again, but the cells do not stay pending for ever
        _fail(context, ids, "internal_error", type(error).__name__)
        raise


def _work(context: JobContext, ids: Sequence[int], check: bool) -> str:
    held = context.holdings.of(ids[0])
    observe.document(held.document_id)
    context.gate.wait(max(held.cells[cell].wait for cell in ids) - (time.monotonic() - held.since))
    if held.losses >= ALONE_AFTER:
        return lone_cells().work(context.job_id, held, ids, check)
    return work_on(context, ids, check)


def work_on(context: JobContext, ids: Sequence[int], check: bool) -> str:
    """As `extract_cell`, but once, and in this process."""
    held = context.holdings.of(ids[0])
    works = [held.cells[cell] for cell in ids]
    if check:
        return _check(context, held, works)
    if isinstance(unit := context.codebook.unit_of_observation, EntityUnit) and works[0].entity_id is None:
        return _list_entities(context, held, works[0], unit)
    return _Row(context, held, works).extract()


class _Row:
    """Cells of one document or entity, which share what they are asked about."""

    def __init__(self, context: JobContext, held: Holding, works: Sequence[CellRef]) -> None:
        self._context, self._works = context, works
        first = works[0]
        self._document = sources.document(first.document_id)
        self._prompts = {work.id: sources.prompt(work.prompt_id) for work in works}
        names = {prompt.variable.name: prompt.id for prompt in self._prompts.values()}
        self._ledger = Ledger(context, held.worker, first.document_id, self._document.source.text, names)
        self._chunks = self._document.chunks(context.codebook.chunking)
        self._question = Question(variables=())
        if first.entity_id is not None and isinstance(unit := context.codebook.unit_of_observation, EntityUnit):
            with transaction() as connection:
                entity = entities.get(connection, first.entity_id)
            self._chunks = holding(self._document.chunks(context.codebook.chunking, whole=False), entity.evidence)
            self._question = Question(variables=(), entity=_shown(unit, entity))

    def extract(self) -> str:
        """Ask the cells whose conditions hold, and end all of them."""
        parents = self._parents()
        outcomes: dict[int, Outcome | str] = {}
        asking: list[tuple[tuple[Known, ...], CellRef]] = []
        for work in self._works:
            variable = self._prompts[work.id].variable
            if variable.depends_on and parents is None:
                return "waiting"
            why_not = not_asked(variable, parents or {})
            if why_not is None:
                asking.append((known_values(variable, parents or {}), work))
            else:
                outcomes[work.id] = why_not
        try:
            for known, group in groupby(sorted(asking, key=lambda pair: pair[0] != ()), key=lambda pair: pair[0]):
                outcomes |= self._ask(known, [work for _, work in group])
        finally:
            self._ledger.store(lambda connection: self._end(connection, outcomes))
            observe.ended(outcomes.values())
        return self._told(outcomes)

    def _ask(self, known: tuple[Known, ...], works: Sequence[CellRef]) -> dict[int, Outcome | str]:
        asked = {work.id: self._asked(work) for work in works}
        interview = self._interview(replace(self._question, known=known))
        found = answer(interview, self._chunks, list(asked.values()), self._context.conventions)
        return {cell: found[one.variable.name] for cell, one in asked.items()}

    def _asked(self, work: CellRef) -> Asked:
        prompt = self._prompts[work.id]
        return Asked(variable=prompt.variable, prompt=prompt.text)

    def _interview(self, question: Question) -> Interview:
        return Interview(
            source=self._document.source, asker=self._ledger, context=question, spread=self._context.spread
        )

    def _parents(self) -> dict[str, Parent] | None:
        """What the variables of the row have so far; None while one that is needed is still to be answered."""
        needed = {
            name_key(dependency.variable)
            for prompt in self._prompts.values()
            for dependency in prompt.variable.depends_on
        }
        if not needed:
            return {}
        first = self._works[0]
        with transaction() as connection:
            row = cells.row(connection, self._context.job_id, first.document_id, first.entity_id)
        found = {name_key(cell.variable): cell for cell in row if name_key(cell.variable) in needed}
        if len(found) < len(needed) or any(cell.status == "pending" for cell in found.values()):
            return None
        return {
            key: Parent(variable=sources.prompt(cell.prompt_id).variable, extraction=cell.extraction)
            for key, cell in found.items()
        }

    def _end(self, connection: Connection, outcomes: dict[int, Outcome | str]) -> None:
        for work in self._works:
            outcome = outcomes.get(work.id)
            if isinstance(outcome, Extraction):
                self._save(connection, work, outcome)
            elif isinstance(outcome, str):
                cells.end(connection, work.id, "skipped", "skipped_dependency", outcome)
            elif outcome is not None:
                cells.end(connection, work.id, "failed", outcome.reason, str(outcome))

    def _save(self, connection: Connection, work: CellRef, extraction: Extraction) -> None:
        extractions.save(
            connection, extraction, cell_id=work.id, question_key=work.question_key, document_id=work.document_id,
            prompt_id=work.prompt_id, entity_id=work.entity_id, model=self._context.model,
            call_ids=self._ledger.call_ids,
        )  # fmt: skip

    def _told(self, outcomes: dict[int, Outcome | str]) -> str:
        for outcome in outcomes.values():
            if isinstance(outcome, OutputError | RejectedCallError):
                raise outcome
        found = [outcome for outcome in outcomes.values() if isinstance(outcome, Extraction)]
        if not found:
            return "skipped"
        return "flagged" if any(extraction.flagged for extraction in found) else "extracted"

    def check(self, rows: Sequence[cells.RowCell]) -> None:
        """Hold the row against the codebook's checks; store what changes."""
        answered = {
            name_key(cell.variable): (
                Asked(variable=(prompt := sources.prompt(cell.prompt_id)).variable, prompt=prompt.text),
                cell.extraction,
            )
            for cell in rows
            if cell.extraction
        }
        interview = self._interview(self._question)
        try:
            changed = check_row(interview, self._chunks, answered, self._context.checks, self._context.conventions)
        finally:
            self._ledger.store()

        def keep(connection: Connection) -> None:
            for cell in rows:
                extraction = changed.get(name_key(cell.variable))
                work = next((work for work in self._works if work.id == cell.id), None)
                if extraction and work:
                    key = checked_key(cell.question_key, extraction)
                    self._save(connection, replace(work, question_key=key), extraction)
            cells.check(connection, [cell.id for cell in rows])

        self._ledger.store(keep)


def _shown(unit: EntityUnit, entity: FoundEntity) -> Entity:
    return Entity(entity=unit.entity, name=entity.name, evidence=entity.evidence[0].quote)


def _check(context: JobContext, held: Holding, works: Sequence[CellRef]) -> str:
    in_rows = sorted(works, key=lambda work: work.entity_id or 0)
    for entity_id, group in groupby(in_rows, key=lambda work: work.entity_id):
        of_row = list(group)
        with transaction() as connection:
            row = cells.row(connection, context.job_id, of_row[0].document_id, entity_id)
        if any(cell.status == "pending" for cell in row):
            return "waiting"
        _Row(context, held, of_row).check(row)
    return "checked"


def _list_entities(context: JobContext, held: Holding, work: CellRef, unit: EntityUnit) -> str:
    """List the entities of a document, and plan the cells that ask about them."""
    document, prompt = sources.document(work.document_id), sources.prompt(work.prompt_id)
    names = {unit.entity: prompt.id}
    ledger = Ledger(context, held.worker, work.document_id, document.source.text, names)
    interview = Interview(source=document.source, asker=ledger, context=Question(variables=()), spread=context.spread)
    lister = Lister(interview=interview, unit=unit, codebook=context.codebook, document_hash=document.sha256)
    try:
        listing = lister.all_in(document.chunks(context.codebook.chunking, whole=False))
    except OutputError as error:
        _fail(context, [work.id], error.reason, str(error))
        raise
    finally:
        ledger.store()

    def keep(connection: Connection) -> None:
        ids = entities.save(connection, work.document_id, listing.entities)
        extractions.save(
            connection, listing.extraction, cell_id=work.id, question_key=work.question_key,
            document_id=work.document_id, prompt_id=work.prompt_id, entity_id=None, model=context.model,
            call_ids=ledger.call_ids, entity_ids=ids,
        )  # fmt: skip
        found = zip(ids, listing.entities, strict=True)
        planned = context.plan.of_entities(work.document_id, document.text_hash, document.tokens, found)
        cells.plan_entities(connection, context.job_id, work.document_id, planned)

    ledger.store(keep)
    observe.ended([listing.extraction])
    return "flagged" if listing.extraction.flagged else "extracted"


def _pause(context: JobContext, reason: str) -> None:
    def keep() -> None:
        with transaction() as connection:
            jobs.pause(connection, context.job_id, reason)

    patiently(keep, context.gate.linger)
    context.gate.close(reason)


def _fail(context: JobContext, ids: Sequence[int], reason: str, detail: str) -> None:
    def keep(connection: Connection) -> None:
        for cell in ids:
            cells.end(connection, cell, "failed", reason, detail)

    _keep(context, ids, keep)
    observe.ended([None] * len(ids))


def _try_later(context: JobContext, ids: Sequence[int], error: PassingError) -> NoReturn:
    """Note when the next try is due, for a restart; here, Prefect waits for it. After the last try, the cells fail."""
    tries = _keep(context, ids, lambda connection: cells.put_off(connection, ids, RETRY_DELAYS))
    if tries > len(RETRY_DELAYS):
        _fail(context, ids, error.reason, str(error))
        error.last = True
    raise error


def _keep(context: JobContext, ids: Sequence[int], write: Callable[[Connection], _Kept]) -> _Kept:
    """Write of cells that this process holds.

    Raises:
        WorkerLostError: it does not hold them any more.
    """
    worker = context.holdings.of(ids[0]).worker

    def kept() -> _Kept:
        with transaction() as connection:
            if not workers.exists(connection, worker):
                raise WorkerLostError("another worker has taken over")
            return write(connection)

    return patiently(kept, context.gate.linger)
