"""Logs and metrics that cannot speak of a person.

Logs are events with fields; a field whose name is not on the list is dropped and only its name
is kept. Exceptions are logged as type and place, never with their text or locals. The standard
library's loggers (uvicorn, aio-pika, SQLAlchemy) go through the same gate: their text is dropped
too, except for a fixed few.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, TextIO, cast

import structlog
from prometheus_client import CollectorRegistry, start_http_server

ALLOWED = frozenset(
    {
        "event",
        "level",
        "timestamp",
        "process",
        "message_id",
        "evidence_id",
        "grant_id",
        "agreement_id",
        "participant",
        "partner",
        "lane",
        "kind",
        "queue",
        "status",
        "code",
        "error",
        "place",
        "route",
        "method",
        "duration_ms",
        "attempt",
        "count",
        "size",
        "log_size",
        "directory_version",
        "kid",
        "port",
        "url",
        "logger",
        "seconds",
        "state",
        "table",
        "worker",
    }
)


def only_known(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Keep the fields on the list; of the others keep the names alone."""
    kept = {key: value for key, value in event.items() if key in ALLOWED}
    unknown = sorted(event.keys() - ALLOWED)
    if unknown:
        kept["dropped_keys"] = unknown
    return kept


def _error_place(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    if isinstance(info, BaseException):
        info = (type(info), info, info.__traceback__)
    if info and info[0] is not None:
        event["error"] = info[0].__name__
        frames = traceback.extract_tb(info[2])
        if frames:
            event["place"] = f"{frames[-1].filename.rsplit('/', 2)[-1]}:{frames[-1].lineno}"
    return event


class _StandardHandler(logging.Handler):
    """Passes records of other libraries on by logger name and level; their text may hold anything."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(
            record.levelno,
            "library:message",
            logger=record.name,
            place=f"{record.filename}:{record.lineno}",
            exc_info=record.exc_info,
        )


class _Patient:
    """Standard error that loses a line rather than the work that the line is about.

    It may be a file on a disk that is full, or a pipe whose reader has gone.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


class _StandardError:
    """Standard error, whatever it is at the moment."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


# Of a command, which configures nothing, standard output is the result and holds nothing else.
if not structlog.is_configured():
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _StandardError()))
    )


def configure_logging(process: str, *, level: int = logging.INFO) -> None:
    """JSON lines on standard error, for the whole process."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _error_place,
            only_known,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Patient(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    logging.root.handlers = [_StandardHandler(level=logging.WARNING)]
    logging.root.setLevel(logging.WARNING)


def logger() -> structlog.stdlib.BoundLogger:
    """The process's logger: `log.info("envelope:accepted", message_id=...)`."""
    return cast("structlog.stdlib.BoundLogger", structlog.get_logger())


def serve_metrics(registry: CollectorRegistry, *, host: str, port: int) -> None:
    """Serve Prometheus metrics on a port of their own, so that no public route leads to them."""
    start_http_server(port, addr=host, registry=registry)
