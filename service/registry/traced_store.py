"""`traced`: a store whose calls are spans of the request that they are made for."""

import functools
from collections.abc import Callable
from typing import Any, cast

from service import tracing
from service.registry.store import ClassStore

STORE_CALL = "umzero.store.call"


def traced(store: ClassStore) -> ClassStore:
    """The same store; each call of a method is a span `store`."""
    return cast(ClassStore, _Traced(store))


class _Traced:
    def __init__(self, store: ClassStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._store, name)

        @functools.wraps(method)
        def call(*arguments: Any, **named: Any) -> Any:
            with tracing.span("store", {STORE_CALL: name}):
                return method(*arguments, **named)

        return call
