"""An attachment's bytes as an HTTP answer: ranges, file names, and headers that make stored content harmless.

What a stranger sent may be a web page or a script; a browser that opens it must neither guess its type nor run it.
Source: RC readMessageContent; RFC 9110 section 14 (ranges), RFC 6266 (file names).
"""

from __future__ import annotations

import mimetypes
import re
from urllib.parse import quote

from tocsin.api.call import Call, Reply
from tocsin.domain.errors import InvalidParameter, Refused
from tocsin.domain.message import Attachment, AttachmentType
from tocsin.messaging.reading import OpenAttachment
from tocsin.wire.errors import render_error

_HARMLESS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox"),
    # The address may hold an access token.
    ("Referrer-Policy", "no-referrer"),
    ("Accept-Ranges", "bytes"),
)
_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(?: *; *[\w.-]+=(?:[\w.+-]+|\"[\w .+:/-]*\"))*", re.ASCII)
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_DISPOSITIONS = {"inline": "inline", "attachment": "attachment"}


def content_reply(call: Call, opened: OpenAttachment) -> Reply:
    """Return the attachment, or the range of it that the request names.

    Raises InvalidParameter for an unknown contentDisposition; a range that lies outside is answered 416 CMN-107.
    """
    size = opened.attachment.size
    headers = [*_HARMLESS]
    disposition = _disposition(call, opened.attachment)
    if disposition is not None:
        headers.append(("Content-Disposition", disposition))
    wanted = call.headers.get("range")
    # Several ranges would need a multipart answer; the whole is a permitted one. So it is for units other than bytes.
    if wanted is None or not wanted.startswith("bytes=") or "," in wanted:
        return Reply(
            200, content_type=_media_type(opened.attachment), headers=headers, stream=opened.read(0, size), length=size
        )
    found = parse_range(wanted, size)
    if found is None:
        refusal = render_error(Refused("CMN-107", "Requested range is not satisfiable", parameter="Range"))
        return Reply(refusal.status, refusal.body, headers=(("Content-Range", f"bytes */{size}"),))
    start, end = found
    headers.append(("Content-Range", f"bytes {start}-{end}/{size}"))
    return Reply(
        206,
        content_type=_media_type(opened.attachment),
        headers=headers,
        stream=opened.read(start, end - start + 1),
        length=end - start + 1,
    )


def parse_range(text: str, size: int) -> tuple[int, int] | None:
    """Return first and last byte of `bytes=a-b`, `bytes=a-` or `bytes=-n`; None where it names nothing of `size`."""
    found = _RANGE.fullmatch(text)
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        start, end = max(0, size - int(last)), size - 1
    elif last and int(last) < int(first):
        return None
    else:
        start, end = int(first), min(int(last), size - 1) if last else size - 1
    return (start, end) if start <= end else None


def _media_type(attachment: Attachment) -> str:
    if attachment.type is AttachmentType.TEXT:
        return "text/plain;charset=UTF-8"
    return attachment.content_type if _MEDIA_TYPE.fullmatch(attachment.content_type) else "application/octet-stream"


def _disposition(call: Call, attachment: Attachment) -> str | None:
    wanted, name = call.query.first("contentDisposition"), call.query.first("contentDispositionFilename")
    if wanted is None:
        return None
    kind = _DISPOSITIONS.get(wanted.lower())
    if kind is None:
        raise InvalidParameter(
            "Parameter [contentDisposition] value is invalid", parameter="contentDisposition", value=wanted
        )
    return f"{kind}; {_file_name(name or attachment.file_name or _default_name(attachment))}"


def _default_name(attachment: Attachment) -> str:
    bare = attachment.content_type.partition(";")[0].strip().lower()
    return f"{attachment.attachment_id}{mimetypes.guess_extension(bare) or ''}"


def _file_name(name: str) -> str:
    """Return the name as header parameters: no path, no control characters, no way out of the quotes."""
    plain = re.sub(r"[\x00-\x1f\x7f\"\\/:]", "_", name)[:200]
    ascii_only = plain.encode("ascii", "replace").decode().replace("?", "_")
    extended = "" if ascii_only == plain else f"; filename*=UTF-8''{quote(plain, safe='')}"
    return f'filename="{ascii_only}"{extended}'
