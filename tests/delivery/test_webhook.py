import asyncio
from collections.abc import Callable

import pytest

from tests.delivery.sending import begin, delivered, failed, sent, subscription_to, webhook_transport
from tests.goldens import GOLDEN_DIR, Golden
from tests.receiver import Behaviour, Receiver, tls_contexts
from tocsin.domain.attempt import Delivered, Failed, FailureKind, Withheld
from tocsin.domain.handshake import (
    BadCertificate,
    HandshakePassed,
    HandshakeResult,
    HttpsRequired,
    InvalidResponse,
    NotReturned,
    RefusedAddress,
    Unreachable,
    WrongStatus,
)
from tocsin.domain.ids import AccountId

pytestmark = pytest.mark.anyio
ACCOUNT = AccountId(400_000_001)


def compare_request(golden: Golden, name: str, request: bytes) -> None:
    """Golden files of requests are the bytes as sent; only the port, which is the test's, is replaced."""
    path = GOLDEN_DIR / "webhook" / f"{name}.http"
    if golden.rewrite:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(request)
    assert request == path.read_bytes()


async def test_a_notification_has_exactly_the_documented_bytes(golden: Golden) -> None:
    async with Receiver() as receiver, webhook_transport() as transport:
        subscription = subscription_to(receiver.url + "?tenant=7", token="s3cret-Token")
        assert isinstance(
            await sent(transport, subscription, b'{"uuid":"u-1","body":{"name":"J\xc3\xb6rg"}}'), Delivered
        )
        request = await receiver.next()
        compare_request(golden, "notification", _without_port(receiver, request.raw_head + request.body))
        assert isinstance(await sent(transport, subscription_to(receiver.url), b"{}"), Delivered)
        request = await receiver.next()
        compare_request(golden, "notification-without-token", _without_port(receiver, request.raw_head + request.body))


async def test_a_handshake_has_exactly_the_documented_bytes(golden: Golden) -> None:
    async with Receiver() as receiver, webhook_transport() as transport:
        assert isinstance(await transport.handshake(receiver.url, "s3cret-Token", ACCOUNT), HandshakePassed)
        request = await receiver.next_handshake()
        token = request.headers["validation-token"]
        raw = _without_port(receiver, request.raw_head + request.body).replace(token.encode(), b"<random>")
        compare_request(golden, "handshake", raw)
        assert isinstance(await transport.handshake(receiver.url, "s3cret-Token", ACCOUNT), HandshakePassed)
        assert (await receiver.next_handshake()).headers["validation-token"] != token


def _without_port(receiver: Receiver, raw: bytes) -> bytes:
    return raw.replace(f":{receiver.port}".encode(), b":<port>")


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_2xx_is_delivered(status: int) -> None:
    async with Receiver() as receiver, webhook_transport() as transport:
        receiver.answers(Behaviour(status=status))
        assert (await delivered(transport, subscription_to(receiver.url))).http_status == status


