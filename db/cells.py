"""Cells: the plan of a job, and what became of each."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select, text, update

from db import tables
from winnow.jobs import CellRef

_cell, _document = tables.Cell.__table__, tables.Document.__table__
_prompt, _variable = tables.Prompt.__table__, tables.Variable.__table__

_BATCH = 20_000


@dataclass(frozen=True, kw_only=True)
class PlannedCell:
    """A cell to be: what is asked of which document, under which keys (see `winnow.prompts.request_key`)."""

    document_id: int
    prompt_id: int
    request_key: str
    call_key: str


@dataclass(frozen=True, kw_only=True)
class CellWork:
    """What a worker needs to know of a cell: what is asked of which document, of which model, under which rules."""

    document_id: int
    prompt_id: int
    model: str
    rules: str


_PLANNED = """
    SELECT * FROM unnest(cast(:documents AS bigint[]), cast(:prompts AS bigint[]),
                         cast(:request_keys AS text[]), cast(:call_keys AS text[]))
                  AS planned (document_id, prompt_id, request_key, call_key)
"""


def _arrays(batch: Sequence[PlannedCell]) -> dict[str, list[int] | list[str]]:
    return {
        "documents": [cell.document_id for cell in batch],
        "prompts": [cell.prompt_id for cell in batch],
        "request_keys": [cell.request_key for cell in batch],
        "call_keys": [cell.call_key for cell in batch],
    }


def plan(connection: Connection, job_id: int, planned: Sequence[PlannedCell]) -> None:
    """Make a job's pending cells those of the plan. Cells that are done, or planned already, stay as they are."""
    connection.execute(text(f"CREATE TEMPORARY TABLE planned ON COMMIT DROP AS {_PLANNED}"), _arrays(()))
    for start in range(0, len(planned), _BATCH):
        connection.execute(text(f"INSERT INTO planned {_PLANNED}"), _arrays(planned[start : start + _BATCH]))
    connection.execute(text("ANALYZE planned"))
    connection.execute(
        text("""
            DELETE FROM cell WHERE job_id = :job AND status = 'pending' AND NOT EXISTS (
                SELECT FROM planned WHERE planned.call_key = cell.call_key
                    AND planned.document_id = cell.document_id AND planned.prompt_id = cell.prompt_id)
        """),
        {"job": job_id},
    )
    connection.execute(
        text("""
            INSERT INTO cell (job_id, document_id, prompt_id, request_key, call_key)
            SELECT :job, document_id, prompt_id, request_key, call_key FROM planned
            ON CONFLICT DO NOTHING
        """),
        {"job": job_id},
    )
    connection.execute(text("DROP TABLE planned"))


def settle_answered(connection: Connection, job_id: int) -> int:
    """Give every pending cell whose call is answered, and read for this prompt, its extraction. Returns how many."""
    settled = connection.execute(
        text("""
            UPDATE cell SET extraction_id = extraction.id,
                status = CASE WHEN cardinality(extraction.flags) = 0 THEN 'extracted' ELSE 'flagged' END
            FROM call JOIN extraction ON extraction.call_id = call.id
            WHERE cell.job_id = :job AND cell.status = 'pending'
                AND call.call_key = cell.call_key AND call.status = 'answered'
                AND extraction.document_id = cell.document_id AND extraction.prompt_id = cell.prompt_id
        """),
        {"job": job_id},
    )
    return settled.rowcount


def repairs(connection: Connection, request_keys: Sequence[str]) -> dict[str, int]:
    """How many replies to each request could not be read; only requests that have such replies are named."""
    found = connection.execute(
        text("""
            SELECT request_key, count(*) FROM call
            WHERE status = 'unusable' AND request_key = ANY (:keys) GROUP BY request_key
        """),
        {"keys": list(request_keys)},
    )
    return {row[0]: row[1] for row in found}


def documents(connection: Connection, job_id: int) -> list[int]:
    """The ids of the documents that a job has cells for."""
    return list(connection.scalars(select(_cell.c.document_id).where(_cell.c.job_id == job_id).distinct()))


def pending(connection: Connection, job_id: int, *, after: int, limit: int) -> list[CellRef]:
    """The next pending cells in the order of the plan, with an id above `after`: document by document."""
    rows = connection.execute(
        select(_cell.c.id, _cell.c.job_id, _document.c.name, _variable.c.name)
        .join(_document, _document.c.id == _cell.c.document_id)
        .join(_prompt, _prompt.c.id == _cell.c.prompt_id)
        .join(_variable, _variable.c.id == _prompt.c.variable_id)
        .where(_cell.c.job_id == job_id, _cell.c.status == "pending", _cell.c.id > after)
        .order_by(_cell.c.id)
        .limit(limit)
    )
    return [CellRef(id=row[0], job=row[1], document=row[2], variable=row[3]) for row in rows]


_WORK = text("""
    SELECT cell.document_id, cell.prompt_id, job.model, job.rules
    FROM cell JOIN job ON job.id = cell.job_id WHERE cell.id = :cell
""")


def work(connection: Connection, cell_id: int) -> CellWork:
    """What is to be asked for a cell."""
    document_id, prompt_id, model, rules = connection.execute(_WORK, {"cell": cell_id}).one()
    return CellWork(document_id=document_id, prompt_id=prompt_id, model=model, rules=rules)


def fail(connection: Connection, cell_id: int, reason: str, detail: str) -> bool:
    """End a pending cell without an extraction; False where it had ended already."""
    failed = connection.execute(
        update(_cell)
        .where(_cell.c.id == cell_id, _cell.c.status == "pending")
        .values(status="failed", reason=reason, detail=detail)
    )
    return failed.rowcount > 0


def failures(connection: Connection, job_id: int) -> dict[str, int]:
    """Failed cells by reason, the most frequent first."""
    rows = connection.execute(
        select(_cell.c.reason, func.count())
        .where(_cell.c.job_id == job_id, _cell.c.status == "failed")
        .group_by(_cell.c.reason)
        .order_by(func.count().desc())
    )
    return {row[0]: row[1] for row in rows}
