"""Log lines: our own by structlog, a dependency's by the standard library, all coming out alike.

On a terminal they are for people, elsewhere one JSON object a line. Every line passes the mask (`masking.py`) as the
last thing before it is rendered. Never opens files and never sends lines anywhere but to the stream it is given.
"""

import logging
import sys
from typing import TextIO, cast

import msgspec

from tocsin.telemetry.masking import mask_field, mask_text

# structlog imports rich's tracebacks where it finds them: a quarter of a second of every start, for a traceback that
# we don't use, since it prints local variables. So it is imported as if rich were not there.
_rich = sys.modules.get("rich")
sys.modules["rich"] = None  # type: ignore[assignment]
try:
    import structlog
    from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger
finally:
    del sys.modules["rich"]
    if _rich is not None:
        sys.modules["rich"] = _rich

# Set by structlog and get_logger, never from a field of a line.
_OWN_KEYS = frozenset({"timestamp", "level", "logger"})
_CHATTY = ("uvicorn.error", "tocsin.websocket")
"""Loggers of libraries that tell of every start and every socket."""
_ANSWERED = "python_multipart"
"""Warns of each body that it can't read, which is the client's business: it is told so, with a code."""
_ENCODER = msgspec.json.Encoder()


def configure_logs(stream: TextIO = sys.stderr, *, level: str = "INFO", pretty: bool | None = None) -> None:
    """Send every log line of this process to `stream`, from `level` (a name of logging's) up.

    `pretty` chooses lines for people or JSON; left out, a terminal gets the former. Replaces what was configured
    before. Raises ValueError for an unknown level.
    """
    known = logging.getLevelNamesMapping()
    if level not in known:
        raise ValueError(f"no log level {level}; there are {', '.join(known)}")
    for_people = stream.isatty() if pretty is None else pretty
    rendering: list[Processor] = [structlog.processors.format_exc_info, mask_event, _renderer(for_people, stream)]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_chain(),
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    root = logging.getLogger()
    root.setLevel(level)
    root.handlers[:] = [handler]
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    logging.getLogger(_ANSWERED).setLevel(logging.ERROR)
    # Our own lines do not take the way through logging: it makes each three times as dear.
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *_chain(), *rendering],
        logger_factory=lambda name: _NamedLogger(stream, name),
        wrapper_class=structlog.make_filtering_bound_logger(known[level]),
        cache_logger_on_first_use=False,
    )


def get_logger(name: str) -> FilteringBoundLogger:
    """Return the logger of a room or file; its lines are events with fields: `log.info("delivery.failed", …)`."""
    return cast(FilteringBoundLogger, structlog.get_logger(name))


def mask_event(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Mask every field of a line; structlog calls it last, when a traceback is already text."""
    for key, value in event.items():
        if key == "event" or key == "exception":
            event[key] = mask_text(str(value))
        elif key not in _OWN_KEYS:
            event[key] = mask_field(key, value)
    return event


class _NamedLogger(structlog.WriteLogger):
    """Writes to the stream, and knows the name that `add_logger_name` asks for."""

    def __init__(self, stream: TextIO, name: str) -> None:
        super().__init__(stream)
        self.name = name


def _chain() -> list[Processor]:
    return [
        structlog.processors.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _renderer(for_people: bool, stream: TextIO) -> Processor:
    if for_people:
        return structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
        )
    return structlog.processors.JSONRenderer(serializer=_to_json)


def _to_json(value: object, **_: object) -> str:
    return _ENCODER.encode(value).decode()
