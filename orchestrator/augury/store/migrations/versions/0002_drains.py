"""Drained workers, and an index from which runs are counted by queue.

Revision ID: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the drains; let the index of states hold the search too."""
    op.create_table(
        "drains",
        sa.Column("worker", sa.Text, primary_key=True),
        sa.Column("reason", sa.Text, nullable=False, server_default=""),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("since", sa.Float(53), nullable=False),
    )
    op.drop_index("runs_state", "runs")
    op.create_index("runs_state", "runs", ["state", "search_id"])
