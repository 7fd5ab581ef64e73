"""Extractions, and the dataset that they make up."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, Row, text

from winnow.completeness import account
from winnow.extractions import DatasetCell, DocumentAccount, Extraction, FoundValue, Signals, Unread, Value

_values = TypeAdapter(tuple[FoundValue, ...])
_unread = TypeAdapter(tuple[Unread, ...])
_default: TypeAdapter[Value | None] = TypeAdapter(Value | None)

_PAGE = 1000  # rows of the dataset that come from the database at a time

COLUMNS = """
    extraction.status, extraction.values, extraction.confidence, extraction.signals, extraction.flags,
    extraction.unread, extraction.announced, extraction.detail, extraction.default
"""
"""What `from_row` reads, for queries of other modules."""


_SAVE = text("""
    WITH saved AS (
        INSERT INTO extraction (question_key, document_id, prompt_id, entity_id, call_ids, entity_ids, model,
            status, values, confidence, signals, flags, unread, announced, detail, "default")
        VALUES (:question_key, :document, :prompt, :entity, :calls, :entities, :model, :status,
            cast(:values AS jsonb), :confidence, cast(:signals AS jsonb), :flags, cast(:unread AS jsonb), :announced,
            :detail, cast(:default AS jsonb))
        ON CONFLICT (question_key, document_id, prompt_id, entity_id) DO UPDATE SET
            call_ids = excluded.call_ids, entity_ids = excluded.entity_ids, status = excluded.status,
            values = excluded.values, confidence = excluded.confidence, signals = excluded.signals,
            flags = excluded.flags, unread = excluded.unread, announced = excluded.announced,
            detail = excluded.detail, "default" = excluded."default"
        RETURNING id
    )
    UPDATE cell SET status = :cell_status, extraction_id = saved.id FROM saved
    WHERE cell.id = :cell AND (cell.status = 'pending' OR NOT cell.checked AND cell.extraction_id IS NOT NULL)
""")


def save(
    connection: Connection,
    extraction: Extraction,
    *,
    cell_id: int,
    question_key: str,
    document_id: int,
    prompt_id: int,
    entity_id: int | None,
    model: str,
    call_ids: Sequence[int],
    entity_ids: Sequence[int] = (),
) -> None:
    """Store what calls say about a cell, and end the cell. The same question read again replaces its extraction."""
    values = {
        "question_key": question_key,
        "document": document_id,
        "prompt": prompt_id,
        "entity": entity_id,
        "calls": list(call_ids),
        "entities": list(entity_ids),
        "model": model,
        "status": extraction.status,
        "values": _values.dump_json(extraction.values).decode(),
        "confidence": extraction.confidence,
        "signals": json.dumps(asdict(extraction.signals)),
        "flags": list(extraction.flags),
        "unread": _unread.dump_json(extraction.unread).decode(),
        "announced": extraction.announced,
        "detail": extraction.detail,
        "default": None if extraction.default is None else json.dumps(extraction.default),
        "cell": cell_id,
        "cell_status": "flagged" if extraction.flagged else "extracted",
    }
    connection.execute(_SAVE, values)


def from_row(row: Row[Any]) -> Extraction | None:
    """The extraction in a row with `COLUMNS`; None where a join found none."""
    if row.status is None:
        return None
    return Extraction(
        status=row.status, values=_values.validate_python(row.values), confidence=row.confidence,
        signals=Signals(**row.signals), flags=tuple(row.flags), unread=_unread.validate_python(row.unread),
        announced=row.announced, detail=row.detail, default=_default.validate_python(row.default),
    )  # fmt: skip


_OF_ENTITIES = """
    EXISTS (SELECT FROM variable WHERE project_id = :project AND kind = 'unit' AND position IS NOT NULL)
