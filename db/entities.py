"""Entities: the things found in documents that rows are about."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, Row, text

from winnow.entities import FoundEntity
from winnow.extractions import Evidence

_evidence = TypeAdapter(tuple[Evidence, ...])
_evidences = TypeAdapter(list[tuple[Evidence, ...]])

_PAGE = 50  # documents whose lists are in memory at a time

_SAVE = text("""
    INSERT INTO entity (document_id, key, name, evidence)
    SELECT :document, key, name, evidence
    FROM unnest(cast(:keys AS text[]), cast(:names AS text[])) WITH ORDINALITY AS given (key, name, position)
        JOIN jsonb_array_elements(cast(:evidence AS jsonb)) WITH ORDINALITY AS proofs (evidence, position)
        USING (position)
    ON CONFLICT (document_id, key) DO UPDATE SET name = excluded.name, evidence = excluded.evidence
    RETURNING key, id
""")


def save(connection: Connection, document_id: int, found: Sequence[FoundEntity]) -> list[int]:
    """Store the entities of a document; those known already keep their ids. Returns the ids in the order given."""
    values: dict[str, Any] = {
        "document": document_id,
        "keys": [entity.key for entity in found],
        "names": [entity.name for entity in found],
        "evidence": _evidences.dump_json([entity.evidence for entity in found]).decode(),
    }
    ids = {row.key: row.id for row in connection.execute(_SAVE, values)}
    return [ids[entity.key] for entity in found]


@dataclass(frozen=True, kw_only=True)
class ListedDocument:
    """A document whose entities were listed, with them and their ids."""

    id: int
    text_hash: str
    tokens: int
    entities: tuple[tuple[int, FoundEntity], ...]


def listed(connection: Connection, job_id: int) -> Iterator[ListedDocument]:
    """The documents of a job whose lists of entities, by today's codebook, are there."""
    return chain.from_iterable(listed_pages(connection, job_id))


def listed_pages(connection: Connection, job_id: int) -> Iterator[list[ListedDocument]]:
    """The same, a few documents at a time, as their lists may be long."""
    query = text("""
        SELECT document.id, document.text_hash, coalesce(document.tokens, 0) AS tokens, newest.entity_ids
        FROM (
            SELECT DISTINCT ON (cell.document_id) cell.document_id, extraction.entity_ids
            FROM cell JOIN prompt ON prompt.id = cell.prompt_id JOIN variable ON variable.id = prompt.variable_id
                LEFT JOIN extraction ON extraction.id = cell.extraction_id
            WHERE cell.job_id = :job AND variable.kind = 'unit' AND variable.position IS NOT NULL
            ORDER BY cell.document_id, prompt.version DESC
        ) AS newest JOIN document ON document.id = newest.document_id
        WHERE newest.entity_ids IS NOT NULL ORDER BY document.id
    """)
    rows = connection.execute(query.execution_options(yield_per=_PAGE), {"job": job_id})
    for page in rows.partitions(_PAGE):
        known = dict(_in_order(connection, [entity_id for row in page for entity_id in row.entity_ids]))
        yield [
            ListedDocument(
                id=row.id, text_hash=row.text_hash, tokens=row.tokens,
                entities=tuple((entity_id, known[entity_id]) for entity_id in row.entity_ids if entity_id in known),
            )
            for row in page
        ]  # fmt: skip


def of_question(connection: Connection, document_id: int, question_key: str) -> list[tuple[int, FoundEntity]] | None:
    """The entities that were listed in answer to a question, with their ids; None where it is not answered."""
    query = text("SELECT entity_ids FROM extraction WHERE document_id = :document AND question_key = :key LIMIT 1")
    ids = connection.scalar(query, {"document": document_id, "key": question_key})
    return None if ids is None else _in_order(connection, ids)


def _in_order(connection: Connection, ids: Sequence[int]) -> list[tuple[int, FoundEntity]]:
    query = text("""
        SELECT entity.id, key, name, evidence FROM unnest(cast(:ids AS bigint[])) WITH ORDINALITY
            AS listed (id, position) JOIN entity ON entity.id = listed.id ORDER BY position
    """)
    return [(row.id, _from_row(row)) for row in connection.execute(query, {"ids": list(ids)})]


def get(connection: Connection, entity_id: int) -> FoundEntity:
    """An entity as it was found last."""
    row = connection.execute(text("SELECT key, name, evidence FROM entity WHERE id = :id"), {"id": entity_id}).one()
    return _from_row(row)


def _from_row(row: Row[Any]) -> FoundEntity:
    return FoundEntity(key=row.key, name=row.name, evidence=_evidence.validate_python(row.evidence))
