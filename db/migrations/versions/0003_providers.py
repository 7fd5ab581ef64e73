"""What is known of each provider key: until when it rests, its breaker, and the next free places of its limits"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "provider",
        sa.Column("key", sa.TEXT(), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("state", sa.TEXT(), server_default=sa.text("'closed'"), nullable=False),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("successes", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("probe_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_request", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_tokens", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('closed', 'open', 'half_open')", name=op.f("ck_provider_state")),
        sa.CheckConstraint("(state = 'closed') = (opened_at IS NULL)", name=op.f("ck_provider_opened")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_provider")),
    )


def downgrade() -> None:
    op.drop_table("provider")
