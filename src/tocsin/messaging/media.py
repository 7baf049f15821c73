"""The files of an MMS: how many, how large, of which types, and whether the bytes are what their type says.

Pure checks. Limits and types: RC createMMS; an inbound MMS is held to the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tocsin.domain.errors import Refused

MAX_FILES = 10
MAX_TOTAL_BYTES = 1_500_000


@dataclass(frozen=True, slots=True)
class MediaFile:
    """A file as it came. `content_type` may be "" or wrong: `checked_media` settles it."""

    content_type: str
    file_name: str | None
    data: bytes


def _starts(*heads: bytes) -> Callable[[bytes], bool]:
    return lambda data: data.startswith(heads)


def _is_riff(form: bytes) -> Callable[[bytes], bool]:
    return lambda data: data.startswith(b"RIFF") and data[8:12] == form


def _is_media_box(data: bytes) -> bool:
    """ISO base media (mp4, 3gp, QuickTime): a box whose type stands after its size."""
    return data[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")


def _is_mpeg_audio(data: bytes) -> bool:
    """An ID3 tag, or a frame's eleven bits of sync."""
    return data.startswith(b"ID3") or (len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0)


def _is_text(data: bytes) -> bool:
    """Bytes that some encoding of text may have; a zero byte is none but UTF-16's, which begins with its mark."""
    return b"\0" not in data or data.startswith((b"\xff\xfe", b"\xfe\xff"))


def _is_svg(data: bytes) -> bool:
    return _is_text(data) and re.search(rb"<svg[\s>/:]", data[:4096]) is not None


_OGG, _ASF, _AMR, _BOX = (
    _starts(b"OggS"),
    _starts(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
    _starts(b"#!AMR"),
    _is_media_box,
)
_CHECKS: dict[str, Callable[[bytes], bool]] = {
    "image/jpeg": _starts(b"\xff\xd8\xff"),
    "image/png": _starts(b"\x89PNG\r\n\x1a\n"),
    "image/gif": _starts(b"GIF87a", b"GIF89a"),
    "image/bmp": _starts(b"BM"),
    "image/tiff": _starts(b"II*\0", b"MM\0*"),
    "image/webp": _is_riff(b"WEBP"),
    "image/svg+xml": _is_svg,
    "video/3gpp": _BOX,
    "video/mp4": _BOX,
    "video/quicktime": _BOX,
    "video/mpeg": _starts(b"\0\0\1\xba", b"\0\0\1\xb3", b"\x47"),
    "video/avi": _is_riff(b"AVI "),
    "video/x-flv": _starts(b"FLV"),
    "video/x-ms-wmv": _ASF,
    "video/webm": _starts(b"\x1a\x45\xdf\xa3"),
    "video/ogg": _OGG,
    "audio/ogg": _OGG,
    "audio/mpeg": _is_mpeg_audio,
    "audio/mp4": _BOX,
    "audio/3gpp": lambda data: _BOX(data) or _AMR(data),
    "audio/amr": _AMR,
    "audio/wav": _is_riff(b"WAVE"),
    "text/vcard": _is_text,
    "text/html": _is_text,
    "text/plain": _is_text,
    "text/csv": _is_text,
    "text/calendar": _is_text,
    "application/zip": _starts(b"PK\3\4", b"PK\5\6"),
    "application/gzip": _starts(b"\x1f\x8b"),
    "application/rtf": _starts(b"{\\rtf"),
    "application/pdf": lambda data: b"%PDF-" in data[:1024],
}
"""Every type that an MMS may carry, and what its bytes must look like."""

_OTHER_NAMES = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "image/x-ms-bmp": "image/bmp",
    "audio/mp3": "audio/mpeg",
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "video/x-msvideo": "video/avi",
    "text/x-vcard": "text/vcard",
    "application/x-gzip": "application/gzip",
    "application/x-zip-compressed": "application/zip",
    "text/rtf": "application/rtf",
}
_SUFFIXES = {
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "bmp": "image/bmp",
    "gif": "image/gif",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "svg": "image/svg+xml",
    "webp": "image/webp",
    "3gp": "video/3gpp",
    "mp4": "video/mp4",
    "mpg": "video/mpeg",
    "mpeg": "video/mpeg",
    "avi": "video/avi",
    "flv": "video/x-flv",
    "wmv": "video/x-ms-wmv",
    "mov": "video/quicktime",
    "webm": "video/webm",
    "ogv": "video/ogg",
    "mp3": "audio/mpeg",
    "m4a": "audio/mp4",
    "ogg": "audio/ogg",
    "wav": "audio/wav",
    "amr": "audio/amr",
    "vcf": "text/vcard",
    "html": "text/html",
    "txt": "text/plain",
    "csv": "text/csv",
    "ics": "text/calendar",
    "zip": "application/zip",
    "gz": "application/gzip",
    "rtf": "application/rtf",
    "pdf": "application/pdf",
}


def checked_media(files: Sequence[MediaFile], parameter: str) -> tuple[MediaFile, ...]:
    """Return `files` with their types settled; `parameter` is what the client calls them.

    A type that the client left out, or sent as "undefined" or as plain bytes, is read off the file name. Raises
    Refused: MSG-337 (size of one), MSG-338 (all together, or too many), MSG-347 (empty), MSG-348 (type).
    """
    if len(files) > MAX_FILES:
        raise Refused("MSG-338", f"A message may have {MAX_FILES} attachments at most", parameter=parameter)
    for file in files:
        if not file.data:
            raise Refused("MSG-347", "Attachment is empty", parameter=parameter, value=file.file_name)
        if len(file.data) > MAX_TOTAL_BYTES:
            raise Refused(
                "MSG-337",
                f"Attachment is larger than {MAX_TOTAL_BYTES} bytes",
                parameter=parameter,
                value=file.file_name,
            )
    if sum(len(file.data) for file in files) > MAX_TOTAL_BYTES:
        raise Refused("MSG-338", f"Attachments are larger than {MAX_TOTAL_BYTES} bytes together", parameter=parameter)
    return tuple(replace(file, content_type=_settled_type(file, parameter)) for file in files)


def _settled_type(file: MediaFile, parameter: str) -> str:
    named = file.content_type.partition(";")[0].strip().lower()
    if named in ("", "undefined", "application/octet-stream"):
        named = _SUFFIXES.get((file.file_name or "").rpartition(".")[2].lower(), named)
    named = _OTHER_NAMES.get(named, named)
    check = _CHECKS.get(named)
    if check is None:
        raise Refused("MSG-348", f"Attachments of type {named or 'unknown'} can't be sent", parameter=parameter)
    if not check(file.data):
        raise Refused("MSG-348", f"The attachment is not what its type {named} says", parameter=parameter)
    return named
