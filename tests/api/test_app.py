from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from ipaddress import ip_network

import httpx2
import pytest

from tests.goldens import Golden
from tocsin.api.app import AsgiApp, make_app
from tocsin.api.call import Access, Call, Reply, Route, json_reply
from tocsin.api.dispatch import Dispatcher
from tocsin.api.request import DISCARD_BYTES, BaseUrl, new_request_id
from tocsin.domain.directory import Account, Identity
from tocsin.domain.ids import AccountId
from tocsin.server.http_server import HttpServer, bind

BASE = "https://tocsin.example"
THING = "/restapi/v1.0/thing"
LIMIT = 1000
ORIGIN = "https://app.example"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


async def nobody(token: str) -> Identity:
    raise AssertionError(token)


async def no_account(account_id: AccountId) -> Account | None:
    raise AssertionError(account_id)


async def echo(call: Call) -> Reply:
    return json_reply(
        {"base": call.base_url, "method": call.method, "size": len(call.body), "query": [*call.query.pairs]}
    )


async def stream(call: Call) -> Reply:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"piece"

    return Reply(content_type="text/plain", stream=pieces(), length=15)


async def empty(call: Call) -> Reply:
    return Reply(204)


ROUTES = [
    *(
        Route(method, THING, f"{method}-thing", echo, Access.PUBLIC, max_body=LIMIT)
        for method in ("GET", "POST", "PUT")
    ),
    Route("DELETE", THING, "deleteThing", empty, Access.PUBLIC),
    Route("GET", "/restapi/v1.0/stream", "stream", stream, Access.PUBLIC),
    Route("POST", "/tocsin/v1/control", "control", echo, Access.PUBLIC),
]


def app_with(base_url: BaseUrl) -> AsgiApp:
    return make_app(Dispatcher(ROUTES, authenticate=nobody, find_account=no_account, admin_token=None), base_url)


@pytest.fixture
async def client() -> AsyncGenerator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app_with(BaseUrl(None)))
    async with httpx2.AsyncClient(transport=transport, base_url=BASE) as made:
        yield made


@pytest.mark.anyio
async def test_every_reply_carries_the_headers(client: httpx2.AsyncClient) -> None:
    for method, path in (("GET", THING), ("GET", "/restapi/nothing"), ("PATCH", THING), ("OPTIONS", THING)):
        answer = await client.request(method, path)
        assert answer.headers["Content-Language"] == "en-US"
        assert UUID.fullmatch(answer.headers["RCRequestId"])
        if answer.status_code != 204:
            assert answer.headers["Content-Type"] == "application/json;charset=UTF-8"
    assert len({new_request_id() for _ in range(100)}) == 100


@pytest.mark.anyio
async def test_what_is_not_there(client: httpx2.AsyncClient, golden: Golden) -> None:
    for path, code in (("/restapi/v1.0/nothing", "CMN-120"), ("/nothing", "AGW-404")):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["errorCode"]) == (404, code)
        golden(f"errors/{code}", answer.json())
    answer = await client.patch(THING)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "DELETE, GET, HEAD, OPTIONS, POST, PUT")
    golden("errors/method-not-allowed", answer.json())


@pytest.mark.anyio
async def test_a_head_is_a_get_without_its_body(client: httpx2.AsyncClient) -> None:
    for path in (THING, "/restapi/v1.0/stream"):
        got, head = await client.get(path), await client.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["Content-Length"] == got.headers["Content-Length"] == str(len(got.content))


@pytest.mark.anyio
async def test_a_204_has_neither_body_nor_type(client: httpx2.AsyncClient) -> None:
    answer = await client.request("DELETE", THING, content=b"null")
    assert (answer.status_code, answer.content) == (204, b"")
    assert "Content-Type" not in answer.headers
    assert "Content-Length" not in answer.headers


@pytest.mark.anyio
@pytest.mark.parametrize(
    "header, query, method",
    [("PUT", None, "PUT"), (None, "get", "GET"), ("PUT", "put", "PUT"), ("POST", None, "POST")],
)
async def test_a_post_may_stand_for_another_method(
    client: httpx2.AsyncClient, header: str | None, query: str | None, method: str
) -> None:
    headers = {} if header is None else {"X-HTTP-Method-Override": header}
    answer = await client.post(THING, headers=headers, params={} if query is None else {"_method": query})
    assert answer.json()["method"] == method


@pytest.mark.anyio
async def test_an_override_must_agree_with_itself_and_is_for_posts(client: httpx2.AsyncClient) -> None:
    for headers, query in (({"X-HTTP-Method-Override": "PUT"}, "GET"), ({}, "TRACE"), ({}, "OPTIONS")):
        answer = await client.post(THING, headers=headers, params={"_method": query})
        assert (answer.status_code, answer.json()["parameterName"]) == (400, "_method")
    answer = await client.get(THING, headers={"X-HTTP-Method-Override": "DELETE"})
    assert answer.json()["method"] == "GET"


@pytest.mark.anyio
async def test_queries_keep_repeats_drop_blanks_and_read_plus_as_space(client: httpx2.AsyncClient) -> None:
    answer = await client.get(f"{THING}?a=1&a=2&b=&c=x+y&d=%2B1&e=caf%C3%A9")
    assert answer.json()["query"] == [["a", "1"], ["a", "2"], ["c", "x y"], ["d", "+1"], ["e", "café"]]


