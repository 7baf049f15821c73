"""Real sockets: the frames, the recoveries, the refusals and the closing of the WebSocket gateway."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.exceptions import InvalidStatus
from websockets.frames import OP_CLOSE
from websockets.frames import Frame as RawFrame

from tests.sockets import INSTANT, MESSAGES, SUBSCRIPTION, Client, Served, open_sockets
from tocsin.api.websocket import EARLY_MESSAGES, MAX_MESSAGE_BYTES, WRITE_BUFFER_BYTES
from tocsin.domain.entry import DirectoryScope
from tocsin.domain.errors import StoreUnavailable
from tocsin.domain.ids import SYSTEM_ACCOUNT
from tocsin.server.certificates import local_trust
from tocsin.storage.unit import Applied

pytestmark = pytest.mark.anyio


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with open_sockets(tmp_path) as served:
        yield served


async def refused(client: Client) -> tuple[int, str, int | None]:
    """Status and code of the Error frame, and the code of the close frame that follows it."""
    meta, body = await client.frame()
    assert meta["type"] == "Error"
    code, _ = await client.closed()
    return meta["status"], body["errorCode"], code


# --------------------------------------------------------------------------------------------------------- opening


async def test_connection_details_come_first_and_a_fresh_session_speaks_of_no_recovery(served: Served) -> None:
    async with served.connect() as client:
        meta, body = await client.frame()
    assert (meta["type"], meta["status"]) == ("ConnectionDetails", 200)
    assert meta["headers"]["RCRequestId"]
    assert isinstance(meta["wsc"]["token"], str)
    assert body.pop("creationTime").endswith("Z")
    assert body == {
        "maxConnectionsPerSession": 50,
        "recoveryBufferSize": 100,
        "recoveryTimeout": 180,
        "idleTimeout": 1800,
        "absoluteTimeout": 86_400,
        "maxActiveRequests": 10,
    }


async def test_a_token_of_nobody_is_told_so_in_a_frame(served: Served) -> None:
    for query in ("access_token=nonsense", ""):
        async with served.raw(query) as client:
            assert await refused(client) == (401, "WSG-401", 1008)
    assert await served.session_rows() == []


async def test_a_token_serves_again_within_its_time_and_not_later(served: Served) -> None:
    token = await served.token()
    for _ in range(2):
        async with served.raw(f"access_token={token}") as client:
            assert (await client.frame())[0]["type"] == "ConnectionDetails"
    served.company.clock.advance(31)
    async with served.raw(f"access_token={token}") as client:
        assert await refused(client) == (401, "WSG-401", 1008)


async def test_a_malformed_context_token_is_refused(served: Served) -> None:
    async with served.connect(wsc="bm90LW91cnM") as client:
        meta, body = await client.frame()
        assert meta["type"] == "Error"
        assert body == {"errorCode": "WSG-400", "message": "Malformed WebSocket session context token"}
        assert (await client.closed())[0] == 1008


async def test_a_store_that_is_away_is_told_as_that(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    query = f"access_token={await served.token()}"

    async def away(*_: object) -> Applied:
        raise StoreUnavailable

    monkeypatch.setattr(served.company.store.writer, "apply", away)
    async with served.raw(query) as client:
        assert await refused(client) == (503, "WSG-503", 1013)
    assert served.gateway.session_count == 0


async def test_other_paths_are_not_found_and_http_is_served_on_the_same_port(served: Served) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        async with served.raw("x", path="/elsewhere"):
            pass
    assert refusal.value.response.status_code == 404
    async with served.opened() as client, httpx2.AsyncClient(base_url=f"http://127.0.0.1:{served.port}") as http:
        answer = await http.get("/restapi")
        assert answer.status_code == 200
        assert await client.heartbeat("still here") == [{"type": "Heartbeat", "messageId": "still here"}]


async def test_upgrades_as_firefox_asks_for_them(served: Served) -> None:
    token = await served.token()
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    lines = (
        f"GET /ws?access_token={token} HTTP/1.1",
        "Host: localhost",
        "Connection: keep-alive, Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 101")
    writer.close()
    await writer.wait_closed()


async def test_serves_wss_on_the_port_of_https(tmp_path: Path) -> None:
    (tmp_path / "tls").mkdir()
    trust = local_trust(tmp_path / "tls", "127.0.0.1")
    async with open_sockets(tmp_path / "data", certificate=trust.certificate) as served:
        served.context = ssl.create_default_context(cafile=trust.ca)
        async with served.opened() as client:
            await client.subscribe()
            await served.change_message()
            assert (await client.frame())[0]["type"] == "ServerNotification"
            # More than fits into one record, and the answer to a close frame.
            assert len((await client.ask("GET", "/restapi/v1.0/double/big"))[1]["filler"]) == 400_000
            await client.socket.close()
            assert client.socket.close_code == 1000


# ----------------------------------------------------------------------------------------------- requests in frames


async def test_a_subscription_is_answered_with_its_id_in_the_headers(served: Served) -> None:
    async with served.opened() as client:
        meta, body = await client.subscribe()
        assert meta["headers"]["WSG-SubscriptionId"] == body["id"]
        assert all(isinstance(value, str) for value in meta["headers"].values())
        assert meta["headers"]["RCRequestId"]
        assert body["uri"].endswith(f"{SUBSCRIPTION}/{body['id']}")
        for method in ("GET", "PUT"):
            again = await client.ask(method, f"{SUBSCRIPTION}/{body['id']}", {} if method == "PUT" else None)
            assert again[0]["headers"]["WSG-SubscriptionId"] == body["id"]
        listed = await client.ask("GET", SUBSCRIPTION)
        assert "WSG-SubscriptionId" not in listed[0]["headers"]
        cancelled = await client.ask("DELETE", f"{SUBSCRIPTION}/{body['id']}")
        assert len(cancelled) == 1
        assert cancelled[0]["status"] == 204
        assert cancelled[0]["headers"]["WSG-SubscriptionId"] == body["id"]
        assert "Content-Type" not in cancelled[0]["headers"]
        gone = await client.ask("PUT", f"{SUBSCRIPTION}/{body['id']}", {})
        assert gone[0]["status"] == 404
        # The Python SDK takes a subscription for made wherever it sees this header.
        assert "WSG-SubscriptionId" not in gone[0]["headers"]


async def test_the_collection_with_a_trailing_slash_as_the_python_sdk_names_it(served: Served) -> None:
    async with served.opened() as client:
        body = {"eventFilters": [MESSAGES], "deliveryMode": {"transportType": "WebSocket"}}
        meta, answer = await client.ask("POST", f"{SUBSCRIPTION}/", body)
        assert (meta["status"], meta["headers"]["WSG-SubscriptionId"]) == (200, answer["id"])


async def test_refusals_are_answers_with_the_errors_of_the_api(served: Served) -> None:
    async with served.opened() as client:
        meta, body = await client.ask("GET", "/restapi/v1.0/nothing/here")
        assert (meta["type"], meta["status"], body["errorCode"]) == ("ClientRequest", 404, "CMN-120")
        meta, body = await client.ask("POST", SUBSCRIPTION, {"eventFilters": ["/nonsense"], "deliveryMode": {}})
        assert meta["status"] == 400
        meta, body = await client.ask("GET", "/restapi/v1.0/double/fail")
        assert (meta["status"], body["errorCode"]) == (500, "CMN-203")
        meta, body = await client.ask("GET", "/restapi/v1.0/double/binary")
        assert (meta["status"], body["errorCode"]) == (501, "CMN-202")
        meta, _ = await client.ask("POST", "/restapi/oauth/revoke", {"token": "x"})
        assert meta["status"] == 501
        meta, _ = await client.ask(
            "POST", SUBSCRIPTION, {"0": 45}, headers={"Content-Type": "multipart/form-data; boundary=x"}
        )
        assert meta["status"] == 415
        assert (await client.heartbeat())[0]["type"] == "Heartbeat"


async def test_path_query_and_headers_arrive_as_they_would_by_http(served: Served) -> None:
    async with served.opened() as client:
        query = {"messageType": ["SMS", "Fax"], "perPage": 5, "none": None, "empty": ""}
        headers = {"X-User-Agent": "App/1"}
        path = "/restapi/v1.0/double/%65cho?view=Simple"
        _, body = await client.ask("GET", path, query=query, headers=headers)
    assert body == {
        "path": "/restapi/v1.0/double/echo",
        "query": [["view", "Simple"], ["messageType", "SMS"], ["messageType", "Fax"], ["perPage", "5"]],
        "agent": "App/1",
    }


async def test_more_than_the_allowed_requests_at_once_are_refused_and_the_others_go_on(served: Served) -> None:
    async with served.opened() as client:
        started = [await client.start("GET", "/restapi/v1.0/double/wait") for _ in range(10)]
        for _ in started:
            await served.waiting.acquire()
        meta, body = await client.ask("GET", "/restapi/v1.0/double/echo")
        assert (meta["status"], body["errors"][0]["errorCode"]) == (429, "CMN-301")
        assert meta["headers"]["RCRequestId"]
        assert (await client.heartbeat())[0]["type"] == "Heartbeat"
        served.gate.set()
        assert {(await client.frame())[0]["messageId"] for _ in started} == set(started)
        assert (await client.ask("GET", "/restapi/v1.0/double/echo"))[0]["status"] == 200


async def test_a_malformed_frame_is_told_and_costs_nobody_the_session(served: Served) -> None:
    async with served.opened() as client:
        for text in ("no json", "{}", "[]", '[{"type":"Heartbeat","messageId":7}]'):
            await client.socket.send(text)
            meta, body = await client.frame()
            assert (meta["type"], meta["status"], body["errorCode"]) == ("Error", 400, "WSG-400")
        await client.send({"type": "ClientRequest", "messageId": "x/1", "method": "GET"})
        assert (await client.frame())[0]["messageId"] == "x/1"
        assert (await client.heartbeat())[0]["type"] == "Heartbeat"


# --------------------------------------------------------------------------------------------------- notifications


async def test_an_event_carries_its_uuid_and_a_token_that_moves_on(served: Served) -> None:
    async with served.opened() as client:
        subscribed = await client.subscribe(MESSAGES)
        await served.change_message()
        meta, event = await client.frame()
        assert (meta["type"], meta["status"], meta["messageId"]) == ("ServerNotification", 200, event["uuid"])
        assert meta["headers"]["RCRequestId"]
        assert event["subscriptionId"] == subscribed[1]["id"]
        await served.change_message()
        assert (await client.frame())[0]["wsc"]["sequence"] > meta["wsc"]["sequence"]


async def test_the_answer_is_written_before_the_first_notification(served: Served) -> None:
    async with served.opened() as client:
        for _ in range(10):
            message_id = await client.start(
                "POST", SUBSCRIPTION, {"eventFilters": [MESSAGES], "deliveryMode": {"transportType": "WebSocket"}}
            )
            frames: list[Any] = []
            while not any(frame[0]["type"] == "ServerNotification" for frame in frames[1:]):
                await served.change_message()
                frames.append(await client.frame())
                if len(frames) == 1 and frames[0][0]["type"] != "ClientRequest":
                    frames.pop()  # of the subscription before, which this one replaces
            assert frames[0][0]["messageId"] == message_id
            assert all(frame[1]["subscriptionId"] == frames[0][1]["id"] for frame in frames[1:])
            assert (await client.ask_past_events("DELETE", f"{SUBSCRIPTION}/{frames[0][1]['id']}"))[0]["status"] == 204


async def test_a_subscription_is_told_in_its_own_session_alone(served: Served) -> None:
    async with served.opened() as mine, served.opened() as other:
        await mine.subscribe()
        await served.change_message()
        assert (await mine.frame())[0]["type"] == "ServerNotification"
        assert (await other.heartbeat())[0]["type"] == "Heartbeat"


# -------------------------------------------------------------------------------------------------------- recovery


async def cut_off(client: Client) -> None:
    """Lose the connection as networks do: without a close frame."""
    client.socket.transport.abort()
    await client.socket.wait_closed()


async def test_recovery_replays_what_came_meanwhile(served: Served) -> None:
    async with served.opened() as client:
        subscribed = await client.subscribe(INSTANT)
        await served.change_message()
        wsc = (await client.frame())[0]["wsc"]["token"]
        await cut_off(client)
    await served.change_message(count=3)
    async with served.connect(wsc=wsc) as client:
        _, body = await client.frame()
        assert body["recoveryState"] == "Successful"
        assert "recoveryErrorCode" not in body
        ids = []
        for _ in range(3):
            event = (await client.frame())[1]
            assert event["subscriptionId"] == subscribed[1]["id"]
            ids.append(event["body"]["id"])
        assert ids == ["2", "3", "4"]
        await served.change_message()
        assert (await client.frame())[1]["body"]["id"] == "5"


async def test_recovery_from_the_details_of_a_recovery_goes_on_within_the_range(served: Served) -> None:
    async with served.opened() as client:
        await client.subscribe(INSTANT)
        await served.change_message(count=3)
        frames = [await client.frame() for _ in range(3)]
        await cut_off(client)
    wsc = frames[0][0]["wsc"]["token"]
    async with served.connect(wsc=wsc) as client:
        wsc = (await client.frame())[0]["wsc"]["token"]  # and nothing more is seen
        await cut_off(client)
    async with served.opened(wsc=wsc) as client:
        again = [await client.frame() for _ in range(2)]
        assert [frame[1]["uuid"] for frame in again] == [frame[1]["uuid"] for frame in frames[1:]]
        assert (await client.heartbeat())[0]["type"] == "Heartbeat"


async def test_recovery_ends_a_connection_that_nobody_saw_break(served: Served) -> None:
    async with served.opened() as older:
        await older.subscribe()
        await served.change_message()
        wsc = (await older.frame())[0]["wsc"]["token"]
        async with served.connect(wsc=wsc) as newer:
            assert (await newer.frame())[1]["recoveryState"] == "Successful"
            assert (await older.closed())[0] == 1001
            await served.change_message()
            assert (await newer.frame())[0]["type"] == "ServerNotification"
            [row] = await served.session_rows()
            assert (row.epoch, row.disconnected_ms) == (2, None)


async def test_without_a_subscription_there_is_nothing_to_recover(served: Served) -> None:
    async with served.connect() as client:
        wsc = (await client.frame())[0]["wsc"]["token"]
    async with served.connect(wsc=wsc) as client:
        body = (await client.frame())[1]
        assert (body["recoveryState"], body["recoveryErrorCode"]) == ("Failed", "WSG-1005")
        await client.subscribe()
        await served.change_message()
        assert (await client.frame())[0]["type"] == "ServerNotification"


async def test_another_login_does_not_recover_the_session_and_a_refreshed_one_does(served: Served) -> None:
    first = await served.company.grant()
    served.logins["first"] = first["access_token"]
    async with served.opened() as client:
        await client.subscribe()
        await served.change_message()
        wsc = (await client.frame())[0]["wsc"]["token"]
        await cut_off(client)
    async with served.connect("second", wsc=wsc) as client:
        body = (await client.frame())[1]
        assert (body["recoveryState"], body["recoveryErrorCode"]) == ("Failed", "WSG-1003")
    served.logins["first"] = (await served.company.refresh(first["refresh_token"])).json()["access_token"]
    async with served.connect(wsc=wsc) as client:
        assert (await client.frame())[1]["recoveryState"] == "Successful"


async def test_a_session_expires_with_its_subscription_when_its_window_has_closed(served: Served) -> None:
    async with served.opened() as client:
        subscription_id = (await client.subscribe())[1]["id"]
        await served.change_message()
        wsc = (await client.frame())[0]["wsc"]["token"]
    assert len(await served.session_rows()) == 1
    due = served.gateway.next_due_ms()
    assert due == served.company.clock.now_ms() + 180_001
    served.company.clock.jump_to(due)
    await served.gateway.run_due()
    assert await served.session_rows() == []
    assert served.gateway.next_due_ms() is None
    async with served.connect(wsc=wsc) as client:
        body = (await client.frame())[1]
        assert (body["recoveryState"], body["recoveryErrorCode"]) == ("Failed", "WSG-1005")
        assert (await client.ask("PUT", f"{SUBSCRIPTION}/{subscription_id}", {}))[0]["status"] == 404


async def test_a_sequence_is_higher_in_every_later_session(served: Served) -> None:
    # @rc-ex/ws keeps an old token over a fresh connection until it sees a higher sequence.
    async with served.connect() as client:
        first = (await client.frame())[0]["wsc"]["sequence"]
    served.company.clock.advance(1)
    async with served.connect() as client:
        assert (await client.frame())[0]["wsc"]["sequence"] > first


# ------------------------------------------------------------------------------------------------- the end of a login


async def test_a_revoked_login_loses_its_sockets_at_once_and_no_other_does(served: Served) -> None:
    async with served.opened() as client, served.opened("second") as other:
        form = {"token": served.logins["first"]}
        answer = await served.company.client.post("/restapi/oauth/revoke", data=form, auth=served.company.basic)
        assert answer.status_code == 200
        assert await refused(client) == (401, "WSG-401", 1008)
        assert (await other.heartbeat())[0]["type"] == "Heartbeat"


async def test_a_refreshed_login_keeps_its_sockets(served: Served) -> None:
    granted = await served.company.grant()
    served.logins["first"] = granted["access_token"]
    async with served.opened() as client:
        assert (await served.company.refresh(granted["refresh_token"])).status_code == 200
        assert await served.tasks.settle(within_s=10)
        assert (await client.heartbeat())[0]["type"] == "Heartbeat"


async def test_a_change_in_the_directory_is_looked_at_and_ends_nobody_by_itself(served: Served) -> None:
    async with served.opened() as client:
        await served.company.changed(DirectoryScope.ACCOUNT)
        await served.company.changed(DirectoryScope.EXTENSION, str(served.company.extension_id("101")))
        await served.company.changed(DirectoryScope.APP, served.company.basic[0], account_id=SYSTEM_ACCOUNT)
        assert await served.tasks.settle(within_s=10)
        assert (await client.heartbeat())[0]["type"] == "Heartbeat"


# --------------------------------------------------------------------------------------------- messages and closing


async def test_a_message_in_several_frames_is_one_message(served: Served) -> None:
    async with served.opened() as client:
        text = json.dumps([{"type": "Heartbeat", "messageId": "in pieces"}])
        await client.socket.send([text[:7], text[7:20], "", text[20:]])
        assert await client.frame() == [{"type": "Heartbeat", "messageId": "in pieces"}]


@pytest.mark.parametrize("pieces", [1, 3])
async def test_too_big_a_message_is_refused(served: Served, pieces: int) -> None:
    async with served.opened() as client:
        text = "x" * (MAX_MESSAGE_BYTES // pieces + 1)
        await client.socket.send(text if pieces == 1 else [text] * pieces)
        assert (await client.closed())[0] == 1009
    assert (await served.session_rows())[0].disconnected_ms is not None


async def test_binary_messages_and_broken_sequences_of_frames_are_refused(served: Served) -> None:
    async with served.opened() as client:
        await client.socket.send(b"[]")
        assert (await client.closed())[0] == 1003
    for broken in (b"\x80\x80\0\0\0\0", b"\x01\x80\0\0\0\0\x81\x80\0\0\0\0", b"\xc1\x80\0\0\0\0"):
        async with served.opened() as client:
            client.socket.transport.write(broken)
            assert (await client.closed())[0] == 1002


async def test_what_comes_before_the_details_waits_within_bounds(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served.held_connects(monkeypatch) as release, served.connect() as patient, served.connect() as hasty:
        await patient.send({"type": "Heartbeat", "messageId": "early"})
        for _ in range(EARLY_MESSAGES + 1):
            await hasty.send({"type": "Heartbeat", "messageId": "early"})
        assert (await hasty.closed())[0] == 1008
        release.set()
        assert (await patient.frame())[0]["type"] == "ConnectionDetails"
        assert await patient.frame() == [{"type": "Heartbeat", "messageId": "early"}]


async def test_a_socket_lost_while_its_session_opens_leaves_nothing_behind(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served.held_connects(monkeypatch) as release:
        async with served.connect() as client:
            await cut_off(client)
        async with served.connect() as probe:  # its upgrade is later than the loss of the other
            release.set()
            assert (await probe.frame())[0]["type"] == "ConnectionDetails"
    rows = await served.session_rows()
    assert [row.disconnected_ms is None for row in rows] == [False, False]
    assert served.gateway.session_count == 0


@pytest.mark.parametrize("code", [1000, 4000])
async def test_a_close_frame_is_answered_with_its_own_code(served: Served, code: int) -> None:
    async with served.opened() as client:
        await client.socket.close(code, "bye")
        received = client.socket.protocol.close_rcvd
        assert received is not None
        assert received.code == code
    [row] = await served.session_rows()
    assert row.disconnected_ms is not None


async def test_a_close_frame_without_a_code_is_answered(served: Served) -> None:
    async with served.opened() as client:
        client.socket.transport.write(RawFrame(OP_CLOSE, b"").serialize(mask=True))
        assert (await client.closed())[0] == 1000


async def test_pending_writes_reach_the_client_before_the_close(served: Served) -> None:
    async with served.opened() as client:
        for _ in range(2):
            await client.start("GET", "/restapi/v1.0/double/big")
        big = [await client.frame() for _ in range(2)]
        assert all(len(frame[1]["filler"]) == 400_000 for frame in big)
        started = await client.start("GET", "/restapi/v1.0/double/wait")
        await served.waiting.acquire()
        for _ in range(2):  # unread on our side when we close
            await client.start("GET", "/restapi/v1.0/double/big")
        served.gate.set()
        answers = {(await client.frame())[0]["messageId"] for _ in range(3)}
        assert started in answers
        served.company.clock.advance(1801)
        served.gateway.tick()
        meta, body = await client.frame()
        assert (meta["type"], body["errorCode"]) == ("Error", "WSG-902")
        assert (await client.closed())[0] == 1000


async def test_a_client_that_does_not_read_is_neither_fed_nor_heard_and_then_closed(served: Served) -> None:
    async with served.opened() as client:
        client.socket.transport.pause_reading()
        [socket] = served.sockets()
        underlying = socket.transport.underlying_transport
        while underlying.is_reading():
            await client.start("GET", "/restapi/v1.0/double/big")
            await asyncio.sleep(0)
        assert await served.tasks.settle(within_s=10)
        assert WRITE_BUFFER_BYTES < underlying.get_write_buffer_size() < WRITE_BUFFER_BYTES + 12 * 400_100
        served.company.clock.advance(31)
        served.gateway.tick()
        assert await served.tasks.settle(within_s=10)
        client.socket.transport.resume_reading()
        code, _ = await client.closed()
        assert code == 1013


async def test_shutdown_closes_sockets_so_that_they_recover(tmp_path: Path) -> None:
    async with open_sockets(tmp_path) as served, served.opened() as client:
        await client.subscribe()
        served.gateway.close()
        served.server.stop()
        code, reason = await client.closed()
        assert code == 1001
        assert reason is not None
        assert "recover" in reason
        [row] = await served.session_rows()
        assert row.disconnected_ms is not None


async def test_a_server_that_is_only_stopped_says_the_same(tmp_path: Path) -> None:
    async with open_sockets(tmp_path) as served, served.opened() as client:
        served.server.stop()
        assert (await client.closed())[0] == 1001