BAD = {
    "404": (Behaviour(status=404, reason="Not Found"), FailureKind.STATUS, "404 Not Found"),
    "redirect": (
        Behaviour(status=302, reason="Found", headers={"Location": "http://127.0.0.1:1/"}),
        FailureKind.STATUS,
        "302 Found",
    ),
    "304": (Behaviour(status=304, reason="Not Modified"), FailureKind.STATUS, "304"),
    "no answer": (Behaviour(drop=True), FailureKind.RESET, "did not answer"),
    "half a head": (Behaviour(raw=b"HTTP/1.1 200 OK\r\nServer: x"), FailureKind.RESET, "before the answer ended"),
    "head without its body": (
        Behaviour(cut_after_head=True, body=b"promised"),
        FailureKind.RESET,
        "before the answer ended",
    ),
    "not HTTP": (Behaviour(raw=b"220 mail.example ESMTP\r\n"), FailureKind.PROTOCOL, "not HTTP"),
    "switching protocols": (
        Behaviour(raw=b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", keep_open=True),
        FailureKind.PROTOCOL,
        "switch",
    ),
    "two lengths": (
        Behaviour(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", keep_open=True),
        FailureKind.PROTOCOL,
        "not HTTP",
    ),
    "huge head": (
        Behaviour(raw=b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, keep_open=True),
        FailureKind.TOO_LARGE,
        "65536 bytes",
    ),
    "huge body": (Behaviour(body=b"x" * 1_200_000), FailureKind.TOO_LARGE, "1114112 bytes"),
    "huge chunked body": (Behaviour(body=b"x" * 1_200_000, chunked=True), FailureKind.TOO_LARGE, "1114112 bytes"),
}


@pytest.mark.parametrize("behaviour, kind, detail", BAD.values(), ids=BAD.keys())
async def test_a_bad_receiver_is_told_apart_and_the_next_notification_still_arrives(
    behaviour: Behaviour, kind: FailureKind, detail: str
) -> None:
    async with Receiver() as receiver, webhook_transport() as transport:
        receiver.answers(behaviour)
        outcome = await failed(transport, subscription_to(receiver.url))
        assert outcome.kind is kind
        assert detail in outcome.detail
        await delivered(transport, subscription_to(receiver.url))
        assert len(receiver.received) == 2


SLOW: dict[str, Callable[[], Behaviour]] = {
    "silent": lambda: Behaviour(until=asyncio.Event()),
    "head and no more": lambda: Behaviour(body=b"drop by drop", drip=asyncio.Semaphore(0)),
    "drip": lambda: Behaviour(body=b"drop by drop", drip=asyncio.Semaphore(4)),
    "interim answers only": lambda: Behaviour(raw=b"HTTP/1.1 102 Processing\r\n\r\n" * 3, keep_open=True),
}


@pytest.mark.parametrize("slow", SLOW.values(), ids=SLOW.keys())
async def test_the_deadline_is_for_the_whole_answer(slow: Callable[[], Behaviour]) -> None:
    async with Receiver() as receiver, webhook_transport(within_s=0.1) as transport:
        receiver.answers(slow())
        outcome = await failed(transport, subscription_to(receiver.url))
        assert outcome.kind is FailureKind.TIMEOUT
        assert "0.1 s" in outcome.detail
        assert outcome.duration_ms >= 99  # loops count in whole milliseconds


async def test_nobody_listening_is_a_failed_connection() -> None:
    async with Receiver() as receiver:
        url = receiver.url
    async with webhook_transport() as transport:
        outcome = await failed(transport, subscription_to(url))
        assert outcome.kind is FailureKind.CONNECT
        assert outcome.detail == "no connection to the receiver: Connection refused"


async def test_a_failure_keeps_the_beginning_of_the_answer_and_no_secret() -> None:
    async with Receiver() as receiver, webhook_transport() as transport:
        headers = {"Set-Cookie": "session=abc", "X-Seen": "tok-123456", "Retry-After": "7"}
        receiver.answers(Behaviour(status=503, reason="Busy", headers=headers, body=b"tok-123456 " + b"x" * 9_000))
        outcome = await failed(transport, subscription_to(receiver.url, token="tok-123456"))
        assert outcome.http_status == 503
        assert outcome.retry_after_s == 7
        assert outcome.response_head.splitlines()[0] == "503 Busy"
        assert "set-cookie: [hidden]" in outcome.response_head
        assert "x-seen: [hidden]" in outcome.response_head
        assert outcome.response_body.startswith("[hidden] xxx")
        assert len(outcome.response_body) <= 2_048


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nuntil the end of the connection",
        b"HTTP/1.0 200 OK\r\n\r\nuntil the end of the connection",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok and more than promised",
    ],
)
async def test_unusual_answers_that_are_fine(raw: bytes) -> None:
    async with Receiver() as receiver, webhook_transport() as transport:
        receiver.answers(Behaviour(raw=raw))
        await delivered(transport, subscription_to(receiver.url))


@pytest.mark.parametrize("address", ["http://10.0.0.1/hook", "http://user@127.0.0.1/hook", "gopher://127.0.0.1/"])
async def test_a_refused_address_is_an_outcome_that_comes_after_send_returns(address: str) -> None:
    async with webhook_transport() as transport:
        outcome = begin(transport, subscription_to(address))
        assert not outcome.done()
        refused = await outcome
        assert isinstance(refused, Failed)
        assert refused.kind is FailureKind.REFUSED_ADDRESS


async def test_serve_sends_to_https_only() -> None:
    async with Receiver() as receiver, webhook_transport(https_only=True) as transport:
        outcome = await failed(transport, subscription_to(receiver.url))
        assert (outcome.kind, outcome.detail) == (FailureKind.REFUSED_ADDRESS, "HTTPS is required")
        assert await transport.handshake(receiver.url, None, ACCOUNT) == HttpsRequired()
        assert receiver.connections == 0


async def test_a_token_that_would_add_a_header_is_refused() -> None:
    async with Receiver() as receiver, webhook_transport() as transport:
        outcome = await failed(transport, subscription_to(receiver.url, token="x\r\nEvil: 1"))
        assert outcome.kind is FailureKind.REFUSED_ADDRESS
        assert isinstance(await transport.handshake(receiver.url, "x\r\nEvil: 1", ACCOUNT), RefusedAddress)
        assert receiver.connections == 0


async def test_tls_is_verified() -> None:
    server, client = tls_contexts("127.0.0.1")
    other_server, _ = tls_contexts("127.0.0.1")
    wrong_name, client_of_wrong_name = tls_contexts("receiver.example")
    async with Receiver(tls=server) as receiver, webhook_transport(tls=client, https_only=True) as transport:
        await delivered(transport, subscription_to(receiver.url))
        assert isinstance(await transport.handshake(receiver.url, None, ACCOUNT), HandshakePassed)
        assert receiver.connections == 1
    async with Receiver(tls=other_server) as receiver, webhook_transport(tls=client) as transport:
        outcome = await failed(transport, subscription_to(receiver.url))
        assert outcome.kind is FailureKind.TLS
        assert "certificate" in outcome.detail
        assert isinstance(await transport.handshake(receiver.url, None, ACCOUNT), BadCertificate)
    async with Receiver(tls=wrong_name) as receiver, webhook_transport(tls=client_of_wrong_name) as transport:
        assert isinstance(await transport.handshake(receiver.url, None, ACCOUNT), BadCertificate)


