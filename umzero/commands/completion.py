"""Class ids for the shell, from the server that the command would ask."""

import json
import os
import threading
import urllib.request
from urllib.parse import quote

import typer

from umzero.address import DEFAULT_URL, is_address

_LIMIT_S = 0.5
_MOST = 1000  # of the server's page


def every_class(ctx: typer.Context, incomplete: str) -> list[str]:
    """The ids that begin like this; none where no server answers in time."""
    return [class_id for class_id, _ in _listed(ctx, incomplete)]


def registered_class(ctx: typer.Context, incomplete: str) -> list[str]:
    """Those that can be removed."""
    return [class_id for class_id, seen in _listed(ctx, incomplete) if not seen]


def _listed(ctx: typer.Context, incomplete: str) -> list[tuple[str, bool]]:
    """Ids that begin like this, and whether their classes are the bundle's own."""
    url = ctx.params.get("url") or os.environ.get("UMZERO_URL") or DEFAULT_URL
    collection = ctx.params.get("collection") or os.environ.get("UMZERO_COLLECTION")
    found: list[tuple[str, bool]] = []

    def ask() -> None:
        address = f"{url.rstrip('/')}/classes?limit={_MOST}{_after(incomplete)}{_of(collection)}"
        try:
            with urllib.request.urlopen(address, timeout=_LIMIT_S) as response:
                listed = json.load(response)["classes"]
            found.extend((str(item["class_id"]), bool(item["seen"])) for item in listed)
        except (OSError, ValueError, LookupError, TypeError):
            return

    if not is_address(url):
        return []
    # A thread: the time to look up a name has no limit of its own.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_LIMIT_S)
    return [item for item in list(found) if item[0].startswith(incomplete)]


def _of(collection: str | None) -> str:
    return f"&collection={quote(collection)}" if collection else ""


def _after(incomplete: str) -> str:
    """Skips the ids before those that begin like this: "~" comes after all that ids may have."""
    if not incomplete:
        return ""
    return "&after=" + quote(incomplete[:-1] + chr(ord(incomplete[-1]) - 1) + "~")
