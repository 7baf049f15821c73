"""What clients send to have a message sent: JSON shapes, and the multipart bodies in all the forms that clients make.

The official SDKs differ: one always sends multipart, with the JSON part named request.json; another names it json;
documents show one without a name, and plain form fields. All are read here into one JSON document and files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from tocsin.wire.errors import MalformedRequest, UnsupportedMediaType

MAX_PARTS = 50
_MAX_FILE_NAME = 255
_JSON_NAMES = frozenset({"json", "request.json", ""})
_FILE_NAMES = frozenset({"attachment", "attachments"})
_UNSAFE_IN_NAME = re.compile(r"[\x00-\x1f\x7f]|.*[/\\]")


class NumberParty(msgspec.Struct, rename="camel"):
    """A sender or recipient by phone number; "" where the client gave none."""

    phone_number: str = ""


class CountryRequest(msgspec.Struct, rename="camel"):
    """Either of two ways to name a country."""

    id: str | int | None = None
    iso_code: str | None = None


class SmsRequest(msgspec.Struct, rename="camel"):
    """Body of createSMSMessage and createMMS. RC: CreateSMSMessage."""

    to: list[NumberParty]
    from_: NumberParty = msgspec.field(name="from", default_factory=NumberParty)
    text: str = ""
    country: CountryRequest | None = None


class ExtensionParty(msgspec.Struct, rename="camel"):
    """A sender or recipient by extension; ids come as digits or as numbers."""

    extension_id: str | int | None = None
    extension_number: str | int | None = None


class PagerRequest(msgspec.Struct, rename="camel"):
    """Body of createInternalTextMessage."""

    text: str = ""
    from_: ExtensionParty | None = msgspec.field(name="from", default=None)
    to: list[ExtensionParty] = msgspec.field(default_factory=list)
    reply_on: int | None = None


@dataclass(frozen=True, slots=True)
class FilePart:
    """A file of a multipart body; "" is a type or name that the client left out."""

    content_type: str
    file_name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class SendingBody:
    """A request body taken apart: its JSON document and its files."""

    document: bytes
    files: tuple[FilePart, ...] = ()


@dataclass(slots=True)
class _Part:
    headers: dict[str, str] = field(default_factory=dict)
    data: bytearray = field(default_factory=bytearray)

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").strip()

    def disposition(self, name: str) -> str:
        """A parameter of the part's Content-Disposition; browsers and SDKs write names in UTF-8."""
        _, options = parse_options_header(self.headers.get("content-disposition"))
        return options.get(name.encode(), b"").decode("utf-8", "replace")


def parse_sending_body(content_type: str, body: bytes) -> SendingBody:
    """Take a request body apart by its Content-Type; none at all is taken for JSON.

    Raises UnsupportedMediaType for what is neither JSON nor multipart, MalformedRequest for multipart that is broken.
    """
    kind, options = parse_options_header(content_type)
    if kind in (b"", b"application/json"):
        return SendingBody(body)
    if kind not in (b"multipart/form-data", b"multipart/mixed"):
        raise UnsupportedMediaType
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise MalformedRequest("Cannot parse request: multipart without a boundary")
    return _sorted(_parts(boundary, body))


def _parts(boundary: bytes, body: bytes) -> list[_Part]:
    reader = _PartReader()
    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": reader.begin,
            "on_part_data": reader.content,
            "on_header_field": reader.header_name,
            "on_header_value": reader.header_value,
            "on_header_end": reader.header_end,
            "on_end": reader.end,
        },
    )
    try:
        parser.write(body)
        parser.finalize()
    except FormParserError as broken:
        raise MalformedRequest(f"Cannot parse request: {broken}") from broken
    if not reader.ended:
        raise MalformedRequest("Cannot parse request: the multipart body breaks off")
    return reader.parts


class _PartReader:
    """Collects what the parser calls out."""

    def __init__(self) -> None:
        self.parts: list[_Part] = []
        self.ended = False
        self._name = bytearray()
        self._value = bytearray()

    def begin(self) -> None:
        if len(self.parts) == MAX_PARTS:
            raise MalformedRequest(f"Cannot parse request: more than {MAX_PARTS} parts")
        self.parts.append(_Part())

    def content(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].data += data[start:end]

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        # latin-1 keeps every byte; `disposition` reads it as UTF-8.
        self.parts[-1].headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1")
        self._name.clear()
        self._value.clear()

    def end(self) -> None:
        self.ended = True


def _sorted(parts: Sequence[_Part]) -> SendingBody:
    document: bytes | None = None
    files: list[FilePart] = []
    fields: list[tuple[str, bytes]] = []
    for part in parts:
        name, file_name = part.disposition("name"), part.disposition("filename")
        if document is None and _is_document(part, name):
            document = bytes(part.data)
        elif file_name or name in _FILE_NAMES:
            files.append(FilePart(part.content_type, _safe_name(file_name), bytes(part.data)))
        else:
            fields.append((name, bytes(part.data)))
    return SendingBody(document if document is not None else _document(fields), tuple(files))


def _is_document(part: _Part, name: str) -> bool:
    """The JSON part; in a browser's form it may be a plain field named json."""
    kind, _ = parse_options_header(part.content_type)
    return name in _JSON_NAMES and (kind == b"application/json" or (kind == b"" and name != ""))


def _document(fields: Sequence[tuple[str, bytes]]) -> bytes:
    """Make the JSON document of plain form fields: numbers as they are or JSON objects, `to` repeated."""
    made: dict[str, object] = {}
    recipients: list[object] = []
    for name, data in fields:
        text = data.decode("utf-8", "replace")
        if name == "to":
            recipients.append(_party(text))
        elif name == "from":
            made["from"] = _party(text)
        elif name == "text":
            made["text"] = text
    if recipients:
        made["to"] = recipients
    return msgspec.json.encode(made)


def _party(text: str) -> object:
    return msgspec.Raw(text.encode()) if text.lstrip().startswith("{") else {"phoneNumber": text.strip()}


def _safe_name(name: str) -> str:
    """A file name without folders and control characters."""
    return _UNSAFE_IN_NAME.sub("", name)[-_MAX_FILE_NAME:]