async def test_a_receiver_without_tls_at_an_https_address() -> None:
    def answers_in_plain_text(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answers_in_plain_text, "127.0.0.1", 0)
    async with server, webhook_transport() as transport:
        address = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        assert (await failed(transport, subscription_to(address))).kind is FailureKind.TLS
        assert isinstance(await transport.handshake(address, None, ACCOUNT), Unreachable)
    async with Receiver() as silent, webhook_transport(within_s=0.1) as transport:
        outcome = await failed(transport, subscription_to(silent.url.replace("http:", "https:")))
        assert outcome.kind is FailureKind.TIMEOUT
        assert outcome.detail == "no connection to the receiver within 0.1 s"


HANDSHAKES: dict[str, tuple[Behaviour, HandshakeResult | type[HandshakeResult]]] = {
    "no token": (Behaviour(echo=False), NotReturned()),
    "another token": (Behaviour(echo=False, headers={"Validation-Token": "f" * 32}), NotReturned()),
    "not ASCII": (Behaviour(echo=False, headers={"Validation-Token": "\xff"}), NotReturned()),
    "500": (Behaviour(status=500), WrongStatus(500)),
    "204": (Behaviour(status=204), WrongStatus(204)),
    "redirect": (Behaviour(status=301, headers={"Location": "/other"}), WrongStatus(301)),
    "2 KB": (Behaviour(body=b"x" * 2_048), InvalidResponse("the answer is larger than 1024 bytes")),
    "2 KB of head": (Behaviour(headers={"X": "x" * 2_048}), InvalidResponse("the answer is larger than 1024 bytes")),
    "not HTTP": (Behaviour(raw=b"hello\r\n"), InvalidResponse),
    "hangs up": (Behaviour(drop=True), Unreachable("the receiver closed the connection and did not answer")),
}


@pytest.mark.parametrize("behaviour, expected", HANDSHAKES.values(), ids=HANDSHAKES.keys())
async def test_handshakes_that_fail(behaviour: Behaviour, expected: HandshakeResult | type[HandshakeResult]) -> None:
    async with Receiver() as receiver, webhook_transport() as transport:
        receiver.on_handshake = lambda _: behaviour
        result = await transport.handshake(receiver.url, None, ACCOUNT)
        assert result == expected or type(result) is expected
        probed = await transport.probe(subscription_to(receiver.url))
        assert not isinstance(probed, Delivered | Withheld)


async def test_a_handshake_takes_three_seconds_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.delivery.webhook.HANDSHAKE_S", 0.1)
    async with Receiver() as receiver, webhook_transport() as transport:
        forever = asyncio.Event()
        receiver.on_handshake = lambda _: Behaviour(until=forever)
        assert await transport.handshake(receiver.url, None, ACCOUNT) == Unreachable("no answer within 0.1 s")


async def test_a_handshake_accepts_1024_bytes_in_all_and_any_case_of_the_header_name() -> None:
    async with Receiver() as receiver, webhook_transport() as transport:

        def exactly(size: int) -> None:
            head = "HTTP/1.1 200 OK\r\nvalidation-TOKEN: {}\r\nContent-Length: {}\r\n\r\n"

            def script(request: object) -> Behaviour:
                token = receiver.handshakes[-1].headers["validation-token"]
                body = size - len(head.format(token, 900))
                return Behaviour(raw=head.format(token, body).encode() + b"x" * body)

            receiver.on_handshake = script

        exactly(1_024)
        assert isinstance(await transport.handshake(receiver.url, None, ACCOUNT), HandshakePassed)
        exactly(1_025)
        assert isinstance(await transport.handshake(receiver.url, None, ACCOUNT), InvalidResponse)


async def test_a_probe_of_a_receiver_that_is_well_again() -> None:
    async with Receiver() as receiver, webhook_transport() as transport:
        assert isinstance(await transport.probe(subscription_to(receiver.url)), Delivered)
        assert not receiver.received


async def test_close_withholds_what_has_not_ended_and_starts_nothing_more() -> None:
    async with Receiver() as receiver, webhook_transport() as transport:
        receiver.answers(Behaviour(until=asyncio.Event()))
        subscription = subscription_to(receiver.url)
        in_flight = begin(transport, subscription)
        await receiver.count(1)
        await transport.close(0)
        assert await in_flight == Withheld()
        assert await sent(transport, subscription) == Withheld()
        assert await transport.probe(subscription) == Withheld()
        receiver.hang_up()


async def test_close_gives_what_is_in_flight_its_time() -> None:
    async with Receiver() as receiver, webhook_transport() as transport:
        go = asyncio.Event()
        receiver.answers(Behaviour(until=go))
        in_flight = begin(transport, subscription_to(receiver.url))
        await receiver.count(1)
        closing = asyncio.ensure_future(transport.close(10))
        assert await sent(transport, subscription_to(receiver.url)) == Withheld()
        go.set()
        assert isinstance(await in_flight, Delivered)
        await closing
