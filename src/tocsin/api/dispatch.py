"""From a request to a handler and back: find the route, check who asks and whether they may, resolve ids, run, render.

The same for HTTP and for REST over a WebSocket. The only place where an exception becomes a reply; the unexpected is
logged here, once, with the request's id, and told to nobody.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from tocsin.api.call import Access, Call, Reply, Route
from tocsin.api.request import ClientGone, Request
from tocsin.domain.directory import Account, Identity
from tocsin.domain.errors import (
    MissingPermission,
    MissingScope,
    NotFound,
    OtherExtension,
    TocsinError,
    Unauthenticated,
)
from tocsin.domain.ids import AccountId, ExtensionId
from tocsin.telemetry.logs import get_logger
from tocsin.wire.errors import MethodNotAllowed, NoSuchResource, UnknownHost, render_error

_log = get_logger(__name__)

Authenticate = Callable[[str], Awaitable[Identity]]
"""An access token to whose it is; raises Unauthenticated."""
FindAccount = Callable[[AccountId], Awaitable[Account | None]]
"""An account with its extensions, from the directory."""

_MAX_DIGITS = 16


@dataclass(slots=True)
class _Node:
    """One part of a path: what may follow literally, what may follow as a parameter, and what ends here."""

    literal: dict[str, _Node] = field(default_factory=dict)
    parameter: _Node | None = None
    routes: dict[str, Route] = field(default_factory=dict)
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)


class RouteTable:
    """Routes by path; a literal part wins over a parameter. Paths without parameters are one dictionary look-up."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._exact: dict[str, dict[str, Route]] = {}
        self._root = _Node()
        self.routes = tuple(routes)
        for route in routes:
            self._add(route)

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route and its path parameters. Raises NoSuchResource, UnknownHost, MethodNotAllowed."""
        exact = self._exact.get(path)
        if exact is not None and (route := exact.get(method)) is not None:
            return route, {}
        node, values = self._walk(path)
        found = node.routes if node is not None else {}
        if node is None or not found:
            raise NoSuchResource if path.startswith("/restapi/") else UnknownHost
        chosen = found.get(method)
        if chosen is None:
            raise MethodNotAllowed(", ".join(_allowed(found)))
        return chosen, dict(zip(node.names[method], values, strict=True))

    def allowed(self, path: str) -> list[str]:
        """Methods of whatever is at `path`, for OPTIONS; empty where nothing is."""
        node, _ = self._walk(path)
        return _allowed(node.routes) if node is not None else []

    def _add(self, route: Route) -> None:
        node, names = self._root, []
        for part in route.path.strip("/").split("/"):
            if part.startswith("{"):
                names.append(part[1:-1])
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.literal.setdefault(part, _Node())
        if route.method in node.routes:
            raise ValueError(f"two routes for {route.method} {route.path}")
        node.routes[route.method] = route
        node.names[route.method] = tuple(names)
        if not names:
            self._exact.setdefault(route.path, {})[route.method] = route

    def _walk(self, path: str) -> tuple[_Node | None, list[str]]:
        # One trailing slash is forgiven everywhere: the Python SDK creates subscriptions at ".../subscription/".
        node: _Node | None = self._root
        values: list[str] = []
        for part in path.removeprefix("/").removesuffix("/").split("/"):
            if node is None:
                break
            following = node.literal.get(part)
            if following is None and part:
                following = node.parameter
                values.append(part)
            node = following
        return node, values


def _allowed(routes: dict[str, Route]) -> list[str]:
    return sorted({*routes, "OPTIONS", *(["HEAD"] if "GET" in routes else [])})


class Dispatcher:
    """Answers requests. `admin_token` None closes Tocsin's own control API to everyone."""

    def __init__(
        self,
        routes: Sequence[Route],
        *,
        authenticate: Authenticate,
        find_account: FindAccount,
        admin_token: str | None,
    ) -> None:
        self.table = RouteTable(routes)
        self._authenticate = authenticate
        self._find_account = find_account
        self._admin_digest = sha256(admin_token.encode()).digest() if admin_token else None

    async def dispatch(self, request: Request) -> Reply:
        """The reply, whatever happens; only ClientGone and cancellation pass."""
        operation = ""
        try:
            method = request.effective_method()
            route, params = self.table.find("GET" if method == "HEAD" else method, request.path)
            operation = route.operation
            call = await self._admit(request, route, params)
            call.method = route.method
            call.body = await request.read_body(route.max_body)
            return await route.handler(call)
        except TocsinError as refused:
            return error_reply(refused)
        except (ClientGone, asyncio.CancelledError):
            raise
        except Exception as unexpected:
            _log.exception("request.failed", request_id=request.request_id, operation=operation)
            return error_reply(unexpected)

    async def _admit(self, request: Request, route: Route, params: dict[str, str]) -> Call:
        call = Call(
            request.method,
            request.path,
            params,
            request.query,
            request.headers,
            b"",
            request.base_url,
            websocket_session=request.websocket_session,
        )
        if route.access is Access.TOKEN:
            call.identity = request.identity or await self._authenticate(request.bearer())
            await self._check(call, route, call.identity)
        elif route.access is Access.ADMIN:
            self._check_admin(request)
        return call

    def _check_admin(self, request: Request) -> None:
        given = sha256(request.bearer().encode()).digest()
        if self._admin_digest is None or not hmac.compare_digest(given, self._admin_digest):
            raise Unauthenticated("AGW-402", "Invalid Authorization header")

    async def _check(self, call: Call, route: Route, identity: Identity) -> None:
        if route.scope is not None and route.scope not in identity.scopes:
            raise MissingScope(
                f"In order to call this API endpoint, application needs to have [{route.scope}] permission",
                parameter=route.scope,
            )
        if route.permission is None and not call.params:
            return
        account = await self._find_account(identity.account_id)
        caller = account.extensions.get(identity.extension_id) if account is not None else None
        if account is None or caller is None:
            raise Unauthenticated("CMN-405", "Login to extension required")
        call.account_id = _account(call, identity)
        call.extension_id = _extension(call, identity, account)
        own = call.extension_id is None or call.extension_id == identity.extension_id
        if not own and not route.any_may_read and not (route.admin_may_act and caller.is_admin):
            raise _other_extension(route)
        if route.permission is not None and not caller.may(route.permission):
            raise MissingPermission(
                f"In order to call this API endpoint, user needs to have [{route.permission}] permission"
                " for requested resource",
                parameter=route.permission,
            )


def error_reply(error: Exception) -> Reply:
    """`error` as a reply."""
    rendered = render_error(error)
    return Reply(rendered.status, rendered.body, headers=rendered.headers)


def _account(call: Call, identity: Identity) -> AccountId | None:
    """The path's account: only the caller's own is found, so that nobody learns which others exist."""
    text = call.params.get("accountId")
    if text is None:
        return None
    if text != "~" and _digits(text) != identity.account_id:
        raise NotFound("Resource for parameter [accountId] is not found", parameter="accountId")
    return identity.account_id


def _extension(call: Call, identity: Identity, account: Account) -> ExtensionId | None:
    text = call.params.get("extensionId")
    if text is None:
        return None
    if text == "~":
        return identity.extension_id
    number = _digits(text)
    if number is None or number not in account.extensions:
        raise NotFound("Resource for parameter [extensionId] is not found", parameter="extensionId")
    return ExtensionId(number)


def _digits(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS else None


def _other_extension(route: Route) -> OtherExtension:
    named = f"[{route.permission}] permission" if route.permission is not None else "a permission"
    return OtherExtension(
        f"In order to call this API endpoint for another extension, user needs to have {named}"
        " granted with extended scope",
        parameter=route.permission,
    )
