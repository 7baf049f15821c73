"""The ASGI application: HTTP in front of the dispatcher, with the headers that every reply carries, and CORS.

Plain ASGI, no middleware: the busiest POST pays for one dictionary look-up and nothing that it does not use.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from tocsin.api.call import Reply
from tocsin.api.dispatch import Dispatcher
from tocsin.api.request import BaseUrl, BodyReader, ClientGone, Receive, Request, Scope, parse_query

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_LANGUAGE = (b"content-language", b"en-US")
# What browsers may read of a reply from another origin. RC: the JavaScript SDKs look at the limits and at Retry-After.
_EXPOSED = (
    b"Content-Disposition, Content-Range, Discovery-Required, Discovery-Tag, RCRequestId, Retry-After, "
    b"X-Rate-Limit-Group, X-Rate-Limit-Limit, X-Rate-Limit-Remaining, X-Rate-Limit-Window"
)
_PREFLIGHT_AGE_S = b"600"


def make_app(dispatcher: Dispatcher, base_url: BaseUrl) -> AsgiApp:
    """The application that the HTTP server runs. Lifespan is the server's own business (lifespan="off")."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"this application serves HTTP, not {scope['type']}")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        body = BodyReader(headers, receive)
        request = Request(
            scope["method"],
            scope["path"],
            parse_query(scope["query_string"].decode("utf-8", "replace")),
            headers,
            base_url.of(scope, headers),
            body.read,
        )
        try:
            reply = _options(dispatcher, request) if request.method == "OPTIONS" else await dispatcher.dispatch(request)
            await body.run_out()
            await _send(send, request, reply, closing=body.must_close())
        except ClientGone:
            return

    return app


def _options(dispatcher: Dispatcher, request: Request) -> Reply:
    """A preflight, or a question about what a path can do."""
    allowed = ", ".join(dispatcher.table.allowed(request.path))
    extra = [("Allow", allowed)] if allowed else []
    if _cross_origin(request) and "access-control-request-method" in request.headers:
        extra += [
            ("Access-Control-Allow-Methods", allowed),
            ("Access-Control-Allow-Headers", request.headers.get("access-control-request-headers", "")),
            ("Access-Control-Max-Age", _PREFLIGHT_AGE_S.decode()),
        ]
    return Reply(204, headers=extra)


def _cross_origin(request: Request) -> bool:
    # Only RingCentral's API is for pages of other origins; Tocsin's own control API is not.
    return "origin" in request.headers and request.path.startswith("/restapi")


async def _send(send: Send, request: Request, reply: Reply, *, closing: bool) -> None:
    headers = [_LANGUAGE, (b"rcrequestid", request.request_id.encode())]
    has_body = reply.status != 204 and reply.status != 304
    if has_body:
        headers.append((b"content-type", reply.content_type.encode("latin-1")))
        size = reply.length if reply.stream is not None else len(reply.body)
        if size is not None:
            headers.append((b"content-length", str(size).encode()))
    headers += [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
    if _cross_origin(request):
        headers += _cors(request.headers)
    if closing:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    if reply.stream is None or request.method == "HEAD" or not has_body:
        whole = reply.body if has_body and request.method != "HEAD" else b""
        await send({"type": "http.response.body", "body": whole})
    else:
        async for piece in reply.stream:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _cors(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """The JavaScript SDK asks with credentials, for which `*` is not an answer. Tocsin itself uses no cookies."""
    return [
        (b"access-control-allow-origin", headers["origin"].encode("latin-1")),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-expose-headers", _EXPOSED),
        (b"vary", b"Origin"),
    ]
