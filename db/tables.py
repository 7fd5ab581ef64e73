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
        list[int]: ARRAY(BigInteger),
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
    """A column of the dataset, or the unit of observation where that is an entity.

    What leaves the codebook keeps its row, with `position` null.
    """

    __tablename__ = "variable"
    __table_args__ = (
        UniqueConstraint("project_id", "kind", "name_key"),
        CheckConstraint("kind IN ('variable', 'unit')", name="kind"),
    )

    id: Mapped[int] = _id()
    project_id: Mapped[int] = _to("project.id")
    kind: Mapped[str] = mapped_column(server_default=text("'variable'"))
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
    tokens: Mapped[int | None]  # as `winnow.tokens` counts them
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
    words: Mapped[bytes | None]  # as `winnow.documents.PackedWords` reads them


class Job(Base):
    """One run over documents × variables."""

    __tablename__ = "job"
    __table_args__ = (
        Index(None, "project_id", "id"),
        CheckConstraint("kind IN ('sample', 'full')", name="kind"),
        CheckConstraint(
            "status IN ('pending', 'running', 'paused', 'completed', 'completed_with_errors', 'failed', 'cancelled')",
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
    plan_key: Mapped[str | None]  # the hash of what its cells were planned from; null where rows are entities
    flow_run_id: Mapped[str | None]
    deployed: Mapped[bool] = mapped_column(server_default=text("false"))  # its runs are those of a deployment
    failed_documents: Mapped[int] = mapped_column(server_default=text("0"))  # in a row
    created_at: Mapped[datetime] = _now()
    finished_at: Mapped[datetime | None]


class Worker(Base):
    """A process that works on a job. While its lease runs, by the database's clock, nobody takes over its documents."""

    __tablename__ = "worker"

    id: Mapped[int] = _id()
    job_id: Mapped[int] = _to("job.id", index=True)
    name: Mapped[str]
    lease_until: Mapped[datetime]
    started_at: Mapped[datetime] = _now()


class Claim(Base):
    """A document of a job that a worker works on: what it holds, it alone writes."""

    __tablename__ = "claim"

    job_id: Mapped[int] = _to("job.id", primary_key=True)
    document_id: Mapped[int] = _to("document.id", primary_key=True, index=True)
    worker_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("worker.id", ondelete="SET NULL"), index=True
    )  # null: it was lost, and waits for another
    losses: Mapped[int] = mapped_column(server_default=text("0"))  # workers that died with it


class Call(Base):
    """One request to a model, from its intent to its raw reply, and what it cost."""

    __tablename__ = "call"
    __table_args__ = (
        CheckConstraint("status IN ('intended', 'answered', 'unusable', 'failed')", name="status"),
        CheckConstraint("status NOT IN ('answered', 'unusable') OR reply IS NOT NULL", name="reply_is_kept"),
        Index(None, "request_key"),
        Index(None, "job_id"),
    )

    id: Mapped[int] = _id()
    call_key: Mapped[str] = mapped_column(unique=True)
    request_key: Mapped[str]  # the call_key of the first try; others count the replies that could not be read
    job_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("job.id", ondelete="SET NULL"))  # who paid
    document_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("document.id", ondelete="SET NULL"), index=True
    )
    prompt_ids: Mapped[list[int]] = mapped_column(server_default=text("'{}'"))  # what was asked
    worker_id: Mapped[int | None] = mapped_column(BigInteger)  # who asks it
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
    probability: Mapped[float | None]
    cost: Mapped[float | None]  # US dollars; null where the model has no price
    cost_estimated: Mapped[bool] = mapped_column(server_default=text("false"))  # the provider did not count tokens
    seconds: Mapped[float | None]
    started_at: Mapped[datetime] = _now()
    answered_at: Mapped[datetime | None]


class Entity(Base):
    """A thing found in a document, where rows are entities. Its key is the same in every job."""

    __tablename__ = "entity"
    __table_args__ = (UniqueConstraint("document_id", "key"),)

    id: Mapped[int] = _id()
    document_id: Mapped[int] = _to("document.id")
    key: Mapped[str]
    name: Mapped[str]
    evidence: Mapped[list[Any]]
    created_at: Mapped[datetime] = _now()


