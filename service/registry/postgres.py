"""What SQLAlchemy leaves to psycopg: how long to wait for a server."""

import math
import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg
from sqlalchemy import Engine, event

Result = TypeVar("Result")

_CONNECT_S = 5
# The server's own limit comes first: it ends the statement, and the connection lives on.
_GRACE_S = 1.0
# Of a process that stands still with the writers' lock in its hands, as multiples of the limit.
_IDLE = 3
# Of a lost server, or of a network that drops everything.
_KEEPALIVE = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
_SET_UP = """
    SELECT set_config('statement_timeout', %(limit)s, false),
           set_config('lock_timeout', %(limit)s, false),
           set_config('idle_in_transaction_session_timeout', %(idle)s, false),
           CASE WHEN current_setting('synchronous_commit') = 'off'
                THEN set_config('synchronous_commit', 'on', false) END
"""


class _Limited(psycopg.Connection[Any]):
    """Closes itself when an answer doesn't come: a server may hang with its connections open."""

    limit_s = math.inf

    def wait(self, gen: Generator[Any, Any, Result], *args: Any, **kwargs: Any) -> Result:
        return super().wait(self._limited(gen), *args, **kwargs)

    def _limited(self, gen: Generator[Any, Any, Result]) -> Generator[Any, Any, Result]:
        """The same, step by step; psycopg comes back several times a second."""
        end = time.monotonic() + self.limit_s
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if time.monotonic() > end:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"no answer within {self.limit_s:g} s")
                wanted = gen.send(ready)
        except StopIteration as done:
            result: Result = done.value
            return result


def limit(engine: Engine, timeout_s: float) -> None:
    """Let no connection, lock or statement take longer; what the URL says comes first.

    A commit is only answered once it is on the disk, whatever the server's default.
    """

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: object, _record: object, args: Any, parameters: Any) -> Any:
        connect_s = max(2, min(_CONNECT_S, math.ceil(timeout_s)))
        at_most = {"connect_timeout": connect_s, **_KEEPALIVE}
        return _Limited.connect(*args, **(at_most | parameters))

    @event.listens_for(engine, "connect")
    def set_up(connection: _Limited, _record: object) -> None:
        connection.limit_s = timeout_s + _GRACE_S
        limit_ms = round(timeout_s * 1000)
        connection.execute(_SET_UP, {"limit": f"{limit_ms}ms", "idle": f"{_IDLE * limit_ms}ms"})
        connection.commit()
