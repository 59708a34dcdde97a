"""Log lines: an event and its fields, as text or as JSON, with the ids of the request, if any."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from service import tracing

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


def set_up(level: str, log_format: str) -> None:
    """Send every logger's lines to stderr. Called once, by a command; never on import."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    handler.addFilter(_identified)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())


def _identified(record: logging.LogRecord) -> bool:
    """Put the ids of the request that the line is written for into it."""
    vars(record).update(tracing.current.get().ids)
    return True


class TextFormatter(logging.Formatter):
    """`time level event key=value`."""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {key}={value}" for key, value in _fields(record).items())
        line = f"{_time(record)} {record.levelname.lower()} {_one_line(record.getMessage())}"
        return line + _one_line(fields) + self._trace(record)

    def _trace(self, record: logging.LogRecord) -> str:
        return f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    found = vars(record).items()
    # Those with an underscore are a library's own, as Ray's.
    return {key: value for key, value in found if key not in _STANDARD and key[0] != "_"}


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _one_line(text: str) -> str:
    """What a client sent must not be able to write a line of its own."""
    return text.encode("unicode_escape").decode() if not text.isprintable() else text
