"""Cells: the plan of a job, and what became of each."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Row, func, select, text, update

from db import extractions, tables
from winnow.extractions import Extraction
from winnow.jobs import CellRef, CellStatus

_cell = tables.Cell.__table__

_BATCH = 20_000


@dataclass(frozen=True, kw_only=True)
class PlannedCell:
    """A cell to be: what is asked of which document, or entity in it, and the key of all that shapes the answer."""

    document_id: int
    prompt_id: int
    question_key: str
    entity_id: int | None = None
    layer: int = 0
    check_key: str | None = None  # the hash of all that the checks of its row see; None: none is about it


@dataclass(frozen=True, kw_only=True)
class CellWork:
    """What a worker needs to know of a cell."""

    id: int
    job_id: int
    document_id: int
    prompt_id: int
    entity_id: int | None
    question_key: str
    status: CellStatus


@dataclass(frozen=True, kw_only=True)
class RowCell:
    """A cell as the others of its row see it."""

    id: int
    prompt_id: int
    variable: str
    status: CellStatus
    checked: bool
    question_key: str
    extraction: Extraction | None


_PLANNED = """
    SELECT * FROM unnest(cast(:documents AS bigint[]), cast(:prompts AS bigint[]), cast(:entities AS bigint[]),
                         cast(:question_keys AS text[]), cast(:layers AS int[]), cast(:check_keys AS text[]))
                  AS planned (document_id, prompt_id, entity_id, question_key, layer, check_key)
"""
_INSERT = """
    INSERT INTO cell (job_id, document_id, prompt_id, entity_id, question_key, layer, check_key, checked)
    SELECT :job, document_id, prompt_id, entity_id, question_key, layer, check_key, check_key IS NULL
    FROM ({planned}) AS planned
    ON CONFLICT DO NOTHING
"""


def _arrays(batch: Sequence[PlannedCell]) -> dict[str, list[Any]]:
    return {
        "documents": [cell.document_id for cell in batch],
        "prompts": [cell.prompt_id for cell in batch],
        "entities": [cell.entity_id for cell in batch],
        "question_keys": [cell.question_key for cell in batch],
        "layers": [cell.layer for cell in batch],
        "check_keys": [cell.check_key for cell in batch],
    }


def plan(connection: Connection, job_id: int, planned: Sequence[PlannedCell]) -> None:
    """Make a job's pending cells those of the plan. Cells that are done, or planned already, stay as they are.

    Cells of entities stay too, while the question that listed them is planned.
    """
    connection.execute(text(f"CREATE TEMPORARY TABLE planned ON COMMIT DROP AS {_PLANNED}"), _arrays(()))
    for start in range(0, len(planned), _BATCH):
        connection.execute(text(f"INSERT INTO planned {_PLANNED}"), _arrays(planned[start : start + _BATCH]))
    connection.execute(text("ANALYZE planned"))
    connection.execute(
        text("""
            DELETE FROM cell WHERE job_id = :job AND status = 'pending' AND entity_id IS NULL AND NOT EXISTS (
                SELECT FROM planned WHERE planned.question_key = cell.question_key
                    AND planned.document_id = cell.document_id AND planned.prompt_id = cell.prompt_id)
        """),
        {"job": job_id},
    )
    connection.execute(
        text("""
            DELETE FROM cell WHERE job_id = :job AND status = 'pending' AND entity_id IS NOT NULL AND NOT EXISTS (
                SELECT FROM planned JOIN extraction USING (question_key, document_id, prompt_id)
                WHERE planned.document_id = cell.document_id AND cell.entity_id = ANY (extraction.entity_ids))
        """),
        {"job": job_id},
    )
    connection.execute(text(_INSERT.format(planned="SELECT * FROM planned")), {"job": job_id})
    connection.execute(text("DROP TABLE planned"))


def plan_entities(connection: Connection, job_id: int, document_id: int, planned: Sequence[PlannedCell]) -> None:
    """Make the pending cells of a document's entities those of the plan, and settle what is answered already."""
    connection.execute(
        text("""
            DELETE FROM cell WHERE job_id = :job AND document_id = :document AND entity_id IS NOT NULL
                AND (status = 'pending' OR entity_id <> ALL (cast(:entities AS bigint[])))
        """),
        {"job": job_id, "document": document_id, "entities": [cell.entity_id for cell in planned]},
    )
    for start in range(0, len(planned), _BATCH):
        batch = _arrays(planned[start : start + _BATCH])
        connection.execute(text(_INSERT.format(planned=_PLANNED)), {"job": job_id, **batch})
    settle_answered(connection, job_id, document_id)


