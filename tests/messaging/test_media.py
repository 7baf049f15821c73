import pytest

from tocsin.domain.errors import Refused
from tocsin.messaging.media import MediaFile, checked_media

JPEG = b"\xff\xd8\xff\xe0 rest"


@pytest.mark.parametrize(
    "content_type, name, data, settled",
    [
        ("image/jpeg", "a", JPEG, "image/jpeg"),
        ("image/jpg; name=a.jpg", "a", JPEG, "image/jpeg"),
        ("undefined", "Photo.JPG", JPEG, "image/jpeg"),
        ("", "photo.jpeg", JPEG, "image/jpeg"),
        ("application/octet-stream", "clip.mp4", b"\0\0\0\x18ftypisom", "video/mp4"),
        ("video/webm", "a", b"\x1a\x45\xdf\xa3", "video/webm"),
        ("image/webp", "a", b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        ("audio/x-wav", "a", b"RIFF\0\0\0\0WAVEfmt ", "audio/wav"),
        ("audio/mpeg", "a", b"\xff\xfb\x90", "audio/mpeg"),
        ("audio/3gpp", "a", b"#!AMR\n", "audio/3gpp"),
        ("image/svg+xml", "a", b'<?xml version="1.0"?><svg xmlns="x"/>', "image/svg+xml"),
        ("text/vcard", "a.vcf", b"BEGIN:VCARD", "text/vcard"),
        ("text/plain", "a.txt", "ä".encode("utf-16"), "text/plain"),
        ("application/pdf", "a", b"%PDF-1.7", "application/pdf"),
    ],
)
def test_types_that_can_be_sent(content_type: str, name: str, data: bytes, settled: str) -> None:
    assert checked_media([MediaFile(content_type, name, data)], "media")[0].content_type == settled


@pytest.mark.parametrize(
    "content_type, name, data",
    [
        ("image/jpeg", "a.jpg", b"<html>"),
        ("text/plain", "a.txt", b"\0\1\2"),
        ("image/svg+xml", "a.svg", b"<html></html>"),
        ("application/x-msdownload", "a.exe", b"MZ"),
        ("undefined", "a.exe", b"MZ"),
        ("", None, JPEG),
    ],
)
def test_types_that_can_not(content_type: str, name: str | None, data: bytes) -> None:
    with pytest.raises(Refused) as refused:
        checked_media([MediaFile(content_type, name, data)], "media")
    assert (refused.value.code, refused.value.parameter) == ("MSG-348", "media")
