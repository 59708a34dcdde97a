"""Classes may have photographs: how many, the mean of what they look like, and they themselves."""

import sqlalchemy as sa
from alembic import op

revision = "0002_examples"
down_revision = "0001_classes"


def upgrade() -> None:
    op.add_column("umzero_classes", sa.Column("examples", sa.Integer))
    op.add_column("umzero_classes", sa.Column("examples_mean", sa.LargeBinary))
    op.add_column("umzero_classes", sa.Column("examples_bundle", sa.String(64)))
    op.create_table(
        "umzero_examples",
        sa.Column("collection", sa.String(100), primary_key=True),
        sa.Column("class_id", sa.String(100), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("photograph", sa.LargeBinary, nullable=False),
    )
