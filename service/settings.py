"""Every `UMZERO_*` variable. `umzero serve` has options of the same names, which win."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.errors import ConfigurationError


class Settings(BaseSettings):
    """What the service is told; sizes in bytes and pixels, times in seconds."""

    model_config = SettingsConfigDict(env_prefix="UMZERO_", frozen=True, env_ignore_empty=True)

    bundle: Path = Field(Path("weights/birds"), description="the bundle's folder")
    backend: Literal["auto", "onnx", "torch"] = Field("auto", description="auto, onnx or torch")
    device: str = Field("cpu", description="cpu, cuda or cuda:N")
    precision: Literal["auto", "fp32", "int8", "bf16", "fp16"] = Field(
        "auto", description="auto, fp32, int8 (CPU), bf16 or fp16 (torch)"
    )
    threads: int = Field(0, ge=0, description="of an inference that runs alone; 0: measured")
    lanes: int = Field(0, ge=0, le=64, description="batches that run at the same time; 0: measured")
    max_batch: int = Field(0, ge=0, le=1024, description="images in a batch, at most; 0: measured")
    decode_threads: int = Field(0, ge=0, description="that decode images; 0: one a CPU")

    host: str = Field("127.0.0.1", description="the address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="the port to listen on; 0: any free one")
    workers: int = Field(1, ge=1, le=256, description="processes that answer at the port")
    worker_timeout_s: float = Field(
        30.0, ge=1, description="until one of several processes that stands still is replaced"
    )
    database_url: str = Field("", description="SQLAlchemy's URL; empty: SQLite in the state dir")
    state_dir: Path = Field(Path("state"), description="where the SQLite file lies")
    database_timeout_s: float = Field(
        5.0, ge=0.1, description="for a lock, a connection or an answer of the database"
    )
    bundles_dir: str = Field(
        "", description="another folder that bundles may be swapped in from; empty: none"
    )
    admin_token: SecretStr = Field(
        SecretStr(""), description="of `/admin/bundle`, which is there only with one"
    )
    refresh_s: float = Field(0.2, gt=0, description="between looks for other replicas' classes")

    queue_capacity: int = Field(64, ge=1, description="requests at work or waiting, at most")
    request_timeout_s: float = Field(
        10.0, gt=0, description="for an answer, once the body is there"
    )
    body_timeout_s: float = Field(10.0, gt=0, description="for an image body to arrive")
    sheets_timeout_s: float = Field(60.0, gt=0, description="for a body of sheets to arrive")
    drain_s: float = Field(20.0, gt=0, description="for what is in flight at shutdown")
    max_image_bytes: int = Field(20 * 2**20, ge=1, description="of one image")
    max_image_pixels: int = Field(50_000_000, ge=1, description="of one image, width x height")
    max_images: int = Field(256, ge=1, description="in one request")
    max_body_bytes: int = Field(64 * 2**20, ge=1, description="of a body of images or of sheets")

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug, info, warning or error"
    )
    log_format: Literal["text", "json"] = Field("text", description="text or json")
    traces: Literal["none", "otlp", "console"] = Field(
        "none", description="of requests: none, otlp or console; OTEL_* variables say the rest"
    )

    @property
    def store_url(self) -> str:
        """Where registered classes live."""
        return self.database_url or f"sqlite:///{self.state_dir / 'umzero.db'}"

    @property
    def image_body_timeout_s(self) -> float:
        """A body may not take longer than the answer to it."""
        return min(self.body_timeout_s, self.request_timeout_s)


def read(given: Mapping[str, Any]) -> Settings:
    """Settings from the environment; what is `given` wins.

    Raises:
        ConfigurationError: a value that can't be used; it names all of them.
    """
    try:
        return Settings(**given)
    except ValidationError as error:
        found = ((".".join(map(str, item["loc"])), item["msg"]) for item in error.errors())
        told = "; ".join(f"UMZERO_{name.upper()}: {message}" for name, message in found)
        raise ConfigurationError(f"the settings can't be used: {told}") from error
