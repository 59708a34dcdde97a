"""What people import: `Classifier` in this process, `Client` and `AsyncClient` of a server."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from umzero.async_client import AsyncClient
    from umzero.calls import NewClass
    from umzero.classifier import Classifier
    from umzero.client import Client
    from umzero.errors import RequestFailed

__all__ = ["AsyncClient", "Classifier", "Client", "NewClass", "RequestFailed"]

_PLACES = {
    "Classifier": "umzero.classifier",
    "Client": "umzero.client",
    "AsyncClient": "umzero.async_client",
    "NewClass": "umzero.calls",
    "RequestFailed": "umzero.errors",
}


def __getattr__(name: str) -> Any:
    # Only what is asked for: a client needs no network, a network no client.
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)
