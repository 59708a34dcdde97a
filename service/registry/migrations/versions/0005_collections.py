"""What was written since a revision is asked of all collections at once."""

from alembic import op

revision = "0005_collections"
down_revision = "0004_idempotency"


def upgrade() -> None:
    op.drop_index("umzero_classes_revision", "umzero_classes")
    op.create_index("umzero_classes_changes", "umzero_classes", ["revision"])
