"""One cell: intent, call, and one transaction with the raw reply and what it says."""

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from sqlalchemy.exc import OperationalError

from db import calls, cells, documents, extractions, jobs, projects
from db.cells import CellWork
from db.session import transaction
from tasks import models
from tasks.gates import gate_of
from winnow.answers import answer_for
from winnow.calls import Reply
from winnow.checking import check_answer
from winnow.exceptions import (
    DefinitionError,
    JobStoppedError,
    OutputError,
    PassingError,
    RateLimitedError,
    RejectedCallError,
    StayingError,
)
from winnow.grounding import Grounder
from winnow.projects import PromptVersion
from winnow.prompts import build_prompt
from winnow.replies import interpret

logger = logging.getLogger(__name__)

RETRY_DELAYS = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]  # seconds before each further try, plus up to half of it

_Result = TypeVar("_Result")


def _passes(task_: Any, task_run: TaskRun, state: State[Any]) -> bool:  # noqa: ARG001 # Prefect's signature
    return isinstance(state.result(raise_on_failure=False), PassingError)


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
def extract_cell(cell: int, document: str, variable: str, job: int) -> str:  # noqa: ARG001 # names show in the UI
    """Answer one cell of a job, or give it its reason why not.

    Returns:
        The cell's end: extracted, flagged, stopped (the job no longer runs) or settled (another run was quicker).

    Raises:
        WinnowError: as the run's state, so that the Prefect UI shows it. The cell's own row holds the reason too,
            except where a further try follows or the whole job pauses.
    """
    try:
        return _answer(job, cell)
    except JobStoppedError:
        return "stopped"
    except RateLimitedError as error:
        if error.retry_after:
            gate_of(job).hold(error.retry_after)
        _fail_at_last_try(cell, error)
    except PassingError as error:
        _fail_at_last_try(cell, error)
    except StayingError as error:
        gate_of(job).close(str(error))
        with transaction() as connection:
            jobs.set_status(connection, job, "paused", str(error))
        raise
    except (OutputError, RejectedCallError) as error:
        _fail(cell, error.reason, str(error))
        raise
    except (DefinitionError, OperationalError):  # the database: the cell is as it was, and the next run asks it
        raise
    except Exception as error:  # a mistake of ours: raised again, but the cell does not stay pending for ever
        _fail(cell, "internal_error", type(error).__name__)
        raise


def _answer(job: int, cell: int) -> str:
    """Ask where nobody has had an answer yet; read, check and store."""
    asked = _ask(job, cell)
    if asked is None:
        return "settled"
    reply, source, prompt = asked.reply, _source(asked.work.document_id), _prompt(asked.work.prompt_id)
    try:
        answer = answer_for(interpret(reply), prompt.variable.name)
        extraction = check_answer(answer, prompt.variable, source.grounder)
    except Exception as error:
        # No answer, or a mistake of ours: then the next run reads the same reply again. Either way it was paid for.
        reason = error.reason if isinstance(error, OutputError) else None
        _store(lambda connection: calls.keep_reply(connection, asked.call_id, reply, error=reason))
        raise

    def keep(connection: Any) -> None:
        if asked.bought:
            calls.keep_reply(connection, asked.call_id, reply)
        extractions.save(
            connection,
            extraction,
            cell_id=cell,
            call_id=asked.call_id,
            document_id=asked.work.document_id,
            prompt_id=asked.work.prompt_id,
        )

    _store(keep)
    return "flagged" if extraction.flagged else "extracted"


@dataclass(frozen=True, kw_only=True)
class _Asked:
    work: CellWork
    call_id: int
    reply: Reply
    bought: bool  # just now, and not stored yet


def _ask(job: int, cell: int) -> _Asked | None:
    """The reply to a cell's request: the stored one, or one bought now. None where the cell has ended."""
    with gate_of(job).slot():
        with transaction() as connection:
            work = cells.work(connection, cell)
            prompt = _prompt(work.prompt_id)
            parameters = models.parameters(work.model, prompt.variable.type)
            intent = calls.intend(connection, cell, model=work.model, parameters=json.dumps(parameters))
        if intent is None:
            return None
        if intent.reply is not None:
            return _Asked(work=work, call_id=intent.call_id, reply=intent.reply, bought=False)
        try:
            source = _source(work.document_id)
            question = build_prompt(work.rules, source.text, source.text_hash, [prompt.text])
            reply = models.ask(work.model, parameters, question)
        except Exception as error:  # raised again: whatever it was, the ledger says that no reply came
            name = getattr(error, "reason", "internal_error")
            _store(lambda connection: calls.keep_failure(connection, intent.call_id, name))
            raise
    return _Asked(work=work, call_id=intent.call_id, reply=reply, bought=True)


def _store(write: Callable[[Any], None]) -> None:
    """Write what was paid for in one transaction, again and again while the database is away for a moment."""
    for wait in (0.2, 0.5, 1, 2, 4, 8, 15, 30):
        try:
            with transaction() as connection:
                return write(connection)
        except (OperationalError, DefinitionError):
            logger.warning("A reply could not be stored; trying again in %s s", wait)
            time.sleep(wait)
    with transaction() as connection:
        return write(connection)


def _fail(cell: int, reason: str, detail: str) -> None:
    with transaction() as connection:
        cells.fail(connection, cell, reason, detail)


def _fail_at_last_try(cell: int, error: PassingError) -> NoReturn:
    context = TaskRunContext.get()
    tries = context.task_run.run_count if context else None
    if tries is None or tries > len(RETRY_DELAYS):
        _fail(cell, error.reason, str(error))
    raise error


@dataclass(frozen=True, kw_only=True)
class _Source:
    text: str
    text_hash: str
    grounder: Grounder


# A job's cells come document by document, so a few documents serve all cells in flight. The cells of one start at the
# same time: the first of them reads it for all.

_reading = threading.Lock()


def _source(document_id: int) -> _Source:
    with _reading:
        return _read_source(document_id)


@lru_cache(maxsize=64)
def _read_source(document_id: int) -> _Source:
    with transaction() as connection:
        content = documents.content(connection, document_id)
    grounder = Grounder(content.text, content.blocks)
    return _Source(text=content.text, text_hash=content.text_hash, grounder=grounder)


@lru_cache(maxsize=4096)
def _prompt(prompt_id: int) -> PromptVersion:
    with transaction() as connection:
        return projects.prompt(connection, prompt_id)