"""

# Of a document, the newest accepted list of its entities, or else why there is none. A list of statuses in its place
# would let the database read a job's cells by their status, all of them for every document, where it takes the job's
# cells for pending still.
_LISTING = """LEFT JOIN LATERAL (
        SELECT extraction.*, cell.reason, cell.status AS cell_status
        FROM variable JOIN prompt ON prompt.variable_id = variable.id
            JOIN cell ON cell.prompt_id = prompt.id AND cell.document_id = document.id
            LEFT JOIN extraction ON extraction.id = cell.extraction_id
        WHERE variable.project_id = :project AND variable.kind = 'unit' AND variable.position IS NOT NULL
            AND (cell.extraction_id IS NOT NULL OR cell.status = 'failed')
            AND (cast(:job AS bigint) IS NULL OR cell.job_id = :job)
        ORDER BY prompt.version DESC, cell.extraction_id IS NULL, cell.job_id DESC LIMIT 1
    ) AS listing ON true"""

# The rows: documents, or the entities that each document's newest accepted list names. A document whose list is not
# there has one row without an entity, which says why.
_ROWS = f"""
    SELECT document.id AS document_id, document.name AS document, document.sha256,
        document.status AS document_status, document.reason AS document_reason,
        listing.cell_status AS listing_status, listing.reason AS listing_reason,
        entity.id AS entity_id, entity.key, entity.name AS entity, listed.position AS entity_position
    FROM document
    {_LISTING}
    LEFT JOIN LATERAL unnest(listing.entity_ids) WITH ORDINALITY AS listed (id, position) ON true
    LEFT JOIN entity ON entity.id = listed.id
    WHERE document.project_id = :project
"""

# Every row × every variable of the codebook, with the newest job's cell that has an extraction of the variable's
# current prompt, or else the newest cell that has none.
_DATASET = f"""
    SELECT dataset.document, dataset.sha256 AS document_hash, dataset.document_status, dataset.document_reason,
        dataset.listing_status, dataset.listing_reason, dataset.key AS entity_key, dataset.entity,
        variable.name AS variable, prompt.version AS prompt_version,
        cell.status AS cell_status, cell.reason AS cell_reason, cell.job_id AS job,
        {COLUMNS}, extraction.model, extraction.created_at AS answered_at
    FROM ({_ROWS}) AS dataset
    CROSS JOIN variable
    LEFT JOIN LATERAL (
        SELECT cell.*, prompt.version FROM cell JOIN prompt ON prompt.id = cell.prompt_id
        WHERE cell.document_id = dataset.document_id AND prompt.variable_id = variable.id
            AND {{of_the_row}} AND cell.status <> 'pending'
            AND (cast(:job AS bigint) IS NULL OR cell.job_id = :job)
        ORDER BY prompt.version DESC, cell.extraction_id IS NULL, cell.job_id DESC LIMIT 1
    ) AS cell ON true
    LEFT JOIN prompt ON prompt.id = cell.prompt_id
    LEFT JOIN extraction ON extraction.id = cell.extraction_id
    WHERE variable.project_id = :project AND variable.kind = 'variable' AND variable.position IS NOT NULL
    ORDER BY dataset.document, dataset.document_id, dataset.entity_position, variable.position
"""
# IS NOT DISTINCT FROM would say both at once, and use no index.
_OF_DOCUMENTS, _OF_THEIR_ENTITIES = (
    text(_DATASET.format(of_the_row=condition))
    for condition in ("cell.entity_id IS NULL", "cell.entity_id = dataset.entity_id")
)


def dataset(connection: Connection, project_id: int, job_id: int | None = None) -> list[DatasetCell]:
    """All cells of a project's dataset, row by row: of one job, or the newest of each."""
    return list(dataset_cells(connection, project_id, job_id))


def dataset_cells(connection: Connection, project_id: int, job_id: int | None = None) -> Iterator[DatasetCell]:
    """The same, one after the other: few of them are in memory at a time."""
    accounts = {account_.document_hash: account_ for account_ in document_accounts(connection, project_id, job_id)}
    values = {"project": project_id, "job": job_id}
    of_entities = connection.scalar(text(f"SELECT {_OF_ENTITIES}"), values)
    connection.execute(text("SET LOCAL cursor_tuple_fraction = 1"))  # all rows are wanted, not the first ones soon
    query = (_OF_THEIR_ENTITIES if of_entities else _OF_DOCUMENTS).execution_options(yield_per=_PAGE)
    for row in connection.execute(query, values):
        yield _dataset_cell(row, accounts.get(row.document_hash))


