"""The first schema.

Revision ID: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_real = sa.Float(53)


def upgrade() -> None:
    """Create all tables of version 0.1."""
    op.create_table(
        "instance",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("epoch", sa.Integer, nullable=False),
    )
    op.create_table(
        "counters", sa.Column("name", sa.Text, primary_key=True), sa.Column("value", _id, nullable=False)
    )
    op.create_table(
        "searches",
        sa.Column("id", _id, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("want", sa.Text, nullable=False, server_default=""),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("environment", sa.Text),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("created_runs", sa.Integer, nullable=False, server_default="0"),
        sa.Column("memo", sa.Text),
        sa.Column("notices", sa.Text, nullable=False, server_default="[]"),
        sa.Column("pause_reason", sa.Text),
        sa.Column("created_at", _real, nullable=False),
        sa.Column("ended_at", _real),
    )
    op.create_index("searches_state", "searches", ["state"])
    op.create_table(
        "runs",
        sa.Column("id", _id, primary_key=True, autoincrement=False),
        sa.Column("search_id", _id, sa.ForeignKey("searches.id"), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("want", sa.Text, nullable=False, server_default=""),
        sa.Column("token", sa.Integer, nullable=False, server_default="1"),
        sa.Column("nonce", sa.Text, nullable=False, server_default=""),
        sa.Column("values", sa.Text, nullable=False),
        sa.Column("texts", sa.Text),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("lost", sa.Integer, nullable=False, server_default="0"),
        sa.Column("worker", sa.Text),
        sa.Column("objective", _real),
        sa.Column("exit_code", sa.Integer),
        sa.Column("cause", sa.Text),
        sa.Column("detail", sa.Text),
        sa.Column("landed", _id),
        sa.Column("queued_at", _real, nullable=False),
        sa.Column("started_at", _real),
        sa.Column("ended_at", _real),
    )
    op.create_index("runs_search", "runs", ["search_id", "position"], unique=True)
    op.create_index("runs_state", "runs", ["state"])
    op.create_table(
        "attempts",
        sa.Column("run_id", _id, sa.ForeignKey("runs.id"), nullable=False),
        sa.Column("token", sa.Integer, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("nonce", sa.Text, nullable=False),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("ack", sa.Integer, nullable=False, server_default="0"),
        sa.Column("started_at", _real, nullable=False),
        sa.Column("ended_at", _real),
        sa.Column("exit_code", sa.Integer),
        sa.Column("cause", sa.Text),
        sa.Column("log_bytes", _id, nullable=False, server_default="0"),
        sa.Column("dropped", _id, nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("run_id", "token"),
    )
    op.create_table(
        "points",
        sa.Column("run_id", _id, nullable=False),
        sa.Column("token", sa.Integer, nullable=False),
        sa.Column("s", sa.Integer, nullable=False),
        sa.Column("i", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("idx", _id, nullable=False),
        sa.Column("value", _real),
        sa.Column("time", _real, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "token", "s", "i"),
    )
    op.create_index("points_name", "points", ["run_id", "token", "name", "idx"])
    op.create_table(
        "events",
        sa.Column("id", _id, primary_key=True, autoincrement=True),
        sa.Column("time", _real, nullable=False),
        sa.Column("search_id", _id, nullable=False),
        sa.Column("run_id", _id),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
    )
    op.create_index("events_search", "events", ["search_id"])
    op.create_index("events_run", "events", ["run_id"])
    op.create_table(
        "tokens",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("created_at", _real, nullable=False),
    )
    op.create_table(
        "machine_types",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("seen_at", _real, nullable=False),
    )
