"""Times on the wire: `YYYY-MM-DDTHH:MM:SS.mmmZ` out, every documented partial form in."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

from tocsin.domain.clock import to_datetime, to_ms

_PARTIAL = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ](\d\d)(?::?(\d\d)(?::?(\d\d)(?:[.,](\d{1,9}))?)?)?)?)?)?"
    r"\s*(Z|z|[+-]\d\d(?::?\d\d)?)?"
)


def render_time(at_ms: int) -> str:
    """Milliseconds since the epoch as `2026-11-22T06:00:00.123Z`."""
    return f"{_to_second(at_ms // 1000)}.{at_ms % 1000:03d}Z"


@lru_cache(maxsize=256)
def _to_second(at_s: int) -> str:
    """Most times that are rendered lie in the second that is passing, and formatting a date is slow."""
    return f"{to_datetime(at_s * 1000):%Y-%m-%dT%H:%M:%S}"


def render_time_to_second(at_ms: int) -> str:
    """The same with its milliseconds cut to `.000Z`, as REST gives creationTime."""
    return render_time(at_ms - at_ms % 1000)


def parse_time(text: str) -> int:
    """Read a full or partial ISO 8601 time (`2012`, `2012-07`, minutes, fractions, offsets) to milliseconds, UTC.

    A `+` that arrived as a space is understood. Raises ValueError.
    """
    found = _PARTIAL.fullmatch(re.sub(r" (\d\d:?\d\d)$", r"+\1", text.strip()))
    if found is None:
        raise ValueError(f"not an ISO 8601 time: {text!r}")
    year, month, day, hour, minute, second = (
        int(part or default) for part, default in zip(found.groups()[:6], (0, 1, 1, 0, 0, 0), strict=True)
    )
    micros = int((found[7] or "0")[:6].ljust(6, "0"))
    return to_ms(datetime(year, month, day, hour, minute, second, micros, _zone(found[8])))


def _zone(text: str | None) -> timezone:
    if text is None or text in "Zz":
        return UTC
    digits = text[1:].replace(":", "")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:] or 0))
    return timezone(-offset if text[0] == "-" else offset)
