import pytest

from tocsin.delivery.answer import read_head, retry_after_s

NOW_MS = 1_795_327_200_000  # 2026-11-22T06:00:00Z


@pytest.mark.parametrize(
    "text, expected",
    [
        (None, None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("999999999999999999999999", 86_400.0),
        ("Sun, 22 Nov 2026 06:01:30 GMT", 90.0),
        ("Sunday, 22-Nov-26 06:01:30 GMT", 90.0),
        ("Sun, 22 Nov 2026 05:00:00 GMT", 0.0),
        ("Sun, 22 Nov 2036 06:00:00 GMT", 86_400.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("٣", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_never_more_than_a_day(text: str | None, expected: float | None) -> None:
    assert retry_after_s(text, NOW_MS) == expected


def test_the_head_that_counts_is_the_first_final_one() -> None:
    early, final = (
        b"HTTP/1.1 103 Early\r\nA: 1\r\n\r\n",
        b"HTTP/1.1 500 Oh No\r\nB: 2\r\nB: 3\r\nContent-Length: 0\r\n\r\n",
    )
    raw = early + final + b"HTTP/1.1 200 OK\r\n"
    head = read_head(raw)
    assert head.reason == "Oh No"
    assert head.first("b") == "2"
    assert head.first("a") is None


def test_what_is_no_head_has_no_headers() -> None:
    assert read_head(b"220 mail.example ESMTP\r\n").headers == []


@pytest.mark.parametrize(
    "headers, until_close",
    [
        (b"", True),
        (b"Content-Length: 3\r\n", False),
        (b"Transfer-Encoding: chunked\r\n", False),
        (b"Transfer-Encoding: gzip, chunked\r\n", False),
        (b"Transfer-Encoding: gzip\r\n", True),
    ],
)
def test_which_bodies_end_with_the_connection(headers: bytes, until_close: bool) -> None:
    assert read_head(b"HTTP/1.1 200 OK\r\n" + headers + b"\r\n").ends_with_connection is until_close
