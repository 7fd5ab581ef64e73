"""Jobs that several workers share: claims on documents, states of jobs, and the tries of cells"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_BEFORE = "status IN ('running', 'paused', 'completed', 'completed_with_errors', 'cancelled')"
_SINCE = "status IN ('pending', 'running', 'paused', 'completed', 'completed_with_errors', 'failed', 'cancelled')"


def upgrade() -> None:
    op.drop_constraint(op.f("ck_job_status"), "job", type_="check")
    op.create_check_constraint(op.f("ck_job_status"), "job", _SINCE)
    op.add_column("job", sa.Column("deployed", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("job", sa.Column("failed_documents", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("cell", sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("cell", sa.Column("not_before", sa.DateTime(timezone=True), nullable=True))
    op.execute("DELETE FROM worker")  # leases of the old kind: whoever held one has to begin anew in any case
    op.add_column("worker", sa.Column("job_id", sa.BigInteger(), nullable=False))
    op.add_column("worker", sa.Column("name", sa.TEXT(), nullable=False))
    op.create_foreign_key(op.f("fk_worker_job_id_job"), "worker", "job", ["job_id"], ["id"], ondelete="CASCADE")
    op.create_index(op.f("ix_worker_job_id"), "worker", ["job_id"])
    op.create_table(
        "claim",
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("document_id", sa.BigInteger(), nullable=False),
        sa.Column("worker_id", sa.BigInteger(), nullable=True),
        sa.Column("losses", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_claim_job_id_job"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["document_id"], ["document.id"], name=op.f("fk_claim_document_id_document"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["worker_id"], ["worker.id"], name=op.f("fk_claim_worker_id_worker"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("job_id", "document_id", name=op.f("pk_claim")),
    )
    op.create_index(op.f("ix_claim_document_id"), "claim", ["document_id"])
    op.create_index(op.f("ix_claim_worker_id"), "claim", ["worker_id"])


def downgrade() -> None:
    op.drop_table("claim")
    op.drop_constraint(op.f("fk_worker_job_id_job"), "worker", type_="foreignkey")
    op.drop_index(op.f("ix_worker_job_id"), "worker")
    op.drop_column("worker", "name")
    op.drop_column("worker", "job_id")
    op.drop_column("cell", "not_before")
    op.drop_column("cell", "tries")
    op.drop_column("job", "failed_documents")
    op.drop_column("job", "deployed")
    op.drop_constraint(op.f("ck_job_status"), "job", type_="check")
    op.execute("UPDATE job SET status = 'paused' WHERE status = 'pending'")
    op.execute("UPDATE job SET status = 'cancelled' WHERE status = 'failed'")
    op.create_check_constraint(op.f("ck_job_status"), "job", _BEFORE)
