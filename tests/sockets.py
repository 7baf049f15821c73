"""A company whose WebSocket gateway listens on a real port, and a client that speaks its frames.

async with open_sockets(tmp_path) as served, served.connect() as client:
    answer = await client.subscribe()
    await served.change_message()
    event = await client.frame()
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import websockets
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # in the extension, not in its stub
from websockets.asyncio.client import ClientConnection

from tests.company import Company, open_company
from tests.subscribing import Handshakes
from tocsin.api.app import make_app
from tocsin.api.call import Access, Call, Reply, Route, json_reply
from tocsin.api.dispatch import Dispatcher
from tocsin.api.frame_requests import FrameRequests
from tocsin.api.platform import PlatformApi
from tocsin.api.request import BaseUrl
from tocsin.api.subscriptions import SubscriptionRoutes
from tocsin.api.websocket import socket_protocol
from tocsin.delivery.gateway import Gateway, GatewayParts
from tocsin.domain.directory import Identity
from tocsin.domain.entry import Happened, MessageChange
from tocsin.domain.ids import ExtensionId, MessageId
from tocsin.domain.message import Direction, MessageType
from tocsin.domain.subscription import Subscription
from tocsin.notify.envelopes import Renderer
from tocsin.notify.session_feed import FeedParts, SessionFeeds
from tocsin.server.http_server import Certificate, HttpServer, bind
from tocsin.storage.unit import Applied, Draft, Unit
from tocsin.storage.websocket_sessions import SessionRow, fetch_sessions_of_gateway
from tocsin.subscriptions.expiry import Expiry
from tocsin.subscriptions.manage import SubscriptionParts, SubscriptionRules, Subscriptions
from tocsin.subscriptions.sessions import SessionSubscriptions
from tocsin.telemetry.tasks import Tasks
from tocsin.wire.frames import SessionLimits

SUBSCRIPTION = "/restapi/v1.0/subscription"
MESSAGES = "/restapi/v1.0/account/~/extension/~/message-store"
INSTANT = f"{MESSAGES}/instant?type=SMS"
BASE = "https://tocsin.example"

Frame = list[Any]


class Everything:
    """Rights that never lack."""

    def may_receive(self, subscription: Subscription, mailbox: ExtensionId) -> bool:
        return True


@dataclass
class Client:
    """One end of a socket: whole frames in and out."""

    socket: ClientConnection
    numbers: int = 0

    async def frame(self) -> Frame:
        """The next frame, whatever it is."""
        text = await asyncio.wait_for(self.socket.recv(), 10)
        assert isinstance(text, str)
        frame: Frame = json.loads(text)
        return frame

    async def send(self, *parts: Any) -> None:
        await self.socket.send(json.dumps(parts))

    async def start(self, method: str, path: str, body: Any = None, **meta: Any) -> str:
        """Send a request; its messageId."""
        self.numbers += 1
        message_id = f"oMtcBl8rQ9mvrPHdP4TYxA/{self.numbers}"
        head = {"type": "ClientRequest", "messageId": message_id, "method": method, "path": path, **meta}
        await self.send(*([head] if body is None else [head, body]))
        return message_id

    async def ask(self, method: str, path: str, body: Any = None, **meta: Any) -> Frame:
        """Send a request and take the next frame, which must be its answer."""
        message_id = await self.start(method, path, body, **meta)
        frame = await self.frame()
        assert (frame[0]["type"], frame[0]["messageId"]) == ("ClientRequest", message_id), frame
        return frame

    async def subscribe(self, *filters: str) -> Frame:
        body = {"eventFilters": filters or (MESSAGES,), "deliveryMode": {"transportType": "WebSocket"}}
        answer = await self.ask("POST", SUBSCRIPTION, body)
        assert answer[0]["status"] == 200, answer
        return answer

    async def ask_past_events(self, method: str, path: str) -> Frame:
        """Send a request; its answer, whatever notifications come before it."""
        message_id = await self.start(method, path)
        while (frame := await self.frame())[0]["messageId"] != message_id:
            assert frame[0]["type"] == "ServerNotification"
        return frame

    async def heartbeat(self, message_id: str = "beat") -> Frame:
        """Send one and take the next frame: whatever else was to come would have come before its echo."""
        await self.send({"type": "Heartbeat", "messageId": message_id})
        return await self.frame()

    async def closed(self) -> tuple[int | None, str | None]:
        """Wait for the end; the server's code and reason."""
        await asyncio.wait_for(self.socket.wait_closed(), 10)
        return self.socket.close_code, self.socket.close_reason


