import msgspec
import pytest

from tocsin.wire.errors import MalformedRequest, UnsupportedMediaType
from tocsin.wire.sending import MAX_PARTS, FilePart, SmsRequest, parse_sending_body

JSON = '{"from":{"phoneNumber":"+16505550101"},"to":[{"phoneNumber":"+14157809227"}],"text":"Hi"}'
B = "ad05fc42-a66d-4a94-b807-f1c91136c17b"


def body(*parts: tuple[str, str]) -> bytes:
    text = "".join(f"--{B}\r\n{head}\r\n\r\n{data}\r\n" for head, data in parts)
    return f"{text}--{B}--\r\n".encode()


def form(head: str, data: str, kind: str = "multipart/form-data") -> tuple[str, bytes]:
    return f"{kind}; boundary={B}", body((head, data))


CLIENTS = {
    "json": ("application/json;charset=UTF-8", JSON.encode()),
    "no type": ("", JSON.encode()),
    "javascript core": form(
        "Content-Type: application/json\r\n"
        'Content-Disposition: form-data; name="request.json"; filename="request.json"',
        JSON,
    ),
    "python": form(
        'Content-Disposition: form-data; name="json"; filename="request.json"\r\nContent-Type: application/json', JSON
    ),
    "python mixed": form(
        'Content-Disposition: form-data; name="json"; filename="request.json"\r\nContent-Type: application/json',
        JSON,
        "multipart/mixed",
    ),
    "javascript form-data": form('Content-Disposition: form-data; name="json"\r\nContent-Type: application/json', JSON),
    "browser": form('Content-Disposition: form-data; name="json"', JSON),
    "documents": form("Content-Type: application/json", JSON, "multipart/mixed"),
    "form fields": (
        f"multipart/form-data; boundary={B}",
        body(
            ('Content-Disposition: form-data; name="from"', "+16505550101"),
            ('Content-Disposition: form-data; name="to"', '{"phoneNumber":"+14157809227"}'),
            ('Content-Disposition: form-data; name="text"', "Hi"),
        ),
    ),
    "form fields, plain numbers": (
        f'multipart/form-data; boundary="{B}"',
        body(
            ('Content-Disposition: form-data; name="to"', "+14157809227"),
            ('Content-Disposition: form-data; name="from"; filename=""', "+16505550101"),
            ('Content-Disposition: form-data; name="text"', "Hi"),
        ),
    ),
}


@pytest.mark.parametrize("content_type, sent", CLIENTS.values(), ids=CLIENTS.keys())
def test_every_client_s_way_to_send_a_text(content_type: str, sent: bytes) -> None:
    parsed = parse_sending_body(content_type, sent)
    request = msgspec.json.decode(parsed.document, type=SmsRequest)
    assert (request.from_.phone_number, [one.phone_number for one in request.to], request.text) == (
        "+16505550101",
        ["+14157809227"],
        "Hi",
    )
    assert parsed.files == ()


@pytest.mark.parametrize(
    "head, expected",
    [
        (
            'Content-Type: image/png\r\nContent-Disposition: form-data; name="attachments"; filename="cat.png"',
            FilePart("image/png", "cat.png", b"bytes"),
        ),
        (
            'Content-Disposition: form-data; name="attachment"; filename="Grüße.jpg"',
            FilePart("", "Grüße.jpg", b"bytes"),
        ),
        (
            'Content-Type: undefined\r\nContent-Disposition: form-data; name="attachments"; filename="a.jpg"',
            FilePart("undefined", "a.jpg", b"bytes"),
        ),
        ('Content-Disposition: attachment; filename="fax.txt"', FilePart("", "fax.txt", b"bytes")),
        ('Content-Disposition: form-data; name="attachment"', FilePart("", "", b"bytes")),
        (
            'Content-Disposition: form-data; name="attachment"; filename="../../etc/pass\x01wd"',
            FilePart("", "passwd", b"bytes"),
        ),
        (
            'Content-Type: application/json\r\nContent-Disposition: form-data; name="attachment"; filename="a.json"',
            FilePart("application/json", "a.json", b"bytes"),
        ),
    ],
)
def test_every_client_s_way_to_send_a_file(head: str, expected: FilePart) -> None:
    parsed = parse_sending_body(
        f"multipart/form-data; boundary={B}", body(("Content-Type: application/json", JSON), (head, "bytes"))
    )
    assert parsed.files == (expected,)
    assert msgspec.json.decode(parsed.document, type=SmsRequest).text == "Hi"


def test_bytes_of_a_file_are_kept_as_they_are() -> None:
    data = bytes(range(256)) * 40 + b"\r\n--" + B[:-1].encode() + b"\r\n"
    head = f'--{B}\r\nContent-Disposition: form-data; name="attachment"; filename="a"\r\n\r\n'.encode()
    sent = head + data + f"\r\n--{B}--\r\n".encode()
    assert parse_sending_body(f"multipart/form-data; boundary={B}", sent).files[0].data == data


@pytest.mark.parametrize(
    "content_type, sent",
    [
        ("multipart/form-data", body(("Content-Type: application/json", JSON))),
        (f"multipart/form-data; boundary={B}", b"no multipart at all"),
        (f"multipart/form-data; boundary={B}", b""),
        (f"multipart/form-data; boundary={B}", body(("Content-Type: application/json", JSON))[:-8]),
        (f"multipart/form-data; boundary={B}", body(("No header", JSON))),
        (f"multipart/form-data; boundary={B}", body(*[("Content-Type: text/plain", "x")] * (MAX_PARTS + 1))),
    ],
)
def test_broken_multipart_is_refused(content_type: str, sent: bytes) -> None:
    with pytest.raises(MalformedRequest):
        parse_sending_body(content_type, sent)


def test_other_types_are_refused() -> None:
    with pytest.raises(UnsupportedMediaType):
        parse_sending_body("application/x-www-form-urlencoded", b"to=1")