@pytest.mark.anyio
async def test_other_origins_may_read_what_ringcentrals_pages_may(client: httpx2.AsyncClient) -> None:
    answer = await client.get(THING, headers={"Origin": ORIGIN})
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert answer.headers["Vary"] == "Origin"
    exposed = {name.strip().lower() for name in answer.headers["Access-Control-Expose-Headers"].split(",")}
    assert {"x-rate-limit-window", "x-rate-limit-remaining", "retry-after", "rcrequestid"} <= exposed
    refused = await client.get("/restapi/v1.0/nothing", headers={"Origin": ORIGIN})
    assert refused.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Access-Control-Allow-Origin" not in (await client.get(THING)).headers


@pytest.mark.anyio
async def test_a_preflight_is_answered(client: httpx2.AsyncClient) -> None:
    wanted = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "authorization, client-id",
    }
    answer = await client.options(THING, headers=wanted)
    assert answer.status_code == 204
    assert "PUT" in answer.headers["Access-Control-Allow-Methods"]
    assert answer.headers["Access-Control-Allow-Headers"] == "authorization, client-id"
    plain = await client.options(THING)
    assert (plain.status_code, plain.headers["Allow"]) == (204, "DELETE, GET, HEAD, OPTIONS, POST, PUT")


@pytest.mark.anyio
async def test_the_control_api_is_not_for_other_origins(client: httpx2.AsyncClient) -> None:
    wanted = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    for answer in (
        await client.options("/tocsin/v1/control", headers=wanted),
        await client.post("/tocsin/v1/control", headers=wanted),
    ):
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


@pytest.mark.anyio
async def test_a_body_too_large_is_413(client: httpx2.AsyncClient, golden: Golden) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 400

    assert (await client.post(THING, content=b"x" * LIMIT)).json()["size"] == LIMIT
    for content in (b"x" * (LIMIT + 1), endless()):
        answer = await client.post(THING, content=content)
        assert answer.status_code == 413
        golden("errors/body-too-large", answer.json())
    chunks = await client.post(THING, content=_chunks(LIMIT // 2, 2))
    assert chunks.json()["size"] == LIMIT


async def _chunks(size: int, count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * size


@pytest.mark.anyio
@pytest.mark.parametrize(
    "base_url, headers, client_host, expected",
    [
        (BaseUrl(None), {}, "10.0.0.1", "http://api.example:81"),
        (BaseUrl("https://public.example/"), {}, "10.0.0.1", "https://public.example"),
        (BaseUrl(None), {"X-Forwarded-Proto": "https"}, "10.0.0.1", "http://api.example:81"),
        (
            BaseUrl(None, [ip_network("10.0.0.0/8")]),
            {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example, front.example"},
            "10.0.0.1",
            "https://front.example",
        ),
        (
            BaseUrl(None, [ip_network("10.0.0.0/8")]),
            {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example"},
            "192.0.2.1",
            "http://api.example:81",
        ),
        (BaseUrl(None, [ip_network("10.0.0.0/8")]), {"X-Forwarded-Proto": "ftp"}, "10.0.0.1", "http://api.example:81"),
        (BaseUrl(None), {"Host": "a b<script>"}, "10.0.0.1", "http://api.example:81"),
        (BaseUrl(None), {"Host": "[::1]:8765"}, "10.0.0.1", "http://[::1]:8765"),
        (BaseUrl(None, [ip_network("10.0.0.0/8")]), {"X-Forwarded-Proto": "https"}, "sock", "http://api.example:81"),
    ],
)
@pytest.mark.anyio
async def test_the_base_of_uris(base_url: BaseUrl, headers: dict[str, str], client_host: str, expected: str) -> None:
    transport = httpx2.ASGITransport(app_with(base_url), client=(client_host, 1234))
    async with httpx2.AsyncClient(transport=transport, base_url="http://api.example:81") as client:
        assert (await client.get(THING, headers=headers)).json()["base"] == expected


async def exchange(port: int, data: bytes) -> list[bytes]:
    """Status lines of all answers to what is written on one connection, which the server is asked to close last."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    received = await reader.read()
    writer.close()
    await writer.wait_closed()
    return re.findall(rb"HTTP/1\.1 (\d{3})", received)


@pytest.mark.anyio
async def test_a_connection_stays_in_step_after_an_oversized_body() -> None:
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    server = HttpServer(app_with(BaseUrl(None)), asyncio.Protocol)
    serving = asyncio.ensure_future(server.serve([listener]))
    await server.ready.wait()
    last = b"GET /restapi/v1.0/thing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    post = b"POST /restapi/v1.0/thing HTTP/1.1\r\nHost: a\r\n"
    try:
        large = post + b"Content-Length: 300000\r\n\r\n" + b"x" * 300_000
        assert await exchange(port, large + last) == [b"413", b"200"]
        chunk = b"186A0\r\n" + b"x" * 100_000 + b"\r\n"
        chunked = post + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 3 + b"0\r\n\r\n"
        assert await exchange(port, chunked + last) == [b"413", b"200"]
        # Who asks to close and writes it all first still reads the refusal.
        closing = post + b"Connection: close\r\nContent-Length: 8000000\r\n\r\n" + b"x" * 8_000_000
        assert await exchange(port, closing) == [b"413"]
        # Who waits for a 100 has sent no body: the connection ends with the answer.
        waiting = post + b"Content-Length: 300000\r\nExpect: 100-continue\r\n\r\n"
        assert await exchange(port, waiting) == [b"413"]
        huge = post + b"Content-Length: %d\r\n\r\n" % (DISCARD_BYTES + 1)
        assert await exchange(port, huge) == [b"413"]
    finally:
        server.stop()
        await serving
