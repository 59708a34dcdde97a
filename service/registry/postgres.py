"""What SQLAlchemy leaves to psycopg: how long to wait for a server, and to hear of writes."""

import logging
import math
import threading
import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import psycopg
from sqlalchemy import Engine, event

log = logging.getLogger(__name__)

Result = TypeVar("Result")

_CONNECT_S = 5
# The server's own limit comes first: it ends the statement, and the connection lives on.
_GRACE_S = 1.0
# Of a process that stands still with the writers' lock in its hands, as multiples of the limit.
_IDLE = 3
# Of a lost server, or of a network that drops everything.
_KEEPALIVE = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
_LISTEN_S, _AGAIN_S = 0.5, 1.0
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


class Listener:
    """Hears of every commit that notifies a channel, in a thread with a connection of its own.

    Where the connection is lost it hears nothing until it has another one: who needs to know looks
    for himself from time to time.

    Args:
        wake: is called after commits, and where some may have been missed.
    """

    def __init__(self, engine: Engine, channel: str, wake: Callable[[], None]) -> None:
        self._engine = engine
        self._channel = channel
        self._wake = wake
        self._closing = threading.Event()
        threading.Thread(target=self._run, name="listener", daemon=True).start()

    def close(self) -> None:
        """Call `wake` no more. The thread and its connection end soon after."""
        self._closing.set()

    def _run(self) -> None:
        is_told = False
        while not self._closing.is_set():
            try:
                self._listen()
            except psycopg.Error as error:
                if not is_told:
                    log.info("not listening to the database", extra={"error": str(error)})
                is_told = True
                self._closing.wait(_AGAIN_S)

    def _listen(self) -> None:
        args, parameters = self._engine.dialect.create_connect_args(self._engine.url)
        given: dict[str, Any] = {"connect_timeout": _CONNECT_S, **_KEEPALIVE, **parameters}
        with psycopg.Connection.connect(*args, autocommit=True, **given) as connection:
            connection.execute(f"LISTEN {self._channel}")
            is_news = True  # what came before it listened
            while not self._closing.is_set():
                if is_news:
                    self._wake()
                is_news = any(connection.notifies(timeout=_LISTEN_S, stop_after=1))