def settle_answered(connection: Connection, job_id: int, document_id: int | None = None) -> int:
    """Give every pending cell whose question is answered already, in whatever job, that answer. Returns how many."""
    settled = connection.execute(
        text("""
            UPDATE cell SET extraction_id = extraction.id,
                status = CASE WHEN cardinality(extraction.flags) = 0 THEN 'extracted' ELSE 'flagged' END
            FROM extraction
            WHERE cell.job_id = :job AND cell.status = 'pending' AND extraction.question_key = cell.question_key
                AND extraction.document_id = cell.document_id AND extraction.prompt_id = cell.prompt_id
                AND extraction.entity_id IS NOT DISTINCT FROM cell.entity_id
                AND (cast(:document AS bigint) IS NULL OR cell.document_id = :document)
        """),
        {"job": job_id, "document": document_id},
    )
    _settle_checked(connection, job_id, document_id)
    return settled.rowcount


def _settle_checked(connection: Connection, job_id: int, document_id: int | None) -> None:
    """Give answered cells what the same checks made of the same row before."""
    connection.execute(
        text("""
            UPDATE cell SET extraction_id = earlier.extraction_id, status = earlier.status, checked = true
            FROM cell AS earlier
            WHERE cell.job_id = :job AND NOT cell.checked AND cell.status IN ('extracted', 'flagged')
                AND earlier.check_key = cell.check_key AND earlier.question_key = cell.question_key
                AND earlier.document_id = cell.document_id AND earlier.prompt_id = cell.prompt_id
                AND earlier.entity_id IS NOT DISTINCT FROM cell.entity_id AND earlier.job_id <> cell.job_id
                AND earlier.checked AND earlier.extraction_id IS NOT NULL
                AND (cast(:document AS bigint) IS NULL OR cell.document_id = :document)
        """),
        {"job": job_id, "document": document_id},
    )


def answered(connection: Connection, document_id: int, question_keys: Sequence[str]) -> set[str]:
    """Those of a document's questions that have an answer, in whatever job."""
    query = text("SELECT question_key FROM extraction WHERE document_id = :document AND question_key = ANY (:keys)")
    return set(connection.scalars(query, {"document": document_id, "keys": list(question_keys)}))


def documents(connection: Connection, job_id: int) -> list[int]:
    """The ids of the documents that a job has cells for."""
    return list(connection.scalars(select(_cell.c.document_id).where(_cell.c.job_id == job_id).distinct()))


_OPEN = "cell.job_id = :job AND (cell.status = 'pending' OR NOT cell.checked)"
_REFS = """
    SELECT cell.id, cell.document_id, document.name AS document, variable.name AS variable, variable.kind,
        entity.key AS entity, cell.layer, cell.status, cell.checked
    FROM cell JOIN document ON document.id = cell.document_id JOIN prompt ON prompt.id = cell.prompt_id
        JOIN variable ON variable.id = prompt.variable_id LEFT JOIN entity ON entity.id = cell.entity_id
"""


def open_documents(connection: Connection, job_id: int, *, after: int, limit: int) -> list[list[CellRef]]:
    """The open cells of the next documents that have some, document by document, in the order of the plan.

    Args:
        after: the id of the last document that was taken.
    """
    query = f"""
        {_REFS} WHERE {_OPEN} AND cell.document_id IN (
            SELECT DISTINCT document_id FROM cell WHERE {_OPEN} AND document_id > :after
            ORDER BY document_id LIMIT :limit)
        ORDER BY cell.document_id, cell.layer, cell.id
    """
    rows = connection.execute(text(query), {"job": job_id, "after": after, "limit": limit})
    return [[_ref(row) for row in cells] for _, cells in groupby(rows, key=lambda row: row.document_id)]


