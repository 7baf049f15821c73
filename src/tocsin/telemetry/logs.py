"""Log lines: structlog over the standard library's logging, so that a dependency's lines come out like our own.

On a terminal they are for people, elsewhere one JSON object a line. Every line passes the mask (`masking.py`) as the
last thing before it is rendered. Never opens files and never sends lines anywhere but to the stream it is given.
"""

import logging
import sys
from typing import TextIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from tocsin.telemetry.masking import mask_field, mask_text

# Set by structlog itself, never from outside.
_OWN_KEYS = frozenset({"timestamp", "level", "logger"})
_ENCODER = msgspec.json.Encoder()


def configure_logs(stream: TextIO = sys.stderr, *, level: str = "INFO", pretty: bool | None = None) -> None:
    """Send every log line of this process to `stream`, from `level` (a name of logging's) up.

    `pretty` chooses lines for people or JSON; left out, a terminal gets the former. Replaces what was configured
    before. Raises ValueError for an unknown level.
    """
    for_people = stream.isatty() if pretty is None else pretty
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_chain(), processors=_rendering(for_people, stream))
    )
    root = logging.getLogger()
    root.setLevel(level)
    root.handlers[:] = [handler]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_chain(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of a room or file; its lines are events with fields: `log.info("delivery.attempted", …)`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def mask_event(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Mask every field of a line; structlog calls it last, when a traceback is already text."""
    for key, value in event.items():
        if key == "event" or key == "exception":
            event[key] = mask_text(str(value))
        elif key not in _OWN_KEYS:
            event[key] = mask_field(key, value)
    return event


def _chain() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _rendering(for_people: bool, stream: TextIO) -> list[Processor]:
    renderer: Processor
    if for_people:
        # The default traceback prints local variables, texts and tokens among them.
        renderer = structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    else:
        renderer = structlog.processors.JSONRenderer(serializer=_to_json)
    return [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        mask_event,
        renderer,
    ]


def _to_json(value: object, **_: object) -> str:
    return _ENCODER.encode(value).decode()
