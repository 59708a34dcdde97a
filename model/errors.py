"""Every error that `model` raises on purpose: what came, what was expected, what to do."""


class ModelError(Exception):
    """The root: catch this to catch all of them. The message is safe to show."""


class ConfigError(ModelError):
    """A configuration names something that does not exist or does not fit together."""


class WeightsError(ModelError):
    """A bundle is missing, incomplete, damaged, or of a format that this version can't read; or a
    training's state is damaged."""


class BackendUnavailable(ModelError):
    """The asked-for backend, device or precision can't run here."""


class DeviceOutOfMemory(ModelError):
    """A device hasn't the memory for the smallest piece of work."""


class ParityError(ModelError):
    """An exported graph does not compute what the network computes."""


class DatasetError(ModelError):
    """A data set can't be used; `problems` lists everything that is wrong with it at once."""

    def __init__(self, message: str, problems: tuple[str, ...] = ()) -> None:
        self.problems = problems
        shown = "".join(f"\n  - {problem}" for problem in problems)
        super().__init__(f"{message}{shown}")


class ImageError(ModelError):
    """Bytes that can't be used as an image. `code` is stable, for programs."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class SheetError(ModelError):
    """An attribute sheet that can't be used. `code` is stable, for programs."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)
