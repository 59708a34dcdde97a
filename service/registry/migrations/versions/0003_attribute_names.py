"""The names of the attributes that the sheets are of, to say what differs from another bundle's."""

import sqlalchemy as sa
from alembic import op

revision = "0003_attribute_names"
down_revision = "0002_examples"


def upgrade() -> None:
    op.add_column("umzero_registry", sa.Column("attribute_names", sa.Text))
