"""Documents with their text and blocks."""

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Any

from sqlalchemy import Connection, any_, func, insert, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from db import tables
from winnow.documents import Block, Box, PackedWords, ParsedDocument
from winnow.exceptions import DocumentError
from winnow.tokens import count_tokens

_document, _block = tables.Document.__table__, tables.Block.__table__

_PAGE = 1000


@dataclass(frozen=True, kw_only=True)
class StoredDocument:
    """A document without its text."""

    id: int
    sha256: str
    name: str
    status: str
    reason: str | None
    detail: str | None
    words: int | None
    tokens: int | None
    pages: int | None
    text_hash: str | None


@dataclass(frozen=True, kw_only=True)
class DocumentContent:
    """A document's text with its blocks, in order."""

    sha256: str  # of the file's bytes
    text: str
    text_hash: str
    tokens: int
    blocks: tuple[Block, ...]


def find(connection: Connection, project_id: int, sha256: str) -> StoredDocument | None:
    """The project's document with these bytes."""
    chosen = _listing().where(_document.c.project_id == project_id, _document.c.sha256 == sha256)
    row = connection.execute(chosen).one_or_none()
    return _stored(row) if row else None


def of_project(connection: Connection, project_id: int) -> list[StoredDocument]:
    """All documents of a project, in the order of their names."""
    chosen = _listing().where(_document.c.project_id == project_id).order_by(_document.c.name, _document.c.id)
    return [_stored(row) for row in connection.execute(chosen)]


def readable(connection: Connection, project_id: int) -> Iterator[StoredDocument]:
    """A project's documents that have a text, in the order of their names, few of them in memory at a time."""
    chosen = _listing().where(_document.c.project_id == project_id, _document.c.status == "parsed")
    ordered = chosen.order_by(_document.c.name, _document.c.id)
    return map(_stored, connection.execute(ordered.execution_options(yield_per=_PAGE)))


def statuses(connection: Connection, project_id: int) -> set[str]:
    """Which statuses a project's documents have."""
    return set(connection.scalars(select(_document.c.status).where(_document.c.project_id == project_id).distinct()))


def _listing() -> Any:
    return select(*(_document.c[field] for field in StoredDocument.__dataclass_fields__))


def _stored(row: Any) -> StoredDocument:
    return StoredDocument(**row._mapping)


def content(connection: Connection, document_id: int) -> DocumentContent:
    """A parsed document's text and blocks."""
    columns = (_document.c.sha256, _document.c.text, _document.c.text_hash, _document.c.tokens)
    row = connection.execute(select(*columns).where(_document.c.id == document_id)).one()
    rows = connection.execute(select(_block).where(_block.c.document_id == document_id).order_by(_block.c.position))
    blocks = tuple(_block_from(row) for row in rows)
    return DocumentContent(
        sha256=row.sha256, text=row.text, text_hash=row.text_hash, tokens=row.tokens or 0, blocks=blocks
    )


def _block_from(row: Any) -> Block:
    box = Box(x0=row.box[0], y0=row.box[1], x1=row.box[2], y1=row.box[3]) if row.box else None
    words = PackedWords(row.words) if row.words else ()
    return Block(kind=row.kind, start=row.start, end=row.end, page=row.page, box=box, words=words)


def note_name(connection: Connection, document_id: int, name: str) -> bool:
    """Note another name of the same bytes; False where it is known already."""
    noted = connection.execute(
        update(_document)
        .where(
            _document.c.id == document_id,
            _document.c.name != name,
            ~(literal(name) == any_(_document.c.other_names)),
        )
        .values(other_names=func.array_append(_document.c.other_names, name))
    )
    return noted.rowcount > 0


def save_parsed(
    connection: Connection,
    project_id: int,
    *,
    sha256: str,
    name: str,
    size_bytes: int,
    parsed: ParsedDocument,
) -> int:
    """Store a parsed document; one that had failed before is mended. Returns its id."""
    values = {
        "status": "parsed", "reason": None, "detail": None, "media_type": parsed.media_type, "parser": parsed.parser,
        "pages": parsed.pages, "words": parsed.words, "tokens": count_tokens(parsed.text),
        "text": parsed.text, "text_hash": parsed.text_hash,
    }  # fmt: skip
    document_id = _save(connection, project_id, sha256, name, size_bytes, values)
    blocks = [
        {
            "document_id": document_id, "position": position, "kind": block.kind, "start": block.start,
            "end": block.end, "page": block.page, "box": list(astuple(block.box)) if block.box else None,
            "words": PackedWords.pack(block.words) or None,
        }
        for position, block in enumerate(parsed.blocks)
    ]  # fmt: skip
    connection.execute(_block.delete().where(_block.c.document_id == document_id))
    connection.execute(insert(_block), blocks)
    return document_id


def save_failed(
    connection: Connection, project_id: int, *, sha256: str, name: str, size_bytes: int, error: DocumentError
) -> int:
    """Store a document that gave no text, with the reason; one that has its text keeps it. Returns its id."""
    values = {"status": "failed", "reason": error.reason, "detail": str(error)}
    return _save(connection, project_id, sha256, name, size_bytes, values)


def remove_failed(connection: Connection, project_id: int, sha256: str) -> None:
    """Forget a file that could not be opened. One that has its text stays."""
    same = (_document.c.project_id == project_id, _document.c.sha256 == sha256)
    connection.execute(_document.delete().where(*same, _document.c.status == "failed"))


def _save(
    connection: Connection, project_id: int, sha256: str, name: str, size_bytes: int, values: dict[str, Any]
) -> int:
    identity = {"project_id": project_id, "sha256": sha256, "name": name, "size_bytes": size_bytes}
    statement = (
        upsert(_document)
        .values(**identity, **values)
        .on_conflict_do_update(
            index_elements=["project_id", "sha256"],
            set_=values,
            where=or_(_document.c.status == "failed", literal(values["status"]) == "parsed"),
        )
    )
    same = (_document.c.project_id == project_id, _document.c.sha256 == sha256)
    saved = connection.scalar(statement.returning(_document.c.id))
    return int(saved or connection.execute(select(_document.c.id).where(*same)).scalar_one())


def copy_from_other_project(connection: Connection, project_id: int, *, sha256: str, name: str) -> int | None:
    """Take over what another project has parsed from the same bytes. None where there is none."""
    source = connection.execute(
        select(_document)
        .where(_document.c.sha256 == sha256, _document.c.status == "parsed", _document.c.project_id != project_id)
        .order_by(_document.c.id.desc())
        .limit(1)
    ).one_or_none()
    if source is None:
        return None
    copied = ("media_type", "parser", "pages", "words", "tokens", "text", "text_hash", "status")
    values = {column: source._mapping[column] for column in copied} | {"reason": None, "detail": None}
    document_id = _save(connection, project_id, sha256, name, source.size_bytes, values)
    columns = [column for column in _block.c if column.name != "document_id"]
    chosen = select(literal(document_id), *columns).where(_block.c.document_id == source.id)
    connection.execute(_block.delete().where(_block.c.document_id == document_id))
    connection.execute(insert(_block).from_select(["document_id", *(column.name for column in columns)], chosen))
    return document_id
