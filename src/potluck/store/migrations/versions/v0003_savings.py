"""What techniques spared, and how often a check agreed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.create_table(
        "savings",
        sa.Column("day", sa.Text, primary_key=True),
        sa.Column("technique", sa.Text, primary_key=True),
        sa.Column("target", sa.Text, primary_key=True),
        sa.Column("times", sa.BigInteger, nullable=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("tokens_in", sa.BigInteger, nullable=False),
        sa.Column("tokens_out", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "checks",
        sa.Column("day", sa.Text, primary_key=True),
        sa.Column("technique", sa.Text, primary_key=True),
        sa.Column("asked", sa.BigInteger, nullable=False),
        sa.Column("agreed", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("checks")
    op.drop_table("savings")
