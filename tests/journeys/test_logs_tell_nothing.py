"""The log of a whole journey, at its chattiest: no text, name, token, secret, password or full phone number."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from tests.journeys.conftest import SEED
from tests.receiver import Behaviour, Receiver
from tests.sandbox import start_sandbox
from tests.user import SUBSCRIPTIONS, log_in

pytestmark = pytest.mark.anyio

OUTSIDE = "+14155550123"
TEXT = "the treasure is under the old oak"
CALLER, PLACE = "Mallory Moneypenny", "Ultima Thule, XX"
SECRET_FILE = b"GIF89a and then the map"
VERIFICATION = "verify-me-7c1f"


async def test_a_journey_with_everything_in_it(tmp_path: Path) -> None:
    secrets: dict[str, str] = {"text": TEXT, "caller": CALLER, "place": PLACE, "verification token": VERIFICATION}
    async with Receiver() as receiver:
        sandbox = await start_sandbox(tmp_path, "--seed", str(SEED), environ={"TOCSIN_LOG_LEVEL": "debug"})
        env = sandbox.env
        password = {"username": "+16505550201", "password": "bob's long password"}
        token, bobs = await sandbox.token(), await sandbox.token(**password)
        ada = await log_in(sandbox)
        secrets |= {name: value for name, value in env.items() if "TOKEN" in name or "SECRET" in name}
        for owner, granted in (("Ada", token), ("Bob", bobs)):
            secrets |= {f"{owner}'s {name}": granted[name] for name in ("access_token", "refresh_token")}
        secrets |= {"own token": ada.http.headers["authorization"].removeprefix("Bearer "), **password}
        secrets |= {"sender": ada.number, "receiver": env["RINGCENTRAL_RECEIVER"], "outside": OUTSIDE}

        hook = {"transportType": "WebHook", "address": receiver.url, "verificationToken": VERIFICATION}
        filters = [ada.store, ada.instant]
        await ada.ask("POST", SUBSCRIPTIONS, json={"eventFilters": filters, "deliveryMode": hook})
        receiver.answers(Behaviour(status=500, body=TEXT.encode()), Behaviour(raw=TEXT.encode() + b"\r\n\r\n"))
        media = {
            "contentType": "image/gif",
            "fileName": f"{TEXT}.gif",
            "data": base64.b64encode(SECRET_FILE).decode(),
        }
        [stored] = await sandbox.receive_sms(
            OUTSIDE, [ada.number], TEXT, fromName=CALLER, fromLocation=PLACE, media=[media]
        )
        await receiver.count(2)
        await sandbox.advance(60)
        await receiver.count(4)
        sent = await ada.send_sms([env["RINGCENTRAL_RECEIVER"], OUTSIDE], TEXT)
        await ada.send_sms(["+15005550020"], TEXT)
        await sandbox.advance(5)
        await ada.ask("PUT", f"{ada.store}/{stored['id']}", json={"readStatus": "Read"})
        await ada.ask("DELETE", f"{ada.store}/{sent['id']}", params={"purge": "true"})
        wstoken = await ada.ask("POST", "/restapi/oauth/wstoken")
        secrets["websocket token"] = wstoken["ws_access_token"]

        # What goes wrong is logged most readily.
        await ada.http.post(f"{ada.path}/sms", json={"to": [{"phoneNumber": OUTSIDE + "99999"}], "text": TEXT})
        await ada.http.post(f"{ada.path}/sms", content=f'{{"text": "{TEXT}'.encode())
        await ada.http.get(ada.store, params={"access_token": token["access_token"], "phoneNumber": OUTSIDE})
        await sandbox.control.post(
            "/restapi/oauth/token", data={"grant_type": "password", "username": OUTSIDE, "password": TEXT}
        )
        await sandbox.control.post("/restapi/oauth/revoke", data={"token": token["access_token"]})
        await ada.http.aclose()
        assert await sandbox.stop() == 0
        await sandbox.control.aclose()

    log = (tmp_path / "server.log").read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    assert lines, "at debug level something is logged"
    assert all(line["event"] and line["level"] and line["timestamp"] for line in lines)
    for name, secret in secrets.items():
        for spelt in {secret, secret.replace("+", "%2B"), json.dumps(secret)[1:-1]}:
            assert spelt not in log, f"the log tells the {name}: {line_with(log, spelt)}"
    for number in (ada.number, OUTSIDE, env["RINGCENTRAL_RECEIVER"]):
        assert number[2:] not in log, line_with(log, number[2:])


def line_with(log: str, text: str) -> str:
    return next(line for line in log.splitlines() if text in line)
