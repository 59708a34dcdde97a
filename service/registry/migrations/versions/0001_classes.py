"""The tables of version 1, which the service made by itself before it knew Alembic.

Such a database is recognised by its tables, and nothing that is there is made again. Where its
process was killed between the two tables, the other one is made here.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001_classes"
down_revision = None


def upgrade() -> None:
    registry = op.create_table(
        "umzero_registry",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("schema_version", sa.Integer, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("attribute_space", sa.String(64)),
        if_not_exists=True,
    )
    op.create_table(
        "umzero_classes",
        sa.Column("collection", sa.String(100), primary_key=True),
        sa.Column("class_id", sa.String(100), primary_key=True),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("name", sa.String(200)),
        sa.Column("attributes", sa.LargeBinary),
        sa.Column("given", sa.Integer),
        sa.Column("metadata", sa.Text),
        sa.Column("created_at", sa.String(30)),
        sa.UniqueConstraint("collection", "name", name="umzero_classes_name"),
        if_not_exists=True,
    )
    op.create_index(
        "umzero_classes_revision", "umzero_classes", ["collection", "revision"], if_not_exists=True
    )
    if op.get_bind().execute(sa.select(registry.c.id)).first() is None:
        op.bulk_insert(registry, [{"id": 1, "schema_version": 1, "revision": 0}])
