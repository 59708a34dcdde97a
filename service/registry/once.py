"""Registrations that happen once, however often they are asked for: `Idempotency-Key`."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.errors import IdempotencyKeyReused
from service.registry.records import ClassSummary

KEPT_S = 24 * 3600


@dataclass(frozen=True)
class Once:
    """A client's key, and the sha256 of the request that it sends with it, hex."""

    key: str
    fingerprint: str


@dataclass(frozen=True)
class Added:
    """What a registration answers; `again`: it is the answer to an earlier one with its key."""

    classes: Sequence[ClassSummary]
    revision: int
    again: bool = False


class AddedBefore(Exception):  # noqa: N818 - nothing went wrong
    """A key was used before; nothing was written now."""

    def __init__(self, added: Added) -> None:
        self.added = added
        super().__init__()


def check_same(once: Once, fingerprint: str) -> None:
    """Raises: IdempotencyKeyReused, unless a key came with the same request before."""
    if once.fingerprint != fingerprint:
        raise IdempotencyKeyReused(
            f"Idempotency-Key {once.key!r} came with another body before; a key is for one "
            "request and its repetitions: take a new one"
        )
