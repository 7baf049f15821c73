"""What a receiver answered, or how the exchange broke off instead; and reading a head whose bytes were kept.

The sender needs a status and no more, so heads are parsed in full only where somebody looks at them. No I/O.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import httptools

from tocsin.domain.attempt import FailureKind

KEPT_BYTES = 2_048
"""How much of a head or a body is kept for a person to look at."""

LONGEST_RETRY_AFTER_S = 86_400.0


class Bounds(NamedTuple):
    """The largest answer that is read: its head, and head and body together, in bytes."""

    head: int = 64 * 1024
    total: int = 64 * 1024 + 1024 * 1024


class Answer(NamedTuple):
    """A whole answer. `raw_head` may hold more than the head: `read_head` knows. `body` is its first KEPT_BYTES."""

    status: int
    raw_head: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class Broken:
    """No whole answer. `answer` is what there was of it; `certificate`: the receiver's did not pass."""

    kind: FailureKind
    detail: str
    answer: Answer | None = None
    certificate: bool = False


class Stopped(NamedTuple):
    """The client is closing. What was sent may have arrived; nobody is to blame."""


Result = Answer | Broken | Stopped


@dataclass(slots=True)
class Head:
    """A response head; names in lower case, in the order received."""

    reason: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)

    def first(self, name: str) -> str | None:
        """The first value of the header `name` (lower case), or None."""
        return next((value for key, value in self.headers if key == name), None)

    @property
    def ends_with_connection(self) -> bool:
        """Whether nothing but the end of the connection says where the body ends."""
        codings = self.first("transfer-encoding")
        chunked = codings is not None and codings.lower().rsplit(",", 1)[-1].strip() == "chunked"
        return not chunked and (codings is not None or self.first("content-length") is None)


class _Reading:
    """Callbacks of the parser: keeps the first head that is not an interim (1xx) one."""

    def __init__(self) -> None:
        self.head = Head()
        self._parser = httptools.HttpResponseParser(self)
        self._found = False

    def feed(self, raw: bytes) -> None:
        self._parser.feed_data(raw)

    def on_message_begin(self) -> None:
        if not self._found:
            self.head = Head()

    def on_status(self, reason: bytes) -> None:
        if not self._found:
            self.head.reason += reason.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._found:
            self.head.headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self._found = self._found or self._parser.get_status_code() >= 200


def read_head(raw: bytes) -> Head:
    """Parse the head in `raw`, which begins where an answer begins; what can't be parsed is left out."""
    reading = _Reading()
    with suppress(httptools.HttpParserError, httptools.HttpParserUpgrade):  # the rest is not for us
        reading.feed(raw)
    return reading.head


def retry_after_s(text: str | None, now_ms: int) -> float | None:
    """Read Retry-After, seconds or an HTTP date, as seconds from now: 0 to a day. None for what is neither."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdecimal():
        return min(float(text[:9]), LONGEST_RETRY_AFTER_S)
    try:
        at = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError, TypeError):
        return None
    return min(max(0.0, at - now_ms / 1000), LONGEST_RETRY_AFTER_S)
