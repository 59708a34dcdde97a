"""What registrations with an `Idempotency-Key` answered, so that a second attempt gets it again."""

import sqlalchemy as sa
from alembic import op

revision = "0004_idempotency"
down_revision = "0003_attribute_names"


def upgrade() -> None:
    op.create_table(
        "umzero_idempotency",
        sa.Column("collection", sa.String(100), primary_key=True),
        sa.Column("idempotency_key", sa.String(255), primary_key=True),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("classes", sa.Text, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
    )
    op.create_index("umzero_idempotency_expires", "umzero_idempotency", ["expires"])
