"""The tables of the first release."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "counts",
        sa.Column("stream_id", sa.BigInteger(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("stream_id", "destination", "state", name="pk_counts"),
    )
    op.create_table(
        "files",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("stream_id", sa.BigInteger(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("path", sa.LargeBinary(), nullable=False),
        sa.Column("name_key", sa.LargeBinary(length=128), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("upload_id", sa.Uuid()),
        sa.Column("version_id", sa.Uuid()),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32)),
        sa.Column("bytes_done", sa.BigInteger(), nullable=False),
        sa.Column("uploaded_at", sa.Double()),
        sa.Column("discovered_at", sa.Double()),
        sa.Column("discovered_size", sa.BigInteger()),
        sa.Column("failure", _JSON),
        sa.Column("answers", _JSON, nullable=False),
        sa.Column("first_at", sa.Double(), nullable=False),
        sa.Column("last_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_files"),
    )
    op.create_index("ix_files_stream_path", "files", ["stream_id", sa.text("substr(path, 1, 256)"), "id"])
    op.create_index("ix_files_recent", "files", ["last_at", "id"])
    op.create_index("ix_files_state_recent", "files", ["state", "last_at", "id"])
    op.create_index("ix_files_stream_name", "files", ["stream_id", "name_key", "id"])
    op.create_index("ix_files_stream_recent", "files", ["stream_id", "last_at", "id"])
    op.create_index("ix_files_stream_state_recent", "files", ["stream_id", "state", "last_at", "id"])
    op.create_table(
        "heartbeats",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("n_messages_read", sa.BigInteger(), nullable=False),
        sa.Column("n_bytes_read", sa.BigInteger(), nullable=False),
        sa.Column("n_messages_processed", sa.BigInteger(), nullable=False),
        sa.Column("n_bytes_processed", sa.BigInteger(), nullable=False),
        sa.Column("n_messages_produced", sa.BigInteger(), nullable=False),
        sa.Column("n_bytes_produced", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "program_id", "at", name="pk_heartbeats"),
    )
    op.create_table(
        "lost_ranges",
        sa.Column("topic_id", sa.String(length=32), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("from_offset", sa.BigInteger(), nullable=False),
        sa.Column("to_offset", sa.BigInteger(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("stream_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint(
            "topic_id", "partition", "from_offset", "to_offset", "destination", name="pk_lost_ranges"
        ),
    )
    op.create_table(
        "positions",
        sa.Column("topic", sa.String(length=249), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("topic_id", sa.String(length=32), nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("topic", "partition", name="pk_positions"),
    )
    op.create_table(
        "problems",
        sa.Column("topic", sa.String(length=249), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("head", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("topic", "partition", "offset", name="pk_problems"),
    )
    op.create_table(
        "receipts",
        sa.Column("upload_id", sa.Uuid(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("stream_id", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("detail", sa.Text()),
        sa.Column("digest", sa.LargeBinary(length=32)),
        sa.Column("size", sa.BigInteger()),
        sa.Column("delivered_as", sa.LargeBinary()),
        sa.Column("closed_at", sa.Double()),
        sa.Column("visible_at", sa.Double()),
        sa.Column("topic_id", sa.String(length=32), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("outcomes", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("upload_id", "stream_id", "destination", name="pk_receipts"),
    )
    op.create_index("ix_receipts_at", "receipts", ["at"])
    op.create_index("ix_receipts_stream_recent", "receipts", ["stream_id", "at", "upload_id", "destination"])
    op.create_table(
        "services",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("first_at", sa.Double(), nullable=False),
        sa.Column("last_at", sa.Double(), nullable=False),
        sa.Column("interval_seconds", sa.Double()),
        sa.Column("stopped", sa.Boolean(), nullable=False),
        sa.Column("status", _JSON, nullable=False),
        sa.Column("n_messages_read", sa.BigInteger(), nullable=False),
        sa.Column("n_bytes_read", sa.BigInteger(), nullable=False),
        sa.Column("n_messages_processed", sa.BigInteger(), nullable=False),
        sa.Column("n_bytes_processed", sa.BigInteger(), nullable=False),
        sa.Column("n_messages_produced", sa.BigInteger(), nullable=False),
        sa.Column("n_bytes_produced", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "program_id", name="pk_services"),
    )
    op.create_table(
        "streams",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("topic", sa.String(length=249), nullable=False),
        sa.Column("first_at", sa.Double(), nullable=False),
        sa.Column("last_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_streams"),
        sa.UniqueConstraint("topic", name="uq_streams_topic"),
    )
    op.create_table(
        "throughput",
        sa.Column("stream_id", sa.BigInteger(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("begins_at", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("stream_id", "destination", "step", "begins_at", name="pk_throughput"),
    )
    op.create_index("ix_throughput_step", "throughput", ["step", "begins_at"])
    op.create_table(
        "totals",
        sa.Column("stream_id", sa.BigInteger(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("stream_id", "destination", "outcome", name="pk_totals"),
    )
    op.create_table(
        "uploads",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("stream_id", sa.BigInteger(), nullable=False),
        sa.Column("file_id", sa.Uuid()),
        sa.Column("size", sa.BigInteger()),
        sa.Column("digest", sa.LargeBinary(length=32)),
        sa.Column("version_id", sa.Uuid()),
        sa.Column("addressed_to", _JSON),
        sa.Column("first_at", sa.Double(), nullable=False),
        sa.Column("last_at", sa.Double(), nullable=False),
        sa.Column("closed_at", sa.Double()),
        sa.Column("bytes_done", sa.BigInteger(), nullable=False),
        sa.Column("progress_at", sa.Double()),
        sa.Column("uploaded_at", sa.Double()),
        sa.Column("seconds", sa.Double()),
        sa.Column("partition", sa.Integer()),
        sa.Column("first_offset", sa.BigInteger()),
        sa.Column("last_offset", sa.BigInteger()),
        sa.Column("aborted_at", sa.Double()),
        sa.Column("abort_reason", sa.Text()),
        sa.PrimaryKeyConstraint("id", "stream_id", name="pk_uploads"),
    )
    op.create_index("ix_uploads_file_id", "uploads", ["file_id", "id"])
    op.create_index("ix_uploads_last_at", "uploads", ["last_at"])
