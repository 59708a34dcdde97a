"""What a worker knows of the others, and what it and its supervisor tell each other."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.settings import Settings
from service.workers.shares import Share


@dataclass(frozen=True)
class Member:
    """One worker among several."""

    slot: int  # from 0; who replaces a worker has its slot
    share: Share
    folder: Path  # of what all of them write down for each other, and nobody else


@dataclass(frozen=True)
class Assignment:
    """What a worker is told first."""

    member: Member
    settings: Settings
    listener: int  # the file descriptor of a socket that all of them accept from


@dataclass(frozen=True)
class Ready:
    """What a worker answers once it could answer requests."""

    bundle: str
    plan: dict[str, Any]  # the settings that `engine.plan` would measure


@dataclass(frozen=True)
class Failed:
    """What a worker answers instead; it ends."""

    reason: str  # safe to show


@dataclass(frozen=True)
class Begin:
    """What a worker is told once the socket is listened on: take connections."""
