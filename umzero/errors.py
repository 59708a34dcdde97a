"""What goes wrong at a client: light, for the command line imports it before anything else."""

from typing import Self

UNREACHABLE, UNREADABLE, UNSENDABLE = "unreachable", "unreadable_file", "unsendable"
_NOT_THERE = (502, 503, 504)


class RequestFailed(Exception):  # noqa: N818 - it says what happened
    """The server refused a request, or a request could not be made.

    Attributes:
        status: of HTTP; 0: no server answered.
        code: stable, of the problem.
        detail: what came, what was expected, what to do.
        index: which class of a registration of several is meant.
    """

    def __init__(self, status: int, code: str, detail: str, index: int | None = None) -> None:
        super().__init__(f"{detail} ({status} {code})" if status else detail)
        self.status, self.code, self.detail, self.index = status, code, detail, index

    def __reduce__(self) -> tuple[type[Self], tuple[int, str, str, int | None]]:
        """For pickle, which would make it of its message alone."""
        return type(self), (self.status, self.code, self.detail, self.index)

    @property
    def unavailable(self) -> bool:
        """The server can't be reached, or can't answer now: the same request may work later."""
        return self.code == UNREACHABLE or self.status in _NOT_THERE


def unreadable(path: object, error: OSError) -> RequestFailed:
    """A photograph that no server was asked about."""
    return RequestFailed(0, UNREADABLE, f"can't read {path}: {error.strerror or error}")


def unsendable(name: object, error: Exception, index: int | None) -> RequestFailed:
    """A class that JSON can't hold; no server was asked."""
    shown = repr(str(name)[:100])
    detail = f"{shown} can't be sent as JSON: {error}; expected texts, and numbers that are finite"
    return RequestFailed(0, UNSENDABLE, detail, index)


class InputRefused(Exception):  # noqa: N818 - it says what happened
    """A file or a word of the command line that can't be used. The message is safe to show."""
