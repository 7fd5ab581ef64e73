"""The engine: entities, workers, what calls cost, and extractions that rest on several calls"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_JSONB = postgresql.JSONB(astext_type=sa.Text())
_IDS = postgresql.ARRAY(sa.BigInteger())


def upgrade() -> None:
    op.add_column("variable", sa.Column("kind", sa.TEXT(), server_default=sa.text("'variable'"), nullable=False))
    op.create_check_constraint(op.f("ck_variable_kind"), "variable", "kind IN ('variable', 'unit')")
    op.drop_constraint(op.f("uq_variable_project_id_name_key"), "variable")
    op.create_unique_constraint(
        op.f("uq_variable_project_id_kind_name_key"), "variable", ["project_id", "kind", "name_key"]
    )
    op.add_column("document", sa.Column("tokens", sa.Integer(), nullable=True))
    op.execute("UPDATE document SET tokens = length(text) / 3 + 1 WHERE text IS NOT NULL")
    op.add_column("block", sa.Column("words", sa.LargeBinary(), nullable=True))
    op.create_table(
        "worker",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_worker")),
    )
    op.create_table(
        "entity",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("document_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.TEXT(), nullable=False),
        sa.Column("name", sa.TEXT(), nullable=False),
        sa.Column("evidence", _JSONB, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["document_id"], ["document.id"], name=op.f("fk_entity_document_id_document"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_entity")),
        sa.UniqueConstraint("document_id", "key", name=op.f("uq_entity_document_id_key")),
    )
    _upgrade_call()
    _upgrade_extraction()
    _upgrade_cell()


def _upgrade_call() -> None:
    op.add_column("call", sa.Column("job_id", sa.BigInteger(), nullable=True))
    op.add_column("call", sa.Column("document_id", sa.BigInteger(), nullable=True))
    op.add_column("call", sa.Column("prompt_ids", _IDS, server_default=sa.text("'{}'"), nullable=False))
    op.add_column("call", sa.Column("worker_id", sa.BigInteger(), nullable=True))
    op.add_column("call", sa.Column("probability", sa.Double(), nullable=True))
    op.add_column("call", sa.Column("cost", sa.Double(), nullable=True))
    op.add_column("call", sa.Column("cost_estimated", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.create_foreign_key(op.f("fk_call_job_id_job"), "call", "job", ["job_id"], ["id"], ondelete="SET NULL")
    op.create_foreign_key(
        op.f("fk_call_document_id_document"), "call", "document", ["document_id"], ["id"], ondelete="SET NULL"
    )
    op.create_index(op.f("ix_call_job_id"), "call", ["job_id"])
    op.create_index(op.f("ix_call_document_id"), "call", ["document_id"])
    op.execute("""
        UPDATE call SET document_id = asked.document_id, prompt_ids = ARRAY[asked.prompt_id], job_id = asked.job_id
        FROM (
            SELECT DISTINCT ON (call_key) call_key, document_id, prompt_id, job_id FROM cell ORDER BY call_key, job_id
        ) AS asked
        WHERE asked.call_key = call.call_key
    """)


def _upgrade_extraction() -> None:
    op.add_column("extraction", sa.Column("question_key", sa.TEXT(), nullable=True))
    op.add_column("extraction", sa.Column("entity_id", sa.BigInteger(), nullable=True))
    op.add_column("extraction", sa.Column("call_ids", _IDS, nullable=True))
    op.add_column("extraction", sa.Column("entity_ids", _IDS, server_default=sa.text("'{}'"), nullable=False))
    op.add_column("extraction", sa.Column("model", sa.TEXT(), nullable=True))
    op.add_column("extraction", sa.Column("signals", _JSONB, nullable=True))
    op.add_column("extraction", sa.Column("unread", _JSONB, server_default=sa.text("'[]'"), nullable=False))
    op.add_column("extraction", sa.Column("announced", sa.Integer(), nullable=True))
    op.add_column("extraction", sa.Column("detail", sa.TEXT(), nullable=True))
    op.alter_column("extraction", "unread", server_default=None)
    # Evidence now is a list of quotes, each with a list of places.
    op.execute("""
        UPDATE extraction SET question_key = call.call_key, call_ids = ARRAY[call.id], model = call.model,
            signals = jsonb_build_object('said', confidence),
            values = (SELECT coalesce(jsonb_agg(CASE WHEN value->'evidence' = 'null' THEN value || '{"evidence": []}'
                ELSE jsonb_set(value, '{evidence}', jsonb_build_array(jsonb_build_object(
                    'quote', value->'evidence'->'quote', 'mark', value->'evidence'->'mark',
                    'score', CASE WHEN value->'evidence'->>'mark' = 'absent' THEN 0 ELSE 1 END,
                    'places', CASE WHEN value->'evidence'->'start' = 'null' THEN '[]'::jsonb
                        ELSE jsonb_build_array(jsonb_build_object('start', value->'evidence'->'start',
                            'end', value->'evidence'->'end', 'page', value->'evidence'->'page',
                            'boxes', CASE WHEN value->'evidence'->'box' = 'null' THEN '[]'::jsonb
                                ELSE jsonb_build_array(value->'evidence'->'box') END)) END)))
                END ORDER BY place), '[]'::jsonb)
                FROM jsonb_array_elements(values) WITH ORDINALITY AS listed (value, place))
        FROM call WHERE call.id = extraction.call_id
    """)
    for column in ("question_key", "call_ids", "model", "signals"):
        op.alter_column("extraction", column, nullable=False)
    op.drop_column("extraction", "call_id")  # and the unique constraint, the index and the foreign key with it
    op.create_foreign_key(
        op.f("fk_extraction_entity_id_entity"), "extraction", "entity", ["entity_id"], ["id"], ondelete="CASCADE"
    )
    op.create_index(op.f("ix_extraction_entity_id"), "extraction", ["entity_id"])
    op.create_index(op.f("ix_extraction_document_id"), "extraction", ["document_id"])
    op.create_unique_constraint(
        op.f("uq_extraction_question_key_document_id_prompt_id_entity_id"),
        "extraction",
        ["question_key", "document_id", "prompt_id", "entity_id"],
        postgresql_nulls_not_distinct=True,
    )


def _upgrade_cell() -> None:
    # Not renamed: from PostgreSQL 18 on, the name of a NOT NULL constraint would stay behind.
    op.add_column("cell", sa.Column("question_key", sa.TEXT(), nullable=True))
    op.execute("UPDATE cell SET question_key = call_key")
    op.alter_column("cell", "question_key", nullable=False)
    op.drop_column("cell", "call_key")
    op.drop_column("cell", "request_key")
    op.add_column("cell", sa.Column("entity_id", sa.BigInteger(), nullable=True))
    op.add_column("cell", sa.Column("layer", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("cell", sa.Column("check_key", sa.TEXT(), nullable=True))
    op.add_column("cell", sa.Column("checked", sa.Boolean(), server_default=sa.text("true"), nullable=False))
    op.create_foreign_key(op.f("fk_cell_entity_id_entity"), "cell", "entity", ["entity_id"], ["id"], ondelete="CASCADE")
    op.drop_constraint(op.f("uq_cell_job_id_document_id_prompt_id"), "cell")
    op.create_unique_constraint(
        op.f("uq_cell_job_id_document_id_entity_id_prompt_id"),
        "cell",
        ["job_id", "document_id", "entity_id", "prompt_id"],
        postgresql_nulls_not_distinct=True,
    )
    op.drop_index("ix_cell_pending", "cell")
    op.create_index(
        "ix_cell_open", "cell", ["job_id", "document_id", "id"],
        postgresql_where=sa.text("status = 'pending' OR NOT checked"),
    )  # fmt: skip
    op.drop_index(op.f("ix_cell_document_id_prompt_id_job_id"), "cell")
    op.create_index(
        op.f("ix_cell_document_id_prompt_id_entity_id_job_id"),
        "cell",
        ["document_id", "prompt_id", "entity_id", "job_id"],
    )
    op.create_index("ix_cell_check_key", "cell", ["check_key"], postgresql_where=sa.text("check_key IS NOT NULL"))
    op.create_index(op.f("ix_cell_entity_id"), "cell", ["entity_id"])
    op.create_index(op.f("ix_cell_extraction_id"), "cell", ["extraction_id"])


def downgrade() -> None:
    _downgrade_cell()
    _downgrade_extraction()
    for column in ("job_id", "document_id", "prompt_ids", "worker_id", "probability", "cost", "cost_estimated"):
        op.drop_column("call", column)
    op.drop_table("entity")
    op.drop_table("worker")
    op.drop_column("block", "words")
    op.drop_column("document", "tokens")
    op.execute("DELETE FROM variable WHERE kind <> 'variable'")
    op.drop_constraint(op.f("uq_variable_project_id_kind_name_key"), "variable")
    op.drop_column("variable", "kind")
    op.create_unique_constraint(op.f("uq_variable_project_id_name_key"), "variable", ["project_id", "name_key"])


def _downgrade_cell() -> None:
    # What the older schema cannot hold goes: rows of entities, and extractions that rest on no call.
    op.execute("DELETE FROM cell WHERE entity_id IS NOT NULL")
    op.execute("""
        UPDATE cell SET status = 'pending', extraction_id = NULL
        FROM extraction WHERE extraction.id = cell.extraction_id AND cardinality(extraction.call_ids) = 0
    """)
    op.drop_index("ix_cell_open", "cell")
    op.drop_index(op.f("ix_cell_extraction_id"), "cell")
    for column in ("entity_id", "layer", "check_key", "checked"):
        op.drop_column("cell", column)
    op.create_unique_constraint(
        op.f("uq_cell_job_id_document_id_prompt_id"), "cell", ["job_id", "document_id", "prompt_id"]
    )
    for column in ("call_key", "request_key"):
        op.add_column("cell", sa.Column(column, sa.TEXT(), nullable=True))
        op.execute(f"UPDATE cell SET {column} = question_key")
        op.alter_column("cell", column, nullable=False)
    op.drop_column("cell", "question_key")
    op.create_index(op.f("ix_cell_document_id_prompt_id_job_id"), "cell", ["document_id", "prompt_id", "job_id"])
    op.create_index("ix_cell_pending", "cell", ["job_id", "id"], postgresql_where=sa.text("status = 'pending'"))


def _downgrade_extraction() -> None:
    op.execute("DELETE FROM extraction WHERE entity_id IS NOT NULL OR cardinality(call_ids) = 0")
    op.add_column("extraction", sa.Column("call_id", sa.BigInteger(), nullable=True))
    op.execute("""
        UPDATE extraction SET call_id = call_ids[1],
            values = (SELECT coalesce(jsonb_agg(jsonb_set(value, '{evidence}', CASE
                WHEN jsonb_array_length(value->'evidence') = 0 THEN 'null'
                ELSE jsonb_build_object(
                    'quote', value->'evidence'->0->'quote', 'mark', value->'evidence'->0->'mark',
                    'start', value->'evidence'->0->'places'->0->'start',
                    'end', value->'evidence'->0->'places'->0->'end',
                    'page', value->'evidence'->0->'places'->0->'page',
                    'box', value->'evidence'->0->'places'->0->'boxes'->0) END) - 'confidence'
                ORDER BY place), '[]'::jsonb)
                FROM jsonb_array_elements(values) WITH ORDINALITY AS listed (value, place))
    """)
    # Of extractions that rest on the same call, the newest stays, and has the cells of the others.
    op.execute("""
        UPDATE cell SET extraction_id = newest.id FROM extraction, extraction AS newest
        WHERE extraction.id = cell.extraction_id AND newest.id = (
            SELECT max(same.id) FROM extraction AS same WHERE same.call_id = extraction.call_id
                AND same.document_id = extraction.document_id AND same.prompt_id = extraction.prompt_id)
    """)
    op.execute("""
        DELETE FROM extraction USING extraction AS newer
        WHERE newer.call_id = extraction.call_id AND newer.document_id = extraction.document_id
            AND newer.prompt_id = extraction.prompt_id AND newer.id > extraction.id
    """)
    op.alter_column("extraction", "call_id", nullable=False)
    op.drop_index(op.f("ix_extraction_document_id"), "extraction")
    for column in (
        "question_key", "entity_id", "call_ids", "entity_ids", "model", "signals", "unread", "announced", "detail",
    ):  # fmt: skip
        op.drop_column("extraction", column)
    op.create_foreign_key(
        op.f("fk_extraction_call_id_call"), "extraction", "call", ["call_id"], ["id"], ondelete="CASCADE"
    )
    op.create_index(op.f("ix_extraction_call_id"), "extraction", ["call_id"])
    op.create_unique_constraint(
        op.f("uq_extraction_document_id_prompt_id_call_id"), "extraction", ["document_id", "prompt_id", "call_id"]
    )
