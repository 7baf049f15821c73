"""What the token endpoints answer, field by field. Numbers are numbers: one SDK adds them to the time of day.

Source: RC getToken, RC authWsToken.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class TokenInfo(msgspec.Struct):
    """A pair of tokens. Times in seconds from now; `scope` is separated by spaces; `owner_id` is the extension."""

    access_token: str
    expires_in: int
    refresh_token: str
    refresh_token_expires_in: int
    scope: str
    owner_id: str
    endpoint_id: str
    session_id: str
    # Lower case: the SDKs repeat it in their Authorization headers.
    token_type: Literal["bearer"] = "bearer"  # noqa: S105  # a kind of token


class WebSocketToken(msgspec.Struct):
    """Where to open a socket, and with what. `uri` has no query: the SDKs append one themselves."""

    uri: str
    ws_access_token: str
    expires_in: int
