"""Structured logs: JSON lines for machines, colours on a terminal, and no personal data in either.

Ids of ours, journey keys, steps, codes and counts are fine to log. What a customer typed or is called is not: fields
that carry it are dropped by name, and e-mail addresses are masked wherever they appear, exception texts included.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Callable
from typing import TextIO

import structlog
from pydantic import ValidationError
from structlog.typing import EventDict, Processor, WrappedLogger

from domain.error_texts import without_quotations
from perennial.settings import LogFormat

_EMAIL = re.compile(r"[^\s@<>\"'=,;()\[\]{}]+@[^\s@<>\"'=,;()\[\]{}]+\.[A-Za-z]{2,}")
_PERSONAL_FIELDS = frozenset(
    {
        "anonymousId",
        "anonymous_id",
        "body",
        "context",
        "email",
        "first_name",
        "ip",
        "last_name",
        "payload",
        "phone",
        "properties",
        "recipient",
        "subject",
        "to",
        "traits",
        "userId",
        "user_id",
    }
)
# Chatty below WARNING, and never about our own decisions.
_QUIET = ("alembic", "asyncio", "httpcore", "httpx", "python_http_client", "sqlalchemy", "temporalio", "uvicorn")


def configure(level: str, log_format: LogFormat, *, process: str, stream: TextIO = sys.stderr) -> None:
    """Send our logs and the libraries' to one stream in one format, each line naming the process."""
    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _naming(process),
        describe_exception,
        mask_personal_data,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *processors,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=processors,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _renderer(log_format, stream)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def describe_exception(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace `exc_info` by the exception's type, its text, and where it was raised; never values of variables."""
    info = event.pop("exc_info", None)
    error = sys.exc_info()[1] if info is True else info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["error"] = type(error).__name__
        event["error_text"] = _text_of(error)
        event["trace"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in _frames(error)]
    return event


def mask_personal_data(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Drop fields that carry personal data and mask e-mail addresses in all others."""
    return {name: "[left out]" if name in _PERSONAL_FIELDS else _masked(value) for name, value in event.items()}


def _masked(value: object) -> object:
    match value:
        case str():
            return _EMAIL.sub("[email]", value)
        case dict():
            return {key: "[left out]" if key in _PERSONAL_FIELDS else _masked(inner) for key, inner in value.items()}
        case list() | tuple() | set():
            return [_masked(inner) for inner in value]
        case _:
            return value


def _text_of(error: BaseException) -> str:
    """A validation error's own text quotes what a person typed, so only places and rules of it are kept."""
    if isinstance(error, ValidationError):
        faults = error.errors(include_input=False, include_url=False, include_context=False)
        return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['type']}" for fault in faults)
    return without_quotations(str(error))


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    return traceback.extract_tb(error.__traceback__)[-8:]


def _naming(process: str) -> Processor:
    def add_process(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {"process": process, **event}

    return add_process


def _renderer(log_format: LogFormat, stream: TextIO) -> Callable[[WrappedLogger, str, EventDict], str | bytes]:
    is_console = log_format is LogFormat.CONSOLE or (log_format is LogFormat.AUTO and stream.isatty())
    return structlog.dev.ConsoleRenderer() if is_console else structlog.processors.JSONRenderer()
