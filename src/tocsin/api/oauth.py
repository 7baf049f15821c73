"""The OAuth endpoints: token, revoke and WebSocket token. Forms in, OAuth's own words for refusals out.

Source: RC getToken, revokeToken, authWsToken; RFC 6749, RFC 7009.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

from tocsin.api.call import Access, Call, Reply, Route, json_reply
from tocsin.directory.clients import Clients
from tocsin.directory.grants import Grants
from tocsin.directory.sessions import WEBSOCKET_TOKEN_S, Sessions
from tocsin.domain.directory import Scope
from tocsin.domain.errors import GrantRefused
from tocsin.wire.oauth import TokenInfo, WebSocketToken

_FORM = "application/x-www-form-urlencoded"
_MAX_FORM_BYTES = 64_000
_MAX_FIELDS = 50
_NOT_KEPT = (("Cache-Control", "no-store"), ("Pragma", "no-cache"))


class OAuthApi:
    """Handlers of /restapi/oauth. `websocket_path` is where the gateway listens, on the API's own host."""

    def __init__(self, *, clients: Clients, grants: Grants, sessions: Sessions, websocket_path: str = "/ws") -> None:
        self._clients = clients
        self._grants = grants
        self._sessions = sessions
        self._websocket_path = websocket_path

    def routes(self) -> list[Route]:
        """The routes of these handlers."""
        return [
            Route(
                "POST",
                "/restapi/oauth/token",
                "getToken",
                self.create_token,
                Access.PUBLIC,
                group="auth",
                max_body=_MAX_FORM_BYTES,
            ),
            Route(
                "POST",
                "/restapi/oauth/revoke",
                "revokeToken",
                self.revoke_token,
                Access.PUBLIC,
                group="auth",
                max_body=_MAX_FORM_BYTES,
            ),
            Route(
                "POST",
                "/restapi/oauth/wstoken",
                "authWsToken",
                self.create_websocket_token,
                scope=Scope.WEBSOCKET,
                group="auth",
            ),
        ]

    async def create_token(self, call: Call) -> Reply:
        """RC: getToken."""
        form = _form(call)
        app = await self._clients.authenticate(call.headers.get("authorization"), form.get("client_id"))
        granted = await self._grants.exchange(form, app)
        info = TokenInfo(
            access_token=granted.pair.access,
            expires_in=granted.expires_in,
            refresh_token=granted.pair.refresh,
            refresh_token_expires_in=granted.refresh_expires_in,
            scope=" ".join(granted.scopes),
            owner_id=str(granted.owner),
            endpoint_id=granted.endpoint_id,
            session_id=granted.session_id,
        )
        return Reply(body=json_reply(info).body, headers=_NOT_KEPT)

    async def revoke_token(self, call: Call) -> Reply:
        """RC: revokeToken. The token may stand in the query; an unknown one is as good as revoked."""
        form = _form(call) if call.body else {}
        in_query = call.query.first("token")
        token = form.get("token") or in_query
        if in_query is not None and token != in_query:
            raise GrantRefused("OAU-150", "Parameter [token] differs between query and body")
        app = await self._clients.authenticate(call.headers.get("authorization"), form.get("client_id"))
        if not token:
            raise GrantRefused("CMN-101", "Parameter [token] value is invalid")
        await self._sessions.revoke(token, app)
        return json_reply({})

    async def create_websocket_token(self, call: Call) -> Reply:
        """RC: authWsToken. Any body is ignored: SDKs send an empty one under various media types."""
        host = call.base_url.removeprefix("http")
        token = WebSocketToken(
            uri=f"ws{host}{self._websocket_path}",
            ws_access_token=self._sessions.websocket_token(call.caller),
            expires_in=WEBSOCKET_TOKEN_S,
        )
        return Reply(body=json_reply(token).body, headers=_NOT_KEPT)


def _form(call: Call) -> dict[str, str]:
    media_type = call.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != _FORM:
        raise GrantRefused("CMN-104", f"Unsupported media type: {_FORM} is expected")
    try:
        pairs = parse_qsl(call.body.decode(), max_num_fields=_MAX_FIELDS)
    except ValueError as wrong:
        raise GrantRefused("CMN-101", "The form can't be parsed") from wrong
    form = dict(pairs)
    if len(form) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise GrantRefused("OAU-111", f"Parameter [{twice}] is given more than once")
    return form