@dataclass
class Served:
    """Everything that a test of sockets touches."""

    company: Company
    gateway: Gateway
    tasks: Tasks
    server: HttpServer
    port: int
    expiry: Expiry
    gate: asyncio.Event
    waiting: asyncio.Semaphore
    logins: dict[str, str] = field(default_factory=dict)
    messages: int = 0
    context: ssl.SSLContext | None = None

    async def token(self, login: str = "first") -> str:
        """A WebSocket token of a login, begun where there is none of that name yet."""
        if login not in self.logins:
            self.logins[login] = (await self.company.grant())["access_token"]
        headers = {"Authorization": f"Bearer {self.logins[login]}"}
        answer = await self.company.client.post("/restapi/oauth/wstoken", headers=headers)
        assert answer.status_code == 200, answer.text
        token: str = answer.json()["ws_access_token"]
        return token

    @asynccontextmanager
    async def raw(self, query: str, path: str = "/ws") -> AsyncGenerator[Client]:
        """A socket as the server opens it: nothing is read yet."""
        uri = f"{'ws' if self.context is None else 'wss'}://127.0.0.1:{self.port}{path}?{query}"
        async with websockets.connect(uri, proxy=None, compression=None, ssl=self.context) as socket:
            yield Client(socket)

    @asynccontextmanager
    async def connect(self, login: str = "first", wsc: str | None = None) -> AsyncGenerator[Client]:
        """A socket whose ConnectionDetails is still to be read."""
        query = f"access_token={await self.token(login)}" + ("" if wsc is None else f"&wsc={quote(wsc)}")
        async with self.raw(query) as client:
            yield client

    @asynccontextmanager
    async def opened(self, login: str = "first", wsc: str | None = None) -> AsyncGenerator[Client]:
        """The same, past its ConnectionDetails."""
        async with self.connect(login, wsc) as client:
            details = await client.frame()
            assert details[0]["type"] == "ConnectionDetails", details
            yield client

    async def change_message(self, number: str = "101", count: int = 1) -> Applied:
        """Let that many messages arrive at once in a mailbox."""
        unit = Unit(self.company.account_id)
        for _ in range(count):
            self.messages += 1
            fields = (
                self.company.extension_id(number),
                MessageId(self.messages),
                Happened.CREATED,
                MessageType.SMS,
                Direction.INBOUND,
                b'{"id":"%d"}' % self.messages,
            )
            unit.drafts.append(Draft(MessageChange, fields))
        return await self.company.store.writer.apply(unit)

    async def session_rows(self) -> list[SessionRow]:
        """What the store knows of sessions, once nothing runs any more."""
        assert await self.tasks.settle(within_s=10)
        return await self.company.store.readers.run(fetch_sessions_of_gateway, "local")

    @asynccontextmanager
    async def held_connects(self, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[asyncio.Event]:
        """Let no session open before the event is set."""
        release, redeem = asyncio.Event(), self.company.sessions.redeem_websocket_token

        async def held(text: str) -> Identity:
            await release.wait()
            return await redeem(text)

        with monkeypatch.context() as patch:
            patch.setattr(self.company.sessions, "redeem_websocket_token", held)
            yield release

    def sockets(self) -> list[WSProtocol]:
        """Open sockets as the server has them."""
        return [one for one in self.server.server_state.connections if isinstance(one, WSProtocol)]


class Doubles:
    """Routes for what no real operation does on request."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.waiting = asyncio.Semaphore(0)

    def routes(self) -> list[Route]:
        def route(path: str, handler: Callable[[Call], Any]) -> Route:
            return Route("GET", f"/restapi/v1.0/double/{path}", path, handler, access=Access.TOKEN)

        return [
            route("wait", self.wait),
            route("fail", self.fail),
            route("binary", self.binary),
            route("big", self.big),
            route("echo", self.echo),
        ]

    async def wait(self, call: Call) -> Reply:
        self.waiting.release()
        await self.gate.wait()
        return json_reply({})

    async def fail(self, call: Call) -> Reply:
        raise RuntimeError("a fault of ours")

    async def binary(self, call: Call) -> Reply:
        return Reply(body=b"\xff\xd8", content_type="image/jpeg")

    async def big(self, call: Call) -> Reply:
        return json_reply({"filler": "x" * 400_000})

    async def echo(self, call: Call) -> Reply:
        return json_reply({"path": call.path, "query": call.query.pairs, "agent": call.headers.get("x-user-agent")})


@asynccontextmanager
async def open_sockets(
    folder: Path, limits: SessionLimits | None = None, certificate: Certificate | None = None
) -> AsyncGenerator[Served]:
    """Open a seeded company and serve it on a free port of this machine."""
    async with open_company(folder) as company:
        store, clock, tasks, doubles = company.store, company.clock, Tasks(), Doubles()
        session_subscriptions = SessionSubscriptions(store.writer, store.readers)
        renderer = Renderer(await store.secret("uuid"), clock)
        feeds = SessionFeeds(
            FeedParts(store.readers, session_subscriptions, Everything(), renderer.of_stored, renderer.of_notice, tasks)
        )
        expiry = Expiry(store.writer, store.readers, clock)
        subscriptions = Subscriptions(
            SubscriptionParts(
                store.writer, store.readers, clock, company.directory, Handshakes(), expiry, SubscriptionRules()
            )
        )
        dispatcher = Dispatcher(
            [
                *SubscriptionRoutes(subscriptions, clock).routes(),
                *PlatformApi(find_account=company.directory.account, is_limited=lambda: False).routes(),
                *doubles.routes(),
            ],
            authenticate=company.sessions.authenticate,
            find_account=company.directory.account,
            admin_token=None,
        )
        parts = GatewayParts(
            store.writer,
            store.readers,
            clock,
            company.sessions,
            feeds,
            session_subscriptions,
            await store.secret("websocket-sessions"),
            limits=limits or SessionLimits(),
            tasks=tasks,
        )
        gateway = Gateway(parts, FrameRequests(dispatcher, lambda: BASE))
        company.caches.followers += [feeds, gateway]
        await gateway.start()
        listener = bind("127.0.0.1", 0)
        server = HttpServer(make_app(dispatcher, BaseUrl(None)), socket_protocol(gateway, tasks), certificate)
        serving = asyncio.get_running_loop().create_task(server.serve(sockets=[listener]))
        await server.ready.wait()
        port = listener.getsockname()[1]
        try:
            yield Served(company, gateway, tasks, server, port, expiry, doubles.gate, doubles.waiting)
        finally:
            doubles.gate.set()
            gateway.close()
            server.stop()
            await serving
            await tasks.close(grace_s=10)
