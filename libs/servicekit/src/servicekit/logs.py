"""Logs: one line, or one JSON object, for each thing that happened.

    log = logging.getLogger(__name__)
    log.info("delivered", extra=fields(path=path, size=size))

text:  2026-01-31T12:00:00.123+01:00 INFO delivered path=run1/a.raw size=1048576
json:  {"time": "2026-01-31T12:00:00.123+01:00", "level": "info", "logger": "...", "message": "delivered",
...}
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from typing_extensions import override

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

MASK = "***"

# Names of things whose values nobody may see. librdkafka has: sasl.password, ssl.key.password, ssl.key.pem,
# ssl.keystore.password, sasl.oauthbearer.*, https.ca.pem; Java clients: sasl.jaas.config.
_SECRET_NAME = re.compile(
    r"password|passwd|passphrase|secret|token|credential|jaas|oauth|\.pem$|_pem$|api.?key", re.IGNORECASE
)
# From the telling word on: what stands before it in a name stays as it is, and costs no time.
_SECRET_IN_TEXT = re.compile(
    r"(?P<name>(?:passw|passphrase|secret|token|jaas\.config|oauthbearer\.config)[\w.\-]*[\"']?\s*[=:]\s*)"
    r"(?:\"[^\"]*\"|'[^']*'|[^\s,;}\])]+)",
    re.IGNORECASE,
)
_PASSWORD_IN_URL = re.compile(r"(?P<before>://[^\s/:@?#]*:)[^\s/@]+(?=@)")
_PEM = re.compile(r"-----BEGIN [A-Z ]+-----.*?(?:-----END [A-Z ]+-----|$)", re.DOTALL)

_FIELDS = "penstock_fields"


def is_secret(name: str) -> bool:
    """Whether the value of something with this name (a setting, a Kafka property) must never be shown."""
    return _SECRET_NAME.search(name) is not None


def mask_secrets(text: str) -> str:
    """Return `text` with what looks like the value of a secret masked.

    That is `sasl.password=x`, `postgresql://user:x@host`, a PEM block.
    """
    if "://" in text:
        text = _PASSWORD_IN_URL.sub(lambda found: found["before"] + MASK, text)
    text = _SECRET_IN_TEXT.sub(lambda found: found["name"] + MASK, text)
    return _PEM.sub(MASK, text) if "-----BEGIN" in text else text


def fields(**values: object) -> dict[str, dict[str, object]]:
    """Key=value pairs for one log call: `log.info("delivered", extra=fields(path=path))`."""
    return {_FIELDS: values}


def configure(format: LogFormat = "text", level: LogLevel = "info") -> None:  # noqa: A002 - the setting's name
    """Send the logs of this process to stderr. Calling it again replaces what was configured before."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    root = logging.getLogger()
    for old in list(root.handlers):
        if getattr(old, "_penstock", False):
            root.removeHandler(old)
    handler._penstock = True  # type: ignore[attr-defined]  # noqa: SLF001 - so that handlers of others stay
    root.addHandler(handler)
    root.setLevel(level.upper())


def configure_from_environment(environ: Mapping[str, str] = os.environ) -> None:
    """Configure by PENSTOCK_LOG_FORMAT and PENSTOCK_LOG_LEVEL; settings report what is nonsense."""
    form = environ.get("PENSTOCK_LOG_FORMAT", "text")
    level = environ.get("PENSTOCK_LOG_LEVEL", "info").lower()
    configure(
        "json" if form == "json" else "text",
        level if level in ("debug", "info", "warning", "error") else "info",  # type: ignore[arg-type]
    )


class TextFormatter(logging.Formatter):
    """Time with offset, level, message, key=value pairs; a traceback below it only at level debug."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        line = f"{_time(record)} {record.levelname} {_one_line(mask_secrets(record.getMessage()))}"
        for key, value in _fields_of(record).items():
            line += f" {key}={_quoted(value)}"
        if record.exc_info:
            if record.levelno <= logging.DEBUG:
                return line + "\n" + mask_secrets(self.formatException(record.exc_info))
            line += f" error={_quoted(_exception_line(record))}"
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line, never more than one line, tracebacks included."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": mask_secrets(record.getMessage()),
        }
        for key, value in _fields_of(record).items():
            entry.setdefault(key, mask_secrets(value) if isinstance(value, str) else value)
        if record.exc_info:
            entry["error"] = mask_secrets(_exception_line(record))
            if record.levelno <= logging.DEBUG:
                entry["traceback"] = mask_secrets(self.formatException(record.exc_info))
        # ASCII: a path that is not UTF-8 holds lone surrogates, which no stream can encode.
        return json.dumps(entry, default=str)


class Limiter:
    """Lets a message through once per key and `every_seconds` (None: once for ever), and counts the rest.

    For the thing that happens with every record while something is broken:

        if limiter.first(("undecodable", topic)):
            log.warning(...)

    At most `max_keys` keys are remembered; the oldest are forgotten first.
    """

    def __init__(self, every_seconds: float | None = None, *, max_keys: int = 1024) -> None:
        self._every = every_seconds
        self._max_keys = max_keys
        self._seen: dict[object, tuple[float, int]] = {}  # key -> (time it was let through, held back since)
        self._lock = threading.Lock()

    def first(self, key: object) -> bool:
        """Whether this key should be spoken of now."""
        now = time.monotonic()
        with self._lock:
            seen = self._seen.get(key)
            if seen is not None and (self._every is None or now - seen[0] < self._every):
                self._seen[key] = (seen[0], seen[1] + 1)
                return False
            self._seen.pop(key, None)
            if len(self._seen) >= self._max_keys:
                del self._seen[next(iter(self._seen))]
            self._seen[key] = (now, 0)
            return True

    def held_back(self, key: object) -> int:
        """How often `first(key)` has said no since it last said yes."""
        return self._seen.get(key, (0.0, 0))[1]

    def forget(self, key: object) -> None:
        """Let the next one with this key through: the trouble is over."""
        with self._lock:
            self._seen.pop(key, None)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")


def _fields_of(record: logging.LogRecord) -> Mapping[str, Any]:
    found = getattr(record, _FIELDS, None)
    if not found:
        return {}
    return {key: MASK if is_secret(key) else value for key, value in found.items()}


def _one_line(text: str) -> str:
    """Escape what would break a line or steer a terminal: file names may hold anything."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def _quoted(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else mask_secrets(str(value))
    if text and text.isprintable() and not any(c in text for c in " \"'="):
        return text
    return json.dumps(_one_line(text) if not text.isprintable() else text, ensure_ascii=False)


def _exception_line(record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    return f"{type(error).__name__}: {' '.join(str(error).split())}" if error else ""
