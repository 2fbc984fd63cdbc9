"""Files that clients uploaded, and the batches that are worked off from them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision: str | None = "0003"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    _files()
    _batches()
    _lines()


def _files() -> None:
    op.create_table(
        "files",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.Double, nullable=False),
    )
    op.create_index("files_tenant", "files", ["tenant", "at"])


def _batches() -> None:
    moments = ("started", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
    op.create_table(
        "batches",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("input", sa.Text, nullable=False),
        sa.Column("completion_window", sa.Text, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("deadline", sa.Double, nullable=False),
        sa.Column("errors", sa.Text, nullable=False),
        sa.Column("output", sa.Text, nullable=False),
        sa.Column("failures", sa.Text, nullable=False),
        *(sa.Column(name, sa.Double, nullable=False) for name in moments),
        sa.Column("tokens_in", sa.BigInteger, nullable=False),
        sa.Column("tokens_out", sa.BigInteger, nullable=False),
        sa.Column("output_lasts", sa.Double, nullable=False),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("until", sa.Double, nullable=False),
    )
    op.create_index("batches_status", "batches", ["status"])
    op.create_index("batches_tenant", "batches", ["tenant", "at"])


def _lines() -> None:
    op.create_table(
        "batch_lines",
        sa.Column("batch", sa.Text, primary_key=True),
        sa.Column("line", sa.BigInteger, primary_key=True),
        sa.Column("custom_id", sa.Text, nullable=False),
        sa.Column("start", sa.BigInteger, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("until", sa.Double, nullable=False),
        sa.Column("done", sa.Integer, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
    )
    op.create_index("batch_lines_open", "batch_lines", ["batch", "done", "until"])
    op.create_index("batch_lines_ids", "batch_lines", ["batch", "custom_id"], unique=True)
    op.create_table(
        "batch_answers",
        sa.Column("batch", sa.Text, primary_key=True),
        sa.Column("line", sa.BigInteger, primary_key=True),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("tokens_in", sa.BigInteger, nullable=False),
        sa.Column("tokens_out", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )


def downgrade() -> None:
    for table in ("batch_answers", "batch_lines", "batches", "files"):
        op.drop_table(table)
