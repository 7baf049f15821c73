"""A request before it is a Call: read off an ASGI scope, or made by the WebSocket gateway, the same for the dispatcher.

Knows HTTP's ways (token in header or query, method override, forwarded headers, size of the body) and no route.
"""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any
from urllib.parse import parse_qsl

from tocsin.api.call import Query
from tocsin.domain.directory import Identity
from tocsin.domain.errors import InvalidParameter, Unauthenticated
from tocsin.wire.errors import BodyTooLarge

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
ReadBody = Callable[[int], Awaitable[bytes]]
Network = IPv4Network | IPv6Network

DISCARD_BYTES = 32_000_000
"""Up to this size an oversized body is let run out, so that a client that writes it all first still reads the refusal.

Our choice: beyond it the connection is closed.
"""
_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?")
_OVERRIDES = frozenset({"GET", "PUT", "PATCH", "DELETE"})


class ClientGone(Exception):
    """The connection ended before the request did; nobody is there to answer."""


def new_request_id() -> str:
    """A random UUID (version 4) as text; a quarter of the cost of uuid4()."""
    digits = os.urandom(16).hex()
    return (
        f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{'89ab'[int(digits[16], 16) & 3]}{digits[17:20]}-{digits[20:]}"
    )


@dataclass(slots=True)
class Request:
    """What the dispatcher is given. `headers` has lower-case names; `read_body(limit)` raises BodyTooLarge.

    `identity` is set where the connection has authenticated already (a WebSocket session). `request_id` is what the
    reply's RCRequestId header and the log say.
    """

    method: str
    path: str
    query: Query
    headers: Mapping[str, str]
    base_url: str
    read_body: ReadBody
    identity: Identity | None = None
    websocket_session: str | None = None
    request_id: str = field(default_factory=new_request_id)

    def bearer(self) -> str:
        """The access token, from `Authorization: Bearer` (any case) or `access_token=`; raises Unauthenticated."""
        header = self.headers.get("authorization")
        if header is None:
            token = self.query.first("access_token")
            if token is None:
                raise Unauthenticated("AGW-401", "Authorization header is not specified")
            return token
        scheme, _, token = header.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("AGW-402", "Invalid Authorization header")
        return token

    def effective_method(self) -> str:
        """The method, or what a POST says it stands for (`X-HTTP-Method-Override`, `_method=`)."""
        if self.method != "POST":
            return self.method
        if not self.query.pairs and "x-http-method-override" not in self.headers:
            return "POST"
        header, query = self.headers.get("x-http-method-override"), self.query.first("_method")
        if header is None and query is None:
            return "POST"
        if header is not None and query is not None and header.upper() != query.upper():
            raise InvalidParameter("Parameter [_method] contradicts X-HTTP-Method-Override", parameter="_method")
        wanted = (header or query or "").upper()
        if wanted not in _OVERRIDES and wanted != "POST":
            raise InvalidParameter("Parameter [_method] value is invalid", parameter="_method")
        return wanted


def held_body(body: bytes) -> ReadBody:
    """The `read_body` of a request whose body is already in memory."""

    async def read(limit: int) -> bytes:
        if len(body) > limit:
            raise BodyTooLarge
        return body

    return read


def parse_query(text: str) -> Query:
    """Query parameters in order, without those that have no value: the JavaScript SDK sends undefined ones so."""
    return Query(tuple(parse_qsl(text))) if text else _NO_QUERY


_NO_QUERY = Query()


class BodyReader:
    """Reads the body of one HTTP request, never more than a limit into memory.

    What it leaves unread, the HTTP server throws away as it arrives, and the connection goes on; `must_close` says
    where that will not do.
    """

    __slots__ = ("_announced", "_closing", "_complete", "_expects", "_receive")

    def __init__(self, headers: Mapping[str, str], receive: Receive) -> None:
        announced = headers.get("content-length", "0")
        self._announced = int(announced) if announced.isdecimal() else 0
        self._complete = self._announced == 0 and "transfer-encoding" not in headers
        self._expects = "expect" in headers
        self._closing = headers.get("connection", "").lower() == "close"
        self._receive = receive

    def must_close(self) -> bool:
        """Whether the rest of the body is too much to wait for, or may never come (its sender awaits a 100)."""
        return not self._complete and (self._expects or self._announced > DISCARD_BYTES)

    async def run_out(self) -> None:
        """Let a body that nobody reads come to its end where the connection ends with the answer; raises ClientGone.

        Closing on a client that still writes would take the answer from it.
        """
        left = DISCARD_BYTES
        while self._closing and left > 0 and not self._complete and not self.must_close():
            piece, more = await self._next()
            left -= len(piece)
            self._complete = not more

    async def read(self, limit: int) -> bytes:
        """The whole body; raises BodyTooLarge, ClientGone."""
        if self._announced > limit:
            raise BodyTooLarge
        if self._complete:
            return b""
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            piece, more = await self._next()
            size += len(piece)
            if size > limit:
                raise BodyTooLarge
            parts.append(piece)
        self._complete = True
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _next(self) -> tuple[bytes, bool]:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        return message.get("body", b""), message.get("more_body", False)


class BaseUrl:
    """What absolute uris begin with: the configured public url, else what the client reached us by.

    Forwarded headers are believed only from `trusted_proxies`; a Host that is no host name falls back to the address
    that the connection came in on.
    """

    def __init__(self, public_url: str | None, trusted_proxies: Sequence[Network] = ()) -> None:
        self._public_url = public_url.rstrip("/") if public_url else None
        self._trusted = tuple(trusted_proxies)

    def of(self, scope: Scope, headers: Mapping[str, str]) -> str:
        """The base url, without a trailing slash, for one HTTP request."""
        if self._public_url is not None:
            return self._public_url
        scheme: str = scope.get("scheme", "http")
        host = headers.get("host", "")
        if self._trusted and self._from_proxy(scope):
            scheme = _last(headers.get("x-forwarded-proto")) or scheme
            host = _last(headers.get("x-forwarded-host")) or host
        if scheme not in ("http", "https"):
            scheme = "http"
        if not _is_host(host):
            name, port = scope.get("server") or ("localhost", None)
            host = f"[{name}]" if ":" in name else name
            host = f"{host}:{port}" if port else host
        return f"{scheme}://{host}"

    def _from_proxy(self, scope: Scope) -> bool:
        client = scope.get("client")
        if client is None:
            return False
        try:
            peer = ip_address(client[0])
        except ValueError:
            return False
        return any(peer in network for network in self._trusted)


@lru_cache(maxsize=256)  # nearly all requests name the same one
def _is_host(text: str) -> bool:
    return _HOST.fullmatch(text) is not None


def _last(header: str | None) -> str:
    """What the proxy next to us added; earlier members are the client's own claims."""
    return header.rpartition(",")[2].strip() if header else ""