def open_of(connection: Connection, job_id: int, document_id: int) -> list[CellRef]:
    """The open cells of one document."""
    query = f"{_REFS} WHERE {_OPEN} AND cell.document_id = :document ORDER BY cell.layer, cell.id"
    return [_ref(row) for row in connection.execute(text(query), {"job": job_id, "document": document_id})]


def _ref(row: Row[Any]) -> CellRef:
    return CellRef(
        id=row.id, document_id=row.document_id, document=row.document, variable=row.variable, entity=row.entity,
        layer=row.layer, pending=row.status == "pending", checked=row.checked, unit=row.kind == "unit",
    )  # fmt: skip


def work(connection: Connection, cell_ids: Sequence[int]) -> list[CellWork]:
    """What is to be done, in the order of the ids."""
    columns = (_cell.c[field.name] for field in fields(CellWork))
    rows = connection.execute(select(*columns).where(_cell.c.id.in_(cell_ids)).order_by(_cell.c.id))
    return [CellWork(**row._mapping) for row in rows]


_ROW = f"""
    SELECT cell.id, cell.prompt_id, variable.name AS variable, cell.status AS cell_status, cell.checked,
        cell.question_key, {extractions.COLUMNS}
    FROM cell JOIN prompt ON prompt.id = cell.prompt_id JOIN variable ON variable.id = prompt.variable_id
        LEFT JOIN extraction ON extraction.id = cell.extraction_id
    WHERE cell.job_id = :job AND cell.document_id = :document AND {{entity}}
        AND variable.kind = 'variable'
    ORDER BY cell.id
"""
# IS NOT DISTINCT FROM would say both at once, and use no index.
_ROW_OF_DOCUMENT, _ROW_OF_ENTITY = (
    text(_ROW.format(entity=condition)) for condition in ("cell.entity_id IS NULL", "cell.entity_id = :entity")
)


def row(connection: Connection, job_id: int, document_id: int, entity_id: int | None) -> list[RowCell]:
    """The cells of one row of the dataset, as they stand."""
    values = {"job": job_id, "document": document_id}
    found = (
        connection.execute(_ROW_OF_DOCUMENT, values)
        if entity_id is None
        else connection.execute(_ROW_OF_ENTITY, values | {"entity": entity_id})
    )
    return [
        RowCell(
            id=cell.id, prompt_id=cell.prompt_id, variable=cell.variable, status=cell.cell_status,
            checked=cell.checked, question_key=cell.question_key, extraction=extractions.from_row(cell),
        )
        for cell in found
    ]  # fmt: skip


def check(connection: Connection, cell_ids: Sequence[int]) -> None:
    """Note that the checks of these cells' row have been made."""
    connection.execute(update(_cell).where(_cell.c.id.in_(cell_ids)).values(checked=True))


def end(connection: Connection, cell_id: int, status: CellStatus, reason: str, detail: str) -> bool:
    """End a pending cell without an extraction: failed or skipped. False where it had ended already."""
    ended = connection.execute(
        update(_cell)
        .where(_cell.c.id == cell_id, _cell.c.status == "pending")
        .values(status=status, reason=reason, detail=detail)
    )
    return ended.rowcount > 0


def reopen_failed(connection: Connection, job_id: int) -> int:
    """Make the cells of a job that failed or were skipped pending again. Returns how many."""
    reopened = connection.execute(
        update(_cell)
        .where(_cell.c.job_id == job_id, _cell.c.status.in_(("failed", "skipped")))
        .values(status="pending", reason=None, detail=None)
    )
    return reopened.rowcount


def failures(connection: Connection, job_id: int) -> dict[str, int]:
    """Cells that failed or were skipped, by reason, the most frequent first."""
    rows = connection.execute(
        select(_cell.c.reason, func.count())
        .where(_cell.c.job_id == job_id, _cell.c.status.in_(("failed", "skipped")))
        .group_by(_cell.c.reason)
        .order_by(func.count().desc())
    )
    return {row[0]: row[1] for row in rows}
