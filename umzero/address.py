"""Where a server is."""

from urllib.parse import urlsplit

DEFAULT_URL = "http://127.0.0.1:8000"


def is_address(url: str) -> bool:
    """Whether a server can be asked there at all: http or https, and a host."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
