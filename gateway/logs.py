"""structlog to stderr, one line an event."""

import logging
import sys

import structlog

from gateway.settings import LogSettings


def configure(settings: LogSettings, **fields: object) -> None:
    """Sets the process's logging up, with `fields` in every line; called once, at start."""

    def add_fields(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event.update(fields)
        return event

    renderer: list[structlog.typing.Processor] = (
        [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer(ensure_ascii=False)]
        if settings.format == "json"
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            *([add_fields] if fields else []),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(settings.level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # What the libraries have to say comes in the same form.
    logging.basicConfig(handlers=[_Forward()], level=logging.WARNING, force=True)


class _Forward(logging.Handler):
    """Hands the standard library's records to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger()
        fields = {"exc_info": record.exc_info} if record.exc_info else {}
        (log.error if record.levelno >= logging.ERROR else log.warning)(
            record.getMessage(), logger=record.name, **fields
        )
