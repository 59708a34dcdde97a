"""What the commands about photographs share: where they are looked at, and which part."""

from pathlib import Path
from typing import Annotated

import typer

from umzero.commands.connection import checked_url

ImagesArgument = Annotated[list[Path], typer.Argument(help="photographs", show_default=False)]
ImageArgument = Annotated[Path, typer.Argument(help="a photograph", show_default=False)]
ServerOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="UMZERO_URL",
        callback=checked_url,
        help="ask this server; without one, look here",
    ),
]
BundleOption = Annotated[
    Path,
    typer.Option(envvar="UMZERO_BUNDLE", help="the bundle's folder, where no server is asked"),
]
BoxOption = Annotated[
    str | None, typer.Option(help="x,y,w,h in pixels: the part to look at", show_default=False)
]


def server_of(ctx: typer.Context, url: str | None) -> str | None:
    """The server to ask; None: this process looks. What is typed wins over variables.

    Raises:
        typer.BadParameter: both were typed; or a collection, which only servers have.
    """
    typed = {name for name in ("url", "bundle") if _is_typed(ctx, name)}
    if typed == {"url", "bundle"}:
        raise typer.BadParameter("--url asks a server, --bundle looks here; give one of them")
    server = None if typed == {"bundle"} else url
    if server is None and _is_typed(ctx, "collection"):
        raise typer.BadParameter("--collection goes with --url")
    return server


def _is_typed(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def box_of(text: str | None) -> tuple[float, float, float, float] | None:
    """Raises: typer.BadParameter."""
    if text is None:
        return None
    try:
        x, y, w, h = map(float, text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"--box is {text!r}; expected x,y,w,h in pixels") from error
    return x, y, w, h
