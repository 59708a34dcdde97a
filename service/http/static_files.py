"""The playground's files, read once, each with the headers that it is served with."""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Nothing inline, nothing from elsewhere: a class's name that is markup can't become a program.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "form-action 'none'",
    )
)


@dataclass(frozen=True)
class StaticFile:
    content: bytes
    headers: dict[str, str]

    @property
    def etag(self) -> str:
        return self.headers["ETag"]


@cache
def read() -> dict[str, StaticFile]:
    """Name -> file, of everything in `static/`."""
    return {path.name: _file(path) for path in sorted(_FOLDER.iterdir()) if path.suffix in _TYPES}


def _file(path: Path) -> StaticFile:
    content = path.read_bytes()
    return StaticFile(
        content,
        {
            "Content-Type": _TYPES[path.suffix],
            "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
            # Kept, and asked about each time: modules name each other without a version.
            "Cache-Control": "no-cache",
            "Content-Security-Policy": _POLICY,
            "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        },
    )
