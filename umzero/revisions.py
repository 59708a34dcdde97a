"""What a client wrote last: it reads its own writes, whichever replica answers."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from umzero.errors import RequestFailed


class LastWrite:
    """The highest revision that a client's writes answered, of all collections; 0: none yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._revision = 0

    def note(self, *revisions: int) -> None:
        with self._lock:
            self._revision = max((self._revision, *revisions))

    @contextmanager
    def known(self, question: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """A question for a server that knows of it, unless its `min_revision` says otherwise.

        What no server comes to know is forgotten: a database may have come back with less.
        """
        asked = {"min_revision": self._revision, **question}
        try:
            yield asked
        except RequestFailed as error:
            with self._lock:
                if error.code == "revision_unavailable" and asked["min_revision"] == self._revision:
                    self._revision = 0
            raise