class Extraction(Base):
    """What calls say about one variable of one document or entity. Jobs share it; feedback will attach to it."""

    __tablename__ = "extraction"
    __table_args__ = (
        UniqueConstraint("question_key", "document_id", "prompt_id", "entity_id", postgresql_nulls_not_distinct=True),
    )

    id: Mapped[int] = _id()
    question_key: Mapped[str]  # the hash of all that shapes it, known before any call
    document_id: Mapped[int] = _to("document.id", index=True)
    prompt_id: Mapped[int] = _to("prompt.id", index=True)
    entity_id: Mapped[int | None] = _to("entity.id", index=True)
    call_ids: Mapped[list[int]]  # the calls that it rests on
    entity_ids: Mapped[list[int]] = mapped_column(server_default=text("'{}'"))  # those it lists, in their order
    model: Mapped[str]
    status: Mapped[str]
    values: Mapped[list[Any]]
    confidence: Mapped[float]
    signals: Mapped[dict[str, Any]]
    flags: Mapped[list[str]]
    unread: Mapped[list[Any]]
    announced: Mapped[int | None]
    detail: Mapped[str | None]
    default: Mapped[Any | None] = mapped_column(JSONB(none_as_null=True))
    created_at: Mapped[datetime] = _now()


class Cell(Base):
    """One (document, variable) or (document, entity, variable) of a job: the unit of work."""

    __tablename__ = "cell"
    __table_args__ = (
        UniqueConstraint("job_id", "document_id", "entity_id", "prompt_id", postgresql_nulls_not_distinct=True),
        CheckConstraint("status IN ('pending', 'extracted', 'flagged', 'failed', 'skipped')", name="status"),
        CheckConstraint("(status IN ('extracted', 'flagged')) = (extraction_id IS NOT NULL)", name="has_extraction"),
        Index(
            "ix_cell_open", "job_id", "document_id", "id", postgresql_where=text("status = 'pending' OR NOT checked")
        ),
        Index(None, "job_id", "status"),
        Index(None, "document_id", "prompt_id", "entity_id", "job_id"),
        Index("ix_cell_check_key", "check_key", postgresql_where=text("check_key IS NOT NULL")),
        Index(None, "extraction_id"),
    )

    id: Mapped[int] = _id()
    job_id: Mapped[int] = _to("job.id")
    document_id: Mapped[int] = _to("document.id")
    prompt_id: Mapped[int] = _to("prompt.id")
    entity_id: Mapped[int | None] = _to("entity.id", index=True)
    layer: Mapped[int] = mapped_column(server_default=text("0"))  # parents stand in lower layers
    question_key: Mapped[str]
    status: Mapped[str] = mapped_column(server_default=text("'pending'"))
    check_key: Mapped[str | None]  # the hash of all that the checks of its row see; null: none is about it
    checked: Mapped[bool] = mapped_column(server_default=text("true"))  # false: its row's checks are still to be made
    reason: Mapped[str | None]
    detail: Mapped[str | None]
    extraction_id: Mapped[int | None] = _to("extraction.id")
    tries: Mapped[int] = mapped_column(server_default=text("0"))  # that failed in a way that passes
    not_before: Mapped[datetime | None]  # when the next try is due


class Provider(Base):
    """A provider key, as all workers that use it see it."""

    __tablename__ = "provider"
    __table_args__ = (
        CheckConstraint("state IN ('closed', 'open', 'half_open')", name="state"),
        CheckConstraint("(state = 'closed') = (opened_at IS NULL)", name="opened"),
    )

    key: Mapped[str] = mapped_column(primary_key=True)  # a keyed hash: nothing secret can be read out of it
    not_before: Mapped[datetime | None]  # the provider asked to wait so long
    state: Mapped[str] = mapped_column(server_default=text("'closed'"))  # of its circuit breaker
    failures: Mapped[int] = mapped_column(server_default=text("0"))  # in a row
    successes: Mapped[int] = mapped_column(server_default=text("0"))  # of probes, since it was opened
    opened_at: Mapped[datetime | None]
    probe_until: Mapped[datetime | None]  # a worker tries whether the provider is back
    next_request: Mapped[datetime | None]  # when its limit of requests has a place again
    next_tokens: Mapped[datetime | None]  # the same of its limit of tokens


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
