"""Which app is asking: client authentication at the token endpoints, in every form that the SDKs use.

Confidential apps send Basic credentials, some with client_id beside them; public apps send client_id alone, or Basic
with an empty secret. Source: RC doc "authentication"; RFC 6749, 2.3.1.
"""

from __future__ import annotations

import hmac
from base64 import b64decode

from tocsin.directory.cache import Directory
from tocsin.directory.tokens import token_hash
from tocsin.domain.directory import App
from tocsin.domain.errors import GrantRefused
from tocsin.domain.ids import ClientId


class Clients:
    """Authenticates apps against the directory."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def authenticate(self, authorization: str | None, client_id: str | None) -> App:
        """The app of a request with this Authorization header and `client_id` parameter. Raises GrantRefused."""
        secret = None
        if authorization is not None:
            named, secret = _basic(authorization)
            if client_id is not None and client_id != named:
                raise GrantRefused("OAU-150", "Parameter [client_id] differs from the Authorization header")
            client_id = named
        if not client_id:
            raise GrantRefused("OAU-123", "Client authentication is required")
        app = await self._directory.app(ClientId(client_id))
        if app is None or not app.enabled:
            raise GrantRefused("OAU-120", "Invalid client: no such application")
        if app.secret_hash is None:
            if secret:
                raise GrantRefused("OAU-146", "Invalid client credentials")
            return app
        if not secret:
            raise GrantRefused("OAU-123", "Client authentication is required")
        if not hmac.compare_digest(token_hash(secret), app.secret_hash):
            raise GrantRefused("OAU-146", "Invalid client credentials")
        return app


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            named, colon, secret = b64decode(encoded.strip(), validate=True).decode().partition(":")
        except ValueError:
            named, colon, secret = "", "", ""
        if named and colon:
            return named, secret
    raise GrantRefused("OAU-123", "Invalid Authorization header: Basic credentials of the application are expected")
