"""The tables. Constraints have stable names, so that migrations can speak of them."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    MetaData,
    Table,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TEXT
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Types are PostgreSQL's: text without a length, timestamps with a zone, JSONB."""

    if TYPE_CHECKING:
        __table__: ClassVar[Table]  # queries are written on the tables, not on mapped objects

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 # read by SQLAlchemy when the class is made
        str: TEXT,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
        list[str]: ARRAY(TEXT),
    }


def _id() -> Mapped[int]:
    return mapped_column(BigInteger, Identity(always=True), primary_key=True)


def _to(column: str, **options: Any) -> Mapped[Any]:
    return mapped_column(BigInteger, ForeignKey(column, ondelete="CASCADE"), **options)


def _now() -> Mapped[datetime]:
    return mapped_column(server_default=func.now())


class Project(Base):
    """A corpus and its codebook."""

    __tablename__ = "project"

    id: Mapped[int] = _id()
    name: Mapped[str]
    name_key: Mapped[str] = mapped_column(unique=True)  # what makes two names the same
    codebook: Mapped[dict[str, Any]]  # the newest, whole
    version: Mapped[int]
    created_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _now()


class Variable(Base):
    """A column of the dataset. One that leaves the codebook keeps its row, with `position` null."""

    __tablename__ = "variable"
    __table_args__ = (UniqueConstraint("project_id", "name_key"),)

    id: Mapped[int] = _id()
    project_id: Mapped[int] = _to("project.id")
    name: Mapped[str]
    name_key: Mapped[str]
    position: Mapped[int | None]


class Prompt(Base):
    """A version of a variable: its definition and the text that models see. Never changed, only superseded."""

    __tablename__ = "prompt"
    __table_args__ = (UniqueConstraint("variable_id", "version"),)

    id: Mapped[int] = _id()
    variable_id: Mapped[int] = _to("variable.id")
    version: Mapped[int]
    definition: Mapped[dict[str, Any]]
    text: Mapped[str]
    created_at: Mapped[datetime] = _now()


class Document(Base):
    """One file of a project, known by the SHA-256 of its bytes."""

    __tablename__ = "document"
    __table_args__ = (
        UniqueConstraint("project_id", "sha256"),
        Index(None, "sha256"),
        CheckConstraint("status IN ('parsed', 'failed')", name="status"),
        CheckConstraint("(status = 'parsed') = (text IS NOT NULL)", name="parsed_has_text"),
    )

    id: Mapped[int] = _id()
    project_id: Mapped[int] = _to("project.id")
    sha256: Mapped[str]
    name: Mapped[str]
    other_names: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[str]
    reason: Mapped[str | None]
    detail: Mapped[str | None]
    media_type: Mapped[str | None]
    parser: Mapped[str | None]
    pages: Mapped[int | None]
    words: Mapped[int | None]
    text: Mapped[str | None]
    text_hash: Mapped[str | None]
    created_at: Mapped[datetime] = _now()


class Block(Base):
    """A title, paragraph, list item or table: a stretch of its document's text."""

    __tablename__ = "block"

    document_id: Mapped[int] = _to("document.id", primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    start: Mapped[int]
    end: Mapped[int]
    page: Mapped[int | None]
    box: Mapped[list[Any] | None]  # x0, y0, x1, y1 in points from the page's top left


class Job(Base):
    """One run over documents × variables."""

    __tablename__ = "job"
    __table_args__ = (
        Index(None, "project_id", "id"),
        CheckConstraint("kind IN ('sample', 'full')", name="kind"),
        CheckConstraint(
            "status IN ('running', 'paused', 'completed', 'completed_with_errors', 'cancelled')",
            name="status",
        ),
    )

    id: Mapped[int] = _id()
    project_id: Mapped[int] = _to("project.id")
    kind: Mapped[str]
    status: Mapped[str]
    reason: Mapped[str | None]
    model: Mapped[str]
    options: Mapped[dict[str, Any]]
    rules: Mapped[str]  # the constant part of its prompts
    flow_run_id: Mapped[str | None]
    created_at: Mapped[datetime] = _now()
    finished_at: Mapped[datetime | None]


class Call(Base):
    """One request to a model, from its intent to its raw reply."""

    __tablename__ = "call"
    __table_args__ = (
        CheckConstraint("status IN ('intended', 'answered', 'unusable', 'failed')", name="status"),
        CheckConstraint("status NOT IN ('answered', 'unusable') OR reply IS NOT NULL", name="reply_is_kept"),
        Index(None, "request_key"),
    )

    id: Mapped[int] = _id()
    call_key: Mapped[str] = mapped_column(unique=True)
    request_key: Mapped[str]  # the call_key of the first try; others count the replies that could not be read
    model: Mapped[str]
    parameters: Mapped[dict[str, Any]]
    status: Mapped[str]
    attempts: Mapped[int] = mapped_column(server_default=text("1"))
    reply: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))  # as it came: JSONB refuses \\u0000
    error: Mapped[str | None]
    finish_reason: Mapped[str | None]
    prompt_tokens: Mapped[int | None]
    cached_tokens: Mapped[int | None]
    completion_tokens: Mapped[int | None]
    seconds: Mapped[float | None]
    started_at: Mapped[datetime] = _now()
    answered_at: Mapped[datetime | None]


class Extraction(Base):
    """What a call says about one variable of one document. Jobs share it; feedback will attach to it."""

    __tablename__ = "extraction"
    __table_args__ = (UniqueConstraint("document_id", "prompt_id", "call_id"),)

    id: Mapped[int] = _id()
    document_id: Mapped[int] = _to("document.id")
    prompt_id: Mapped[int] = _to("prompt.id", index=True)
    call_id: Mapped[int] = _to("call.id", index=True)
    status: Mapped[str]
    values: Mapped[list[Any]]
    confidence: Mapped[float]
    flags: Mapped[list[str]]
    default: Mapped[Any | None] = mapped_column(JSONB(none_as_null=True))
    created_at: Mapped[datetime] = _now()


class Cell(Base):
    """One (document, variable) of a job: the unit of work and the Prefect task run."""

    __tablename__ = "cell"
    __table_args__ = (
        UniqueConstraint("job_id", "document_id", "prompt_id"),
        CheckConstraint("status IN ('pending', 'extracted', 'flagged', 'failed', 'skipped')", name="status"),
        CheckConstraint("(status IN ('extracted', 'flagged')) = (extraction_id IS NOT NULL)", name="has_extraction"),
        Index("ix_cell_pending", "job_id", "id", postgresql_where=text("status = 'pending'")),
        Index(None, "job_id", "status"),
        Index(None, "document_id", "prompt_id", "job_id"),
    )

    id: Mapped[int] = _id()
    job_id: Mapped[int] = _to("job.id")
    document_id: Mapped[int] = _to("document.id")
    prompt_id: Mapped[int] = _to("prompt.id")
    call_key: Mapped[str]
    request_key: Mapped[str]
    status: Mapped[str] = mapped_column(server_default=text("'pending'"))
    reason: Mapped[str | None]
    detail: Mapped[str | None]
    extraction_id: Mapped[int | None] = _to("extraction.id")


class JobEvent(Base):
    """What happened to a job: when, what, by whom and why."""

    __tablename__ = "job_event"
    __table_args__ = (Index(None, "job_id", "id"),)

    id: Mapped[int] = _id()
    job_id: Mapped[int] = _to("job.id")
    at: Mapped[datetime] = _now()
    event: Mapped[str]
    who: Mapped[str]
    detail: Mapped[str | None]
