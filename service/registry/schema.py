"""The tables of the SQL store, as the newest migration leaves them.

`umzero_registry` has one row: the schema's version, the revision counter, and whose attributes the
sheets are. `umzero_classes` has a row for every class and every tombstone, `umzero_examples` the
photographs that classes were registered with, `umzero_idempotency` what registrations answered.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

registry = Table(
    "umzero_registry",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("schema_version", Integer, nullable=False),  # the newest migration's number
    Column("revision", Integer, nullable=False),
    Column("attribute_space", String(64)),  # NULL until the first class is written
    Column("attribute_names", Text),  # JSON; NULL too where an earlier version wrote the last one
)

classes = Table(
    "umzero_classes",
    metadata,
    Column("collection", String(100), primary_key=True),
    Column("class_id", String(100), primary_key=True),
    Column("revision", Integer, nullable=False),
    # NULL in a tombstone, together with what follows: NULLs never clash in a unique constraint.
    Column("name", String(200)),
    Column("attributes", LargeBinary),  # (A,) float64, little endian
    Column("given", Integer),
    Column("metadata", Text),  # JSON, ASCII
    Column("created_at", String(30)),  # RFC 3339
    Column("examples", Integer),  # photographs
    Column("examples_mean", LargeBinary),  # (D,) float32, little endian; NULL without any
    Column("examples_bundle", String(64)),  # sha256 of the bundle whose network made it
    UniqueConstraint("collection", "name", name="umzero_classes_name"),
    Index("umzero_classes_changes", "revision"),
)

examples = Table(
    "umzero_examples",
    metadata,
    Column("collection", String(100), primary_key=True),
    Column("class_id", String(100), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("photograph", LargeBinary, nullable=False),  # PNG
)

idempotency = Table(
    "umzero_idempotency",
    metadata,
    Column("collection", String(100), primary_key=True),
    Column("idempotency_key", String(255), primary_key=True),
    Column("fingerprint", String(64), nullable=False),  # sha256 of the request
    Column("revision", Integer, nullable=False),
    Column("classes", Text, nullable=False),  # the summaries that were answered, JSON
    Column("expires", BigInteger, nullable=False),  # seconds since 1970
    Index("umzero_idempotency_expires", "expires"),
)
