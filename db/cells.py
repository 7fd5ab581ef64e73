"""Cells: the plan of a job, and what became of each."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
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


def _batches(planned: Iterable[PlannedCell]) -> Iterator[list[PlannedCell]]:
    left = iter(planned)
    return iter(lambda: list(islice(left, _BATCH)), [])


def plan(connection: Connection, job_id: int, planned: Iterable[PlannedCell]) -> None:
    """Make a job's pending cells those of the plan. Cells that are done, or planned already, stay as they are.

    Cells of entities stay too, while the question that listed them is planned. Of the plan, no more than a batch is in
    memory at a time.
    """
    connection.execute(text(f"CREATE TEMPORARY TABLE planned ON COMMIT DROP AS {_PLANNED}"), _arrays(()))
    for batch in _batches(planned):
        connection.execute(text(f"INSERT INTO planned {_PLANNED}"), _arrays(batch))
    connection.execute(text("ANALYZE planned"))
    connection.execute(
        text("""
            DELETE FROM cell WHERE job_id = :job AND status = 'pending' AND entity_id IS NULL AND NOT EXISTS (
                SELECT FROM planned WHERE planned.question_key = cell.question_key
                    AND planned.document_id = cell.document_id AND planned.prompt_id = cell.prompt_id)
        """),
        {"job": job_id},
    )
    _drop_unlisted(connection, job_id)
    connection.execute(text(_INSERT.format(planned="SELECT * FROM planned")), {"job": job_id})
    connection.execute(text("DROP TABLE planned"))


def _drop_unlisted(connection: Connection, job_id: int) -> None:
    """Drop the pending cells of entities that no planned question has listed."""
    pending = "job_id = :job AND status = 'pending' AND entity_id IS NOT NULL"
    if not connection.scalar(text(f"SELECT EXISTS (SELECT FROM cell WHERE {pending})"), {"job": job_id}):
        return
    # A table of its own, and analysed: left to itself, the database looks through a document's list for every cell.
    connection.execute(
        text("""
            CREATE TEMPORARY TABLE listed ON COMMIT DROP AS
            SELECT document_id, unnest(entity_ids) AS entity_id
            FROM planned JOIN extraction USING (question_key, document_id, prompt_id)
        """)
    )
    connection.execute(text("ANALYZE listed"))
    connection.execute(
        text(f"""
            DELETE FROM cell WHERE {pending} AND NOT EXISTS (
                SELECT FROM listed WHERE listed.document_id = cell.document_id AND listed.entity_id = cell.entity_id)
        """),
        {"job": job_id},
    )
    connection.execute(text("DROP TABLE listed"))


def analyze(connection: Connection) -> None:
    """Let the database know at once how many cells a large plan has.

    It finds out by itself in a minute or more. Until then it takes a job for a few cells, and reads all of them again
    for every document where it should look up the document's.
    """
    connection.execute(text("ANALYZE cell"))


def plan_entities(connection: Connection, job_id: int, document_id: int, planned: Sequence[PlannedCell]) -> None:
    """Make the pending cells of a document's entities those of the plan, and settle what is answered already."""
    plan_entities_of(connection, job_id, [document_id], planned)
    settle_answered(connection, job_id, document_id)


def plan_entities_of(
    connection: Connection, job_id: int, document_ids: Sequence[int], planned: Sequence[PlannedCell]
) -> None:
    """Make the pending cells of some documents' entities those of the plan. Those planned already stay as they are."""
    values: dict[str, Any] = {"job": job_id, **_arrays(planned)}
    listed = list({cell.entity_id for cell in planned})
    connection.execute(text(_DELETE_ENTITIES), values | {"of": list(document_ids), "listed": listed})
    connection.execute(text(_INSERT.format(planned=_PLANNED)), values)


_DELETE_ENTITIES = f"""
    WITH planned AS MATERIALIZED ({_PLANNED})
    DELETE FROM cell WHERE job_id = :job AND document_id = ANY (cast(:of AS bigint[])) AND entity_id IS NOT NULL
        AND (status = 'pending' OR entity_id <> ALL (cast(:listed AS bigint[])))
        AND NOT EXISTS (SELECT FROM planned WHERE planned.document_id = cell.document_id
            AND planned.prompt_id = cell.prompt_id AND planned.entity_id = cell.entity_id
            AND planned.question_key = cell.question_key)
"""


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
_OPEN_OF = text(f"""
    SELECT cell.id, cell.document_id, document.name AS document, variable.name AS variable, variable.kind,
        cell.prompt_id, cell.question_key, cell.entity_id, entity.key AS entity, cell.layer, cell.status, cell.checked,
        coalesce(greatest(0, extract(epoch FROM cell.not_before - clock_timestamp())), 0)::float8 AS wait
    FROM cell JOIN document ON document.id = cell.document_id JOIN prompt ON prompt.id = cell.prompt_id
        JOIN variable ON variable.id = prompt.variable_id LEFT JOIN entity ON entity.id = cell.entity_id
    WHERE {_OPEN} AND cell.document_id = ANY(:documents)
    ORDER BY cell.document_id, cell.layer, cell.id
""")


def open_of(connection: Connection, job_id: int, document_ids: Sequence[int]) -> list[list[CellRef]]:
    """The open cells of documents, document by document, in the order of the plan."""
    rows = connection.execute(_OPEN_OF, {"job": job_id, "documents": list(document_ids)})
    return [[_ref(row) for row in cells] for _, cells in groupby(rows, key=lambda row: row.document_id)]


def _ref(row: Row[Any]) -> CellRef:
    return CellRef(
        id=row.id, document_id=row.document_id, document=row.document, variable=row.variable, prompt_id=row.prompt_id,
        question_key=row.question_key, entity_id=row.entity_id, entity=row.entity, layer=row.layer,
        pending=row.status == "pending", checked=row.checked, unit=row.kind == "unit", wait=row.wait,
    )  # fmt: skip


def any_open(connection: Connection, job_id: int) -> bool:
    """Whether a job has something left to do."""
    query = text(f"SELECT 1 FROM cell WHERE {_OPEN} ORDER BY document_id LIMIT 1")  # so that the index is used
    return connection.scalar(query, {"job": job_id}) is not None


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


_PUT_OFF = text("""
    UPDATE cell SET tries = tries + 1, not_before = clock_timestamp() + make_interval(secs =>
        (cast(:delays AS float8[]))[least(tries + 1, cardinality(cast(:delays AS float8[])))])
    WHERE id = ANY(:cells) AND status = 'pending' RETURNING tries
""")


def put_off(connection: Connection, cell_ids: Sequence[int], delays: Sequence[float]) -> int:
    """Note that pending cells failed in a way that passes, and when they are due again. Returns their tries so far.

    Args:
        delays: seconds after each try; after more tries than that, as after the last.
    """
    tries = connection.scalars(_PUT_OFF, {"cells": list(cell_ids), "delays": list(delays)}).all()
    return max(tries, default=0)


def reopen_failed(connection: Connection, job_id: int) -> int:
    """Make the cells of a job that failed or were skipped pending again. Returns how many."""
    lost = text("DELETE FROM claim WHERE job_id = :job AND worker_id IS NULL")  # they get as many chances as at first
    connection.execute(lost, {"job": job_id})
    reopened = connection.execute(
        update(_cell)
        .where(_cell.c.job_id == job_id, _cell.c.status.in_(("failed", "skipped")))
        .values(status="pending", reason=None, detail=None, tries=0, not_before=None)
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