def _dataset_cell(row: Row[Any], account_: DocumentAccount | None) -> DatasetCell:
    extraction = from_row(row)
    lost = "failed" in (row.document_status, row.listing_status)
    status = "failed" if lost else row.cell_status if row.cell_status in ("failed", "skipped") else "not_asked"
    reason = row.document_reason or (row.listing_reason if row.listing_status == "failed" else row.cell_reason)
    return DatasetCell(
        document=row.document, document_hash=row.document_hash, variable=row.variable,
        status=extraction.status if extraction else status, reason=reason,
        entity=row.entity_key, entity_name=row.entity,
        completeness=account_.status if account_ and account_.status != "failed" else None,
        extraction=extraction, prompt_version=row.prompt_version, job=row.job, model=row.model,
        answered_at=row.answered_at,
    )  # fmt: skip


_ACCOUNTS = text(f"""
    SELECT document.name AS document, document.sha256,
        document.status AS document_status, document.reason AS document_reason,
        listing.cell_status AS listing_status, listing.reason AS listing_reason,
        listing.announced, listing.unread AS listing_unread, listing.flags AS listing_flags,
        cardinality(listing.entity_ids) AS listed,
        rows.asked > 0 OR listing.cell_status IS NOT NULL AS asked, rows.rows, rows.without,
        coalesce(rows.unread, '[]'::jsonb) AS unread
    FROM document
    {_LISTING}
    LEFT JOIN LATERAL (
        SELECT count(*) AS asked,
            count(DISTINCT coalesce(newest.entity_id, 0)) FILTER (WHERE newest.extraction_id IS NOT NULL) AS rows,
            count(*) FILTER (WHERE newest.extraction_id IS NULL) AS without,
            jsonb_agg(DISTINCT stretch) FILTER (WHERE stretch IS NOT NULL) AS unread
        FROM (
            SELECT DISTINCT ON (prompt.variable_id, cell.entity_id) cell.entity_id, cell.extraction_id
            FROM cell JOIN prompt ON prompt.id = cell.prompt_id JOIN variable ON variable.id = prompt.variable_id
            WHERE cell.document_id = document.id AND variable.project_id = :project AND variable.kind = 'variable'
                AND variable.position IS NOT NULL AND cell.status <> 'pending'
                AND (cast(:job AS bigint) IS NULL OR cell.job_id = :job)
                AND CASE WHEN {_OF_ENTITIES} THEN cell.entity_id = ANY (listing.entity_ids)
                    ELSE cell.entity_id IS NULL END
            ORDER BY prompt.variable_id, cell.entity_id, prompt.version DESC, cell.extraction_id IS NULL,
                cell.job_id DESC
        ) AS newest
        LEFT JOIN extraction ON extraction.id = newest.extraction_id
        LEFT JOIN LATERAL jsonb_array_elements(extraction.unread) AS stretch ON true
    ) AS rows ON true
    WHERE document.project_id = :project AND (cast(:job AS bigint) IS NULL
        OR EXISTS (SELECT FROM cell WHERE cell.job_id = :job AND cell.document_id = document.id))
    ORDER BY document.name, document.id
""")


def document_accounts(connection: Connection, project_id: int, job_id: int | None = None) -> list[DocumentAccount]:
    """What was read of each document of a project, and whether that is all."""
    found = connection.execute(_ACCOUNTS, {"project": project_id, "job": job_id})
    return [
        account(
            document=row.document,
            document_hash=row.sha256,
            failed=row.document_reason if row.document_status == "failed" else None,
            listing_failed=row.listing_reason,
            announced=row.announced,
            listed=row.listed,
            rows=row.rows or 0,
            without=row.without or 0,
            asked=row.asked,
            unread=_unread.validate_python([*(row.listing_unread or []), *row.unread]),
            unproved="evidence_absent" in (row.listing_flags or []),
        )
        for row in found
    ]
