"""A WebSocket session outlives the server: killed in mid-stream, it is recovered and told exactly what it missed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.sandbox import start_sandbox

pytestmark = [pytest.mark.anyio, pytest.mark.crash]

OUTSIDE = "+14155550123"
INSTANT = "/restapi/v1.0/account/~/extension/~/message-store/instant?type=SMS"


async def open_socket(client: httpx2.AsyncClient, wsc: str | None = None) -> tuple[ClientConnection, Any]:
    """A socket of the client's login, and its ConnectionDetails."""
    token = (await client.post("/restapi/oauth/wstoken")).json()
    recover = f"&wsc={wsc}" if wsc else ""
    socket = await connect(f"{token['uri']}?access_token={token['ws_access_token']}{recover}")
    return socket, json.loads(await socket.recv())


async def next_subject(socket: ClientConnection) -> tuple[str, str]:
    """The next notification's subject, and the context token that comes with it."""
    meta, envelope = json.loads(await socket.recv())
    assert meta["type"] == "ServerNotification"
    return envelope["body"]["subject"], meta["wsc"]["token"]


async def test_a_killed_server_recovers_the_session_where_the_client_stood(tmp_path: Path) -> None:
    options = ("--data", str(tmp_path / "data"))
    sandbox = await start_sandbox(tmp_path, *options)
    try:
        own = sandbox.env["RINGCENTRAL_SENDER"]
        client = await sandbox.login()
        socket, _ = await open_socket(client)
        request = {"type": "ClientRequest", "messageId": "1", "method": "POST", "path": "/restapi/v1.0/subscription"}
        body = {"eventFilters": [INSTANT], "deliveryMode": {"transportType": "WebSocket"}}
        await socket.send(json.dumps([request, body]))
        [answer, _] = json.loads(await socket.recv())
        assert answer["status"] == 200
        for text in ("one", "two", "three"):
            await sandbox.receive_sms(OUTSIDE, [own], text)
        assert (await next_subject(socket))[0] == "one"
        seen, wsc = await next_subject(socket)
        assert seen == "two"
        await sandbox.kill()
        await sandbox.control.aclose()

        sandbox = await start_sandbox(tmp_path, *options)
        await sandbox.receive_sms(OUTSIDE, [own], "four")
        client.base_url = httpx2.URL(sandbox.url)
        recovered, [_, details] = await open_socket(client, wsc)
        assert details["recoveryState"] == "Successful"
        await sandbox.receive_sms(OUTSIDE, [own], "five")
        assert [(await next_subject(recovered))[0] for _ in range(3)] == ["three", "four", "five"]
        await recovered.close()
        await client.aclose()
        assert await sandbox.stop() == 0
    finally:
        if sandbox.process.returncode is None:
            await sandbox.kill()
        await sandbox.control.aclose()
