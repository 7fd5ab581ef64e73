"""Plans of jobs are told apart, so that one that has not changed is not made again"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("job", sa.Column("plan_key", sa.TEXT(), nullable=True))


def downgrade() -> None:
    op.drop_column("job", "plan_key")
