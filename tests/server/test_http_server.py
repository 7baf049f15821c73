"""The HTTP server: its port, its start, its stop."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from tocsin.api.app import AsgiApp, Send
from tocsin.api.request import Receive, Scope
from tocsin.server.certificates import local_trust
from tocsin.server.http_server import CannotListen, Certificate, HttpServer, bind

pytestmark = pytest.mark.anyio


def test_a_busy_port_is_named_with_what_to_do() -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen) as busy:
            bind("127.0.0.1", port)
    assert str(busy.value) == (
        f"port {port} on 127.0.0.1 is in use: stop what listens there, or choose another with --port"
        " (--port 0 picks a free one)"
    )


def test_a_port_without_the_right_to_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tocsin.server.http_server.socket.socket.bind", refuse)
    with pytest.raises(CannotListen, match="no right to listen on port 80: choose one above 1023 with --port"):
        bind("127.0.0.1", 80)


def test_an_address_that_is_not_this_machines_is_named() -> None:
    with pytest.raises(CannotListen, match=r"can't listen on 192\.0\.2\.1:0: "):
        bind("192.0.2.1", 0)


def test_a_port_is_free_again_once_its_server_is_gone() -> None:
    with bind("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            first.accept()[0].close()
    bind("127.0.0.1", port).close()


def application(asked: asyncio.Event, let: asyncio.Event) -> AsgiApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            asked.set()
            await let.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    return app


@asynccontextmanager
async def serving(
    asked: asyncio.Event, let: asyncio.Event, certificate: Certificate | None = None
) -> AsyncGenerator[tuple[HttpServer, str, asyncio.Task[None]]]:
    listener = bind("127.0.0.1", 0)
    server = HttpServer(application(asked, let), asyncio.Protocol, certificate)
    task = asyncio.get_running_loop().create_task(server.serve(sockets=[listener]))
    await server.ready.wait()
    scheme = "https" if certificate else "http"
    yield server, f"{scheme}://127.0.0.1:{listener.getsockname()[1]}", task
    server.stop()
    await task


async def test_serves_when_it_says_so_without_naming_itself() -> None:
    async with serving(asyncio.Event(), asyncio.Event()) as (_, url, _), httpx2.AsyncClient(base_url=url) as client:
        answer = await client.get("/")
        assert (answer.status_code, answer.text) == (200, "ok")
        assert "server" not in answer.headers


async def test_serves_https_under_a_local_ca(tmp_path: Path) -> None:
    trust = local_trust(tmp_path, "127.0.0.1")
    context = ssl.create_default_context(cafile=trust.ca)
    async with (
        serving(asyncio.Event(), asyncio.Event(), trust.certificate) as (_, url, _),
        httpx2.AsyncClient(base_url=url, verify=context) as client,
    ):
        assert (await client.get("/")).text == "ok"


async def ask_until_refused(url: str) -> None:
    """Ask on a connection of its own each time, for as long as one is taken."""
    async with httpx2.AsyncClient(base_url=url) as client:
        while True:
            await client.get("/", headers={"Connection": "close"})


async def test_a_stop_lets_open_requests_end_and_takes_no_new_ones() -> None:
    asked, let = asyncio.Event(), asyncio.Event()
    async with serving(asked, let) as (server, url, task), httpx2.AsyncClient(base_url=url) as client:
        slow = asyncio.get_running_loop().create_task(client.get("/slow"))
        await asked.wait()
        server.stop()
        with pytest.raises(httpx2.TransportError):
            await ask_until_refused(url)
        assert not task.done()
        let.set()
        assert (await slow).text == "ok"
        await task


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
async def test_signals_are_left_to_the_process() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with serving(asyncio.Event(), asyncio.Event()):
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
