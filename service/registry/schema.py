"""The tables of the SQL store, and their version.

Three tables. `umzero_registry` has one row: the schema's version, the revision counter, and whose
attributes the sheets are. `umzero_classes` has a row for every class and every tombstone.
`umzero_examples` has the classes' photographs.
"""

from sqlalchemy import (
    Column,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    insert,
    inspect,
    select,
)
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from service.errors import ConfigurationError

SCHEMA_VERSION = 1
DEFAULT_COLLECTION = "default"

metadata = MetaData()

registry = Table(
    "umzero_registry",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("schema_version", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("attribute_space", String(64)),  # NULL until the first class is written
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
    Index("umzero_classes_revision", "collection", "revision"),
)

examples = Table(
    "umzero_examples",
    metadata,
    Column("collection", String(100), primary_key=True),
    Column("class_id", String(100), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("photograph", LargeBinary, nullable=False),  # PNG
)


def prepare(engine: Engine) -> None:
    """Create the tables where they are missing, and check their version.

    Raises:
        ConfigurationError: a later version of the service wrote this database.
    """
    try:
        _create(engine)
    except (IntegrityError, OperationalError, ProgrammingError):
        # Another replica created them at the same moment: look again.
        _create(engine)
    with engine.connect() as connection:
        found = connection.execute(select(registry.c.schema_version)).scalar_one()
    if found > SCHEMA_VERSION:
        raise ConfigurationError(
            f"the database has schema version {found}; this version of the service reads "
            f"{SCHEMA_VERSION}. Start a newer service, or give another --database-url"
        )


def _create(engine: Engine) -> None:
    if not inspect(engine).has_table(registry.name):
        metadata.create_all(engine)
    with engine.begin() as connection:
        if connection.execute(select(registry.c.id)).first() is None:
            row = {"id": 1, "schema_version": SCHEMA_VERSION, "revision": 0}
            connection.execute(insert(registry).values(row))
