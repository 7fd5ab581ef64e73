"""Extractions, and the dataset that they make up."""

import json
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, Row, text

from winnow.extractions import DatasetCell, Extraction, FoundValue, Value

_values = TypeAdapter(tuple[FoundValue, ...])
_default: TypeAdapter[Value | None] = TypeAdapter(Value | None)


_SAVE = text("""
    WITH saved AS (
        INSERT INTO extraction (document_id, prompt_id, call_id, status, values, confidence, flags, "default")
        VALUES (:document, :prompt, :call, :status, cast(:values AS jsonb), :confidence, :flags,
                cast(:default AS jsonb))
        ON CONFLICT (document_id, prompt_id, call_id) DO UPDATE SET status = excluded.status,
            values = excluded.values, confidence = excluded.confidence, flags = excluded.flags,
            "default" = excluded."default"
        RETURNING id
    )
    UPDATE cell SET status = :cell_status, extraction_id = saved.id FROM saved
    WHERE cell.id = :cell AND cell.status = 'pending'
""")


def save(
    connection: Connection,
    extraction: Extraction,
    *,
    cell_id: int,
    call_id: int,
    document_id: int,
    prompt_id: int,
) -> None:
    """Store what a call says about a cell, and end the cell. The same call read again replaces its extraction."""
    values = {
        "document": document_id,
        "prompt": prompt_id,
        "call": call_id,
        "status": extraction.status,
        "values": _values.dump_json(extraction.values).decode(),
        "confidence": extraction.confidence,
        "flags": list(extraction.flags),
        "default": None if extraction.default is None else json.dumps(extraction.default),
        "cell": cell_id,
        "cell_status": "flagged" if extraction.flagged else "extracted",
    }
    connection.execute(_SAVE, values)


# Every parsed or failed document × every variable of the codebook, with the newest job's cell that has an extraction
# of the variable's current prompt, or else the newest cell that failed.
_DATASET = text("""
    SELECT document.name AS document, document.sha256 AS document_hash, document.status AS document_status,
        document.reason AS document_reason, variable.name AS variable, prompt.version AS prompt_version,
        cell.status AS cell_status, cell.reason AS cell_reason, cell.job_id AS job,
        extraction.status, extraction.values, extraction.confidence, extraction.flags, extraction.default,
        call.model, call.answered_at
    FROM document
    CROSS JOIN variable
    LEFT JOIN LATERAL (
        SELECT cell.*, prompt.version FROM cell JOIN prompt ON prompt.id = cell.prompt_id
        WHERE cell.document_id = document.id AND prompt.variable_id = variable.id
            AND cell.status IN ('extracted', 'flagged', 'failed')
            AND (cast(:job AS bigint) IS NULL OR cell.job_id = :job)
        ORDER BY prompt.version DESC, cell.extraction_id IS NULL, cell.job_id DESC LIMIT 1
    ) AS cell ON true
    LEFT JOIN prompt ON prompt.id = cell.prompt_id
    LEFT JOIN extraction ON extraction.id = cell.extraction_id
    LEFT JOIN call ON call.id = extraction.call_id
    WHERE document.project_id = :project AND variable.project_id = :project AND variable.position IS NOT NULL
    ORDER BY document.name, document.id, variable.position
""")


def dataset(connection: Connection, project_id: int, job_id: int | None = None) -> list[DatasetCell]:
    """All cells of a project's dataset, document by document: of one job, or the newest of each."""
    rows = connection.execute(_DATASET, {"project": project_id, "job": job_id})
    return [_dataset_cell(row) for row in rows]


def _dataset_cell(row: Row[Any]) -> DatasetCell:
    extraction = None
    if row.status is not None:
        extraction = Extraction(
            status=row.status, values=_values.validate_python(row.values), confidence=row.confidence,
            flags=tuple(row.flags), default=_default.validate_python(row.default),
        )  # fmt: skip
    failed = row.cell_status == "failed" or row.document_status == "failed"
    return DatasetCell(
        document=row.document, document_hash=row.document_hash, variable=row.variable,
        status=extraction.status if extraction else "failed" if failed else "not_asked",
        reason=row.document_reason if row.document_status == "failed" else row.cell_reason,
        extraction=extraction, prompt_version=row.prompt_version, job=row.job, model=row.model,
        answered_at=row.answered_at,
    )  # fmt: skip
