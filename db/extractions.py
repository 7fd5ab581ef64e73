"""Extractions, and the dataset that they make up."""

from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, Row, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from db import tables
from winnow.extractions import DatasetCell, Extraction, FoundValue

_extraction, _cell = tables.Extraction.__table__, tables.Cell.__table__
_values = TypeAdapter(tuple[FoundValue, ...])


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
        "status": extraction.status,
        "values": _values.dump_python(extraction.values, mode="json"),
        "confidence": extraction.confidence,
        "flags": list(extraction.flags),
        "default": extraction.default,
    }
    extraction_id = connection.execute(
        upsert(_extraction)
        .values(document_id=document_id, prompt_id=prompt_id, call_id=call_id, **values)
        .on_conflict_do_update(index_elements=["document_id", "prompt_id", "call_id"], set_=values)
        .returning(_extraction.c.id)
    ).scalar_one()
    connection.execute(
        update(_cell)
        .where(_cell.c.id == cell_id, _cell.c.status == "pending")
        .values(status="flagged" if extraction.flagged else "extracted", extraction_id=extraction_id)
    )


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
            flags=tuple(row.flags), default=row.default,
        )  # fmt: skip
    failed = row.cell_status == "failed" or row.document_status == "failed"
    return DatasetCell(
        document=row.document, document_hash=row.document_hash, variable=row.variable,
        status=extraction.status if extraction else "failed" if failed else "not_asked",
        reason=row.document_reason if row.document_status == "failed" else row.cell_reason,
        extraction=extraction, prompt_version=row.prompt_version, job=row.job, model=row.model,
        answered_at=row.answered_at,
    )  # fmt: skip
