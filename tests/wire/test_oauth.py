from __future__ import annotations

import json

import msgspec

from tests.goldens import Golden
from tocsin.wire.oauth import TokenInfo, WebSocketToken


def test_a_pair_of_tokens(golden: Golden) -> None:
    info = TokenInfo(
        access_token="access-1",
        expires_in=3600,
        refresh_token="refresh-1",
        refresh_token_expires_in=604_800,
        scope="ReadAccounts ReadMessages SMS",
        owner_id="400100101",
        endpoint_id="endpoint-1",
        session_id="session-1",
    )
    golden("oauth/token", json.loads(msgspec.json.encode(info)))


def test_a_token_for_a_socket(golden: Golden) -> None:
    token = WebSocketToken(uri="wss://tocsin.example/ws", ws_access_token="ws-1", expires_in=30)
    golden("oauth/websocket-token", json.loads(msgspec.json.encode(token)))
