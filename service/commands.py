"""`umzero serve`, as a plain function with typer annotations."""

from pathlib import Path
from typing import Annotated

import typer

from service.settings import Settings, read


def _help(name: str) -> str:
    field = Settings.model_fields[name]
    default = field.get_default()
    shown = f", {default} by default" if str(default) else ""
    return f"{field.description} (UMZERO_{name.upper()}{shown})"


# None stands for "not given": the variable counts, then the default.
def serve(
    bundle: Annotated[Path | None, typer.Option(help=_help("bundle"))] = None,
    host: Annotated[str | None, typer.Option(help=_help("host"))] = None,
    port: Annotated[int | None, typer.Option(help=_help("port"))] = None,
    workers: Annotated[int | None, typer.Option(help=_help("workers"))] = None,
    worker_timeout_s: Annotated[float | None, typer.Option(help=_help("worker_timeout_s"))] = None,
    database_url: Annotated[str | None, typer.Option(help=_help("database_url"))] = None,
    state_dir: Annotated[Path | None, typer.Option(help=_help("state_dir"))] = None,
    backend: Annotated[str | None, typer.Option(help=_help("backend"))] = None,
    device: Annotated[str | None, typer.Option(help=_help("device"))] = None,
    precision: Annotated[str | None, typer.Option(help=_help("precision"))] = None,
    threads: Annotated[int | None, typer.Option(help=_help("threads"))] = None,
    lanes: Annotated[int | None, typer.Option(help=_help("lanes"))] = None,
    max_batch: Annotated[int | None, typer.Option(help=_help("max_batch"))] = None,
    decode_threads: Annotated[int | None, typer.Option(help=_help("decode_threads"))] = None,
    database_timeout_s: Annotated[
        float | None, typer.Option(help=_help("database_timeout_s"))
    ] = None,
    bundles_dir: Annotated[str | None, typer.Option(help=_help("bundles_dir"))] = None,
    admin_token: Annotated[str | None, typer.Option(help=_help("admin_token"))] = None,
    refresh_s: Annotated[float | None, typer.Option(help=_help("refresh_s"))] = None,
    queue_capacity: Annotated[int | None, typer.Option(help=_help("queue_capacity"))] = None,
    request_timeout_s: Annotated[
        float | None, typer.Option(help=_help("request_timeout_s"))
    ] = None,
    body_timeout_s: Annotated[float | None, typer.Option(help=_help("body_timeout_s"))] = None,
    sheets_timeout_s: Annotated[float | None, typer.Option(help=_help("sheets_timeout_s"))] = None,
    drain_s: Annotated[float | None, typer.Option(help=_help("drain_s"))] = None,
    max_image_bytes: Annotated[int | None, typer.Option(help=_help("max_image_bytes"))] = None,
    max_image_pixels: Annotated[int | None, typer.Option(help=_help("max_image_pixels"))] = None,
    max_images: Annotated[int | None, typer.Option(help=_help("max_images"))] = None,
    max_body_bytes: Annotated[int | None, typer.Option(help=_help("max_body_bytes"))] = None,
    log_level: Annotated[str | None, typer.Option(help=_help("log_level"))] = None,
    log_format: Annotated[str | None, typer.Option(help=_help("log_format"))] = None,
    traces: Annotated[str | None, typer.Option(help=_help("traces"))] = None,
) -> None:
    """Serve a bundle over HTTP. Options are variables, too: --max-batch is UMZERO_MAX_BATCH."""
    given = {key: value for key, value in locals().items() if value is not None}
    settings = read(given)
    if settings.workers > 1:
        from service.workers.supervisor import supervise  # noqa: PLC0415 - as below

        supervise(settings)
    else:
        from service.serving import run  # noqa: PLC0415 - help needs none of it

        run(settings)
