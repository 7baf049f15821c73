from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.stored_messages import media
from tocsin.api.attachment_content import content_reply, parse_range
from tocsin.api.call import Call, Query, Reply
from tocsin.messaging.reading import OpenAttachment

CONTENT = b"0123456789"


async def read(start: int, length: int) -> AsyncIterator[bytes]:
    yield CONTENT[start : start + length]


def reply(content_type: str = "image/png", wanted: str | None = None, **query: str) -> Reply:
    headers = {} if wanted is None else {"range": wanted}
    call = Call("GET", "/content", {}, Query(tuple(query.items())), headers, b"", "https://tocsin.example")
    return content_reply(call, OpenAttachment(replace(media(7, content_type=content_type), file_name=None), read))


@pytest.mark.parametrize(
    "text, found",
    [
        ("bytes=0-9", (0, 9)),
        ("bytes=0-0", (0, 0)),
        ("bytes=3-", (3, 9)),
        ("bytes=3-99", (3, 9)),
        ("bytes=-3", (7, 9)),
        ("bytes=-99", (0, 9)),
        ("bytes=-0", None),
        ("bytes=10-", None),
        ("bytes=5-2", None),
        ("bytes=12-11", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=1-2-3", None),
        ("bytes=1234567890123456789-", None),
    ],
)
def test_a_range_is_read(text: str, found: tuple[int, int] | None) -> None:
    assert parse_range(text, len(CONTENT)) == found


def test_nothing_of_an_empty_attachment_can_be_ranged() -> None:
    assert [parse_range(text, 0) for text in ("bytes=0-", "bytes=-1", "bytes=0-0")] == [None, None, None]


@pytest.mark.anyio
@pytest.mark.parametrize("wanted", [None, "bytes=0-1,3-4", "lines=1-2"])
async def test_what_is_no_single_range_of_bytes_gives_the_whole(wanted: str | None) -> None:
    answer = reply(wanted=wanted)
    assert answer.stream is not None
    assert (answer.status, answer.length) == (200, 10)
    assert b"".join([piece async for piece in answer.stream]) == CONTENT


@pytest.mark.parametrize(
    "stored, served",
    [
        ("image/svg+xml; charset=utf-8", "image/svg+xml; charset=utf-8"),
        ("image/png\r\nX-Evil: 1", "application/octet-stream"),
        ("undefined", "application/octet-stream"),
        ("", "application/octet-stream"),
    ],
)
def test_a_content_type_that_is_none_is_not_served(stored: str, served: str) -> None:
    assert reply(stored).content_type == served


def test_a_file_is_named_after_its_attachment_and_type() -> None:
    assert ("Content-Disposition", 'attachment; filename="7.png"') in reply(contentDisposition="attachment").headers
    assert ("Content-Disposition", 'inline; filename="7"') in reply("x-a/x-b", contentDisposition="Inline").headers
