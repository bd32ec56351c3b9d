"""Structured logs: an event code and numbers. Never a payload, a name, a value or a parser's message."""

import logging
import sys

import structlog


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
            structlog.processors.format_exc_info,
            render,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    # Libraries: where it came from, not what it said, since a message may quote a value. aiokafka's speak of
    # partitions and groups only.
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(funcName)s:%(lineno)d"
    )
    kafka = logging.getLogger("aiokafka")
    told = logging.StreamHandler(sys.stderr)
    told.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
    kafka.addHandler(told)
    kafka.propagate = False
