"""RingCentral's published JavaScript SDKs, unmodified, against `tocsin dev`: the whole journey of an integrator."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.peers.told import Arrived, check_events
from tests.receiver import Receiver
from tests.sandbox import running_sandbox

pytestmark = [pytest.mark.anyio, pytest.mark.sdk]

HERE = Path(__file__).parent / "node"
OUTSIDE = "+14157809227"
SENDER = {
    "phoneNumber": OUTSIDE,
    "location": "California",
    "phoneNumberInfo": {"countryCode": "1", "nationalDestinationCode": "415", "subscriberNumber": "7809227"},
}
PATIENCE_S = 30


def node() -> str:
    """The Node binary: the machine's, or the virtualenv's own; skips with a reason where there is neither."""
    found = shutil.which("node") or shutil.which("node", path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip("no Node.js: `make setup` installs one into the virtualenv")
    if not (HERE / "node_modules").is_dir():
        pytest.skip("the SDKs are not installed: `make setup` does it")
    return found


class Steps:
    """The script's lines, read one by one."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def next(self, step: str) -> Any:
        """The value of the next line, which must be `step`."""
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), PATIENCE_S)
        assert line, f"the script ended before {step}"
        said = json.loads(line)
        assert said["step"] == step, said
        return said["value"]


async def test_logs_in_subscribes_receives_lists_downloads_reads_and_revokes(tmp_path: Path) -> None:
    async with running_sandbox(tmp_path) as sandbox, Receiver() as receiver:
        script = await asyncio.create_subprocess_exec(
            node(),
            str(HERE / "journey.cjs"),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, **sandbox.env, "WEBHOOK_ADDRESS": receiver.url},
            limit=1_000_000,
        )
        try:
            steps = Steps(script)
            login = await steps.next("login")
            assert login["token_type"] == "bearer"
            assert login["owner_id"].isdigit()
            hook = await steps.next("hooked")
            assert hook["deliveryMode"]["address"] == receiver.url
            subscription = await steps.next("subscribed")
            assert subscription["deliveryMode"] == {"transportType": "WebSocket", "encryption": False}
            own = sandbox.env["RINGCENTRAL_SENDER"]
            [stored] = await sandbox.receive_sms(OUTSIDE, [own], "Hi there")
            events = await steps.next("events")
            assert {event["event"] for event in events} == set(subscription["eventFilters"])
            arrived = Arrived(stored, SENDER, own, "Hi there", sandbox.url)
            check_events(events, subscription["id"], arrived)
            check_events([(await receiver.next()).json() for _ in events], hook["id"], arrived)
            listed = await steps.next("listed")
            assert [record["subject"] for record in listed["records"]] == ["Hi there"]
            content = await steps.next("content")
            assert content["type"].startswith("text/plain")
            assert content["text"] == "Hi there"
            assert (await steps.next("read"))["readStatus"] == "Read"
            assert (await steps.next("updated"))["body"]["changes"][0]["updatedCount"] == 1
            assert await steps.next("refreshed") is True
            assert "subscriptionId" in await steps.next("revoked")
            assert await steps.next("logout") is False
            assert await asyncio.wait_for(script.wait(), PATIENCE_S) == 0
        finally:
            if script.returncode is None:
                script.kill()
                await script.wait()
