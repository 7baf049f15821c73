"""With --data everything outlives the process; without, nothing does, and the sandbox says so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.receiver import Behaviour, Receiver
from tests.sandbox import read_env, running_sandbox, start_sandbox
from tests.user import User, log_in

pytestmark = pytest.mark.anyio

OUTSIDE = "+14155550123"


async def test_stopped_and_started_again_it_goes_on(tmp_path: Path) -> None:
    data = ("--data", str(tmp_path / "data"))
    async with Receiver() as receiver:
        first = await start_sandbox(tmp_path, *data)
        ada = await log_in(first)
        tokens = await first.token()
        made = await ada.subscribe(receiver.url, ada.instant, ada.store)
        [told] = await first.receive_sms(OUTSIDE, [ada.number], "told before")
        await receiver.count(2)
        receiver.otherwise = lambda _: Behaviour(status=503)
        [waits] = await first.receive_sms(OUTSIDE, [ada.number], "waits for better times")
        await receiver.count(4)
        first_env, before = first.env, await ada.messages()
        assert await first.stop() == 0
        await first.control.aclose()
        await ada.http.aclose()

        receiver.otherwise = lambda _: Behaviour()
        second = await start_sandbox(tmp_path, *data)
        assert {**second.env, "RINGCENTRAL_SERVER_URL": ""} == {**first_env, "RINGCENTRAL_SERVER_URL": ""}
        known = len(receiver.received)
        await second.advance(120)

        # The session that was open is still open, and its refresh token is still good.
        http = await second.login()
        http.headers["authorization"] = f"Bearer {tokens['access_token']}"
        again = User(http, ada.account_id, ada.extension_id, ada.number)
        assert [without_uris(one) for one in await again.messages()] == [without_uris(one) for one in before]
        [kept] = await again.subscriptions()
        assert (kept["id"], kept["eventFilters"]) == (made["id"], [ada.instant, ada.store])

        # What was told is not told again; what waited is, first of all.
        await second.receive_sms(OUTSIDE, [ada.number], "after")
        new = [one.json() for one in (await receiver.count(known + 2))[known:]]
        instants = [one["body"]["id"] for one in new if one["event"] == ada.instant]
        assert told["id"] not in instants
        assert instants[0] == waits["id"]
        assert all(int(told["id"]) not in ids_of(one) for one in new)
        refreshed = await second.control.post(
            "/restapi/oauth/token",
            data={"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]},
            auth=(second.env["RINGCENTRAL_CLIENT_ID"], second.env["RINGCENTRAL_CLIENT_SECRET"]),
        )
        assert refreshed.status_code == 200
        await http.aclose()
        assert await second.stop() == 0
        await second.control.aclose()


def ids_of(envelope: dict[str, object]) -> list[int]:
    body = envelope["body"]
    assert isinstance(body, dict)
    return [one for change in body.get("changes", []) for one in change.get("newMessageIds", [])]


def without_uris(record: dict[str, object]) -> str:
    """A record as text, without the port that its uris have."""
    return re.sub(r"127\.0\.0\.1:\d+", "", str(record))


async def test_one_folder_has_one_server(tmp_path: Path) -> None:
    data = ("--data", str(tmp_path / "data"))
    other = tmp_path / "other"
    other.mkdir()
    async with running_sandbox(tmp_path, *data):
        with pytest.raises(AssertionError, match="in use"):
            await start_sandbox(other, *data)


async def test_without_data_nothing_is_left(tmp_path: Path) -> None:
    home = tmp_path / "temporary"
    home.mkdir()
    sandbox = await start_sandbox(tmp_path, environ={"TMPDIR": str(home)})
    [folder] = home.iterdir()
    assert any(folder.iterdir())
    await sandbox.receive_sms(OUTSIDE, [sandbox.env["RINGCENTRAL_SENDER"]], "soon forgotten")
    assert await sandbox.stop() == 0
    await sandbox.control.aclose()
    assert list(home.iterdir()) == []


async def test_two_sandboxes_share_no_secret(tmp_path: Path) -> None:
    envs = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        async with running_sandbox(tmp_path / name):
            envs.append(read_env(tmp_path / name / "env"))
    for name in ("RINGCENTRAL_CLIENT_SECRET", "RINGCENTRAL_JWT_TOKEN", "TOCSIN_ADMIN_TOKEN"):
        assert envs[0][name] != envs[1][name]
