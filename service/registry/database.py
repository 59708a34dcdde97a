"""`open_database`: an engine of SQLAlchemy's for SQLite or PostgreSQL that never waits for long."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from service.errors import ConfigurationError

_RETRY_S = 0.02


def open_database(url: str, timeout_s: float) -> Engine:
    """An engine; nothing is connected yet.

    Args:
        url: SQLAlchemy's, of SQLite or PostgreSQL; `postgresql://` means psycopg 3.
        timeout_s: for a lock, for a connection, and for the answer to one statement. What takes
            longer is an error of SQLAlchemy's.

    Raises:
        ConfigurationError: the URL can't be used.
    """
    try:
        parsed = make_url(url)
        if parsed.drivername in ("postgres", "postgresql"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() == "sqlite":
            return _sqlite(parsed, timeout_s)
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError) as error:
        raise ConfigurationError(
            f"--database-url is none that SQLAlchemy knows ({error}); "
            "sqlite:///state/umzero.db is one"
        ) from error
    except ValueError as error:  # without its words: where an @ is missing, they hold a password
        raise ConfigurationError(
            "--database-url has a port that is no number; sqlite:///state/umzero.db and "
            "postgresql://user@host:5432/database are URLs"
        ) from error
    if parsed.drivername != "postgresql+psycopg":
        raise ConfigurationError(
            f"--database-url names {parsed.drivername}; classes are kept in SQLite or PostgreSQL: "
            "sqlite:///state/umzero.db, postgresql://user@host/database"
        )
    return _postgres(parsed, timeout_s)


def listen(engine: Engine, channel: str, wake: Callable[[], None]) -> Callable[[], None]:
    """Call `wake` after every commit that notifies a channel, where a database can do that.

    Returns:
        What ends it.
    """
    if engine.dialect.name != "postgresql":
        return lambda: None
    from service.registry import postgres  # noqa: PLC0415 - psycopg is an extra

    return postgres.Listener(engine, channel, wake).close


def reason(error: SQLAlchemyError) -> str:
    """Without the statement, the parameters and the URL's password."""
    return str(getattr(error, "orig", None) or type(error).__name__)


def _sqlite(url: URL, timeout_s: float) -> Engine:
    # What lies in memory is gone with the process, and no other one can share it.
    if not url.database or ":memory:" in url.database or url.query.get("mode") == "memory":
        raise ConfigurationError("a SQLite database needs a file: sqlite:///state/umzero.db")
    try:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"the folder of {url.database} can't be made ({error.strerror})"
        ) from error
    engine = create_engine(url, connect_args={"timeout": timeout_s}, pool_timeout=timeout_s)

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: object) -> None:
        # WAL: readers go on while one writes. FULL: a commit that was answered survives power cuts.
        _write_ahead(connection, timeout_s)
        connection.execute("PRAGMA synchronous=FULL")

    return engine


def _write_ahead(connection: sqlite3.Connection, timeout_s: float) -> None:
    """A new file's mode can only be changed alone, and SQLite doesn't wait for that by itself."""
    end = time.monotonic() + timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            is_locked = error.sqlite_errorcode & 0xFF in (
                sqlite3.SQLITE_BUSY,
                sqlite3.SQLITE_LOCKED,
            )
            if not is_locked or time.monotonic() > end:
                raise
            time.sleep(_RETRY_S)
        else:
            return


def _postgres(url: URL, timeout_s: float) -> Engine:
    try:
        from service.registry import postgres  # noqa: PLC0415 - psycopg is an extra
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"this database needs the module {error.name}: pip install 'umzero[postgres]'"
        ) from error
    engine = create_engine(
        url,
        # Each statement sees everything that was committed before it.
        isolation_level="READ COMMITTED",
        pool_pre_ping=True,
        pool_timeout=timeout_s,
    )
    postgres.limit(engine, timeout_s)
    return engine
