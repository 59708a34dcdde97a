"""The server that commands talk to."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from umzero.address import is_address

if TYPE_CHECKING:
    from umzero.client import Client


def checked_url(url: str | None) -> str | None:
    """Raises: typer.BadParameter."""
    if url is None or is_address(url):
        return url
    raise typer.BadParameter(f"{url!r} isn't an address such as http://127.0.0.1:8000")


UrlOption = Annotated[
    str,
    typer.Option("--url", envvar="UMZERO_URL", callback=checked_url, help="the server's address"),
]

CollectionOption = Annotated[
    str | None,
    typer.Option(
        envvar="UMZERO_COLLECTION",
        help="whose classes: a collection's name; the server's default when left out",
        show_default=False,
    ),
]


@contextmanager
def connected(url: str, collection: str | None = None) -> Iterator["Client"]:
    """A client, closed in the end."""
    from umzero.client import Client

    with Client(url, collection=collection) as client:
        yield client
