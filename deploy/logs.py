"""Structured logs: an event code and numbers. Never a payload, a name, a value or a parser's message."""

import contextlib
import io
import logging
import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import TextIO, TypeAlias, cast

import structlog

SysExcInfo: TypeAlias = (
    "tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]"
)


def configure(service: str, *, human: bool) -> None:
    """JSON lines for machines, aligned text for a terminal; every line names its service."""
    render: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=False) if human else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _placed,
            render,
        ],
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Paper())),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    # Libraries: where it came from, not what it said, since a message may quote a value. aiokafka's speak of
    # partitions and groups only.
    _listen(logging.getLogger(), _Place("%(levelname)s %(name)s %(funcName)s:%(lineno)d"))
    kafka = logging.getLogger("aiokafka")
    _listen(kafka, _Place("%(levelname)s %(name)s %(message)s"))
    kafka.propagate = False
    sys.excepthook = _crashed


class _Paper(io.TextIOBase):
    """Standard error; a line that its full disk does not take is lost, and its writer goes on."""

    def write(self, line: str) -> int:
        with contextlib.suppress(OSError):
            sys.stderr.write(line)
        return len(line)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()


def _placed(_logger: object, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Our own lines tell an exception as places too."""
    asked = event.pop("exc_info", None)
    error = asked if isinstance(asked, BaseException) else sys.exc_info()[1] if asked else None
    if error is not None:
        event["at"] = places(error)
    return event


def _listen(logger: logging.Logger, form: logging.Formatter) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(form)
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)


class _Place(logging.Formatter):
    """An exception is told by its class and its frames; its text may quote what was being handled."""

    def formatException(self, ei: "SysExcInfo") -> str:  # noqa: N802 - logging's own name
        return places(ei[1])


def _crashed(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    print("crashed:", places(error), file=sys.stderr)  # noqa: T201 - the last word of a process


def places(error: BaseException | None) -> str:
    """An exception and its causes as classes and places, without a word of their text.

    >>> try:
    ...     int("186/104")
    ... except ValueError as error:
    ...     "186" in places(error), places(error).startswith("ValueError")
    (False, True)
    """
    lines = []
    while error is not None:
        frames = [
            f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)
        ]
        lines.append(" < ".join([type(error).__name__, *reversed(frames)]))
        if isinstance(error, BaseExceptionGroup):
            lines += [places(inner) for inner in error.exceptions]
        error = error.__cause__ or error.__context__
    return "\n  ".join(lines)
