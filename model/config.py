"""The network's configuration: frozen dataclasses, kept in a bundle's manifest as plain JSON."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Self

from model.errors import ConfigError


@dataclass(frozen=True)
class BackboneConfig:
    """Which CNN, at which input size, and which of its maps the network reads.

    `stages` are names that the backbone knows, from shallow to deep (see `model.nn.backbone`).
    """

    name: str = "efficientnet_lite0"
    input_size: int = 224
    stages: tuple[str, ...] = ("block10", "block13", "block15", "head")


@dataclass(frozen=True)
class HGAConfig:
    """High-order Global Aggregator: one covariance a stage, after a reduction to `channels`."""

    enabled: bool = True
    stages: tuple[str, ...] = ("block10", "block13", "block15")
    channels: tuple[int, ...] = (64, 64, 64)
    iterations: int = 4


@dataclass(frozen=True)
class MIMConfig:
    """Mamba Interaction Module: `layers` of Mamba-2, scanned both ways."""

    enabled: bool = True
    stages: tuple[str, ...] = ("block10", "block15")
    layers: int = 1
    width: int = 128
    state: int = 32
    head_width: int = 64
    expand: int = 1
    dropout: float = 0.1


@dataclass(frozen=True)
class PrototypeConfig:
    """How a sheet becomes a prototype: each group to sum 1, to the power `exponent`, centred."""

    embedding_dim: int = 128
    exponent: float = 0.6


@dataclass(frozen=True)
class ModelConfig:
    """The whole network."""

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    hga: HGAConfig = field(default_factory=HGAConfig)
    mim: MIMConfig = field(default_factory=MIMConfig)
    prototypes: PrototypeConfig = field(default_factory=PrototypeConfig)
    # The stages that show where the object is: a fine one, a coarse one.
    foreground: tuple[str, str] = ("block10", "block15")

    def to_json(self) -> dict[str, Any]:
        """A dictionary that `from_json` reads back to an equal configuration."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ConfigError: a key is unknown or missing.
        """
        parts = {
            "backbone": BackboneConfig,
            "hga": HGAConfig,
            "mim": MIMConfig,
            "prototypes": PrototypeConfig,
        }
        expected = sorted({*parts, "foreground"})
        if sorted(data) != expected:
            raise ConfigError(f"network config has keys {sorted(data)}, expected {expected}")
        fine, coarse = data["foreground"]
        read = {key: _read(kind, data[key]) for key, kind in parts.items()}
        return cls(**read, foreground=(fine, coarse))


def _read(kind: type, data: dict[str, Any]) -> Any:
    known = {f.name for f in dataclasses.fields(kind)}
    if unknown := set(data) - known:
        raise ConfigError(f"{kind.__name__} has no {sorted(unknown)}; it has {sorted(known)}")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in data.items()})
