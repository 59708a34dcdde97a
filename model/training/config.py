"""What a training run is told: frozen dataclasses. Everything with several candidates is chosen on
the validation classes."""

from dataclasses import dataclass, field

from model.config import ModelConfig
from model.errors import ConfigError

PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True)
class ClosedFormConfig:
    """Candidates of the two ridges of the closed-form start (ESZSL's gamma and lambda)."""

    image_ridges: tuple[float, ...] = (0.5, 2.0, 8.0)
    class_ridges: tuple[float, ...] = (0.3, 1.0, 3.0)


@dataclass(frozen=True)
class MIMTrainingConfig:
    """Gradient training of MIM on cached features.

    Raises:
        ConfigError: a precision that isn't known, no step to accumulate, a negative patience.
    """

    epochs: int = 6  # at most; the best is chosen
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.1  # share of the steps
    temperature: float = 0.1  # divides cosines in the losses
    mixup: float = 1.0  # Beta(mixup, mixup) of two images' maps; 0 switches it off
    contrastive_weight: float = 0.3  # 0 switches the prototype contrastive loss off
    # Candidates of the weight of MIM in the embedding; below 0.7 it decides next to nothing.
    weights: tuple[float, ...] = (0.2, 0.35, 0.5, 0.7, 1.0)
    patience: int = 0  # epochs without a better merit on the validation classes; 0 never stops
    accumulate: int = 1  # so many batches in a row make one step of the optimizer
    precision: str = "fp32"  # or "bf16": autocast of the forward pass and the loss

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ConfigError(
                f"precision is {self.precision!r}; training knows {', '.join(PRECISIONS)}"
            )
        if self.accumulate < 1 or self.patience < 0:
            raise ConfigError(
                f"accumulate is {self.accumulate}, patience {self.patience}; "
                "expected at least 1, and at least 0"
            )


@dataclass(frozen=True)
class TrainingConfig:
    """One run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    closed_form: ClosedFormConfig = field(default_factory=ClosedFormConfig)
    mim: MIMTrainingConfig = field(default_factory=MIMTrainingConfig)
    seed: int = 0
    licence: str = ""
