"""structlog to stderr, one line an event."""

import logging
import sys

import structlog

from gateway.settings import LogSettings


def configure(settings: LogSettings) -> None:
    """Sets the process's logging up; called once, at start."""
    renderer: list[structlog.typing.Processor] = (
        [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer(ensure_ascii=False)]
        if settings.format == "json"
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(settings.level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # What the libraries have to say comes in the same form.
    handler = logging.Handler()
    handler.emit = _forward  # type: ignore[method-assign]
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def _forward(record: logging.LogRecord) -> None:
    level = "error" if record.levelno >= logging.ERROR else "warning"
    fields = {"exc_info": record.exc_info} if record.exc_info else {}
    getattr(structlog.get_logger(record.name), level)(record.getMessage(), logger=record.name, **fields)
