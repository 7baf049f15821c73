"""kill -9 at any point, over and over, under load, the receiver failing half of the time.

What was acknowledged is listed, once, and announced at least once by each filter, in order for each filter and mailbox;
a single-message event that repeats carries the same uuid; the same uuid always has the same body.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.receiver import Behaviour, Received, Receiver
from tests.sandbox import Sandbox, start_sandbox

pytestmark = pytest.mark.anyio

OUTSIDE = "+14155550123"
STORE = "/restapi/v1.0/account/~/extension/{}/message-store"
START_S = 2.0
"""Within this time after exec a start-up kill falls."""
LIFE_MESSAGES = 30
"""Messages for each mailbox in one life of the server."""
PATIENCE_S = 90.0


def free_port(dice: random.Random) -> int:
    """A port that every life of the server listens on, so that uris stay the same.

    Below those that systems give to outgoing connections, or one of another test could have it between two lives.
    """
    while True:
        port = dice.randint(20_000, 30_000)
        with contextlib.closing(socket.socket()) as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@dataclass
class Sent:
    """What was posted to one mailbox's number, in order; `acknowledged` are message ids by carrier id."""

    number: str
    count: int = 0
    acknowledged: dict[str, str] = field(default_factory=dict)


class Ordeal:
    """One store that is killed again and again."""

    def __init__(self, folder: Path, receiver: Receiver, dice: random.Random) -> None:
        self.folder, self.receiver, self.dice = folder, receiver, dice
        self.options = ("--data", str(folder / "data"), "--port", str(free_port(random.Random())))
        self.sent: dict[str, Sent] = {}
        self.kill_now = asyncio.Event()
        self.acks_left = self.requests_left = -1
        self.failing = True
        self.running: list[Sandbox] = []
        receiver.otherwise = self._behave

    async def start(self) -> Sandbox:
        """The next life of the server, on the same data and port."""
        sandbox = await start_sandbox(self.folder, *self.options)
        self.running.append(sandbox)
        return sandbox

    async def close(self) -> None:
        """Leave no process behind, however the test ends."""
        for sandbox in self.running:
            if sandbox.process.returncode is None:
                await sandbox.kill()
            await sandbox.control.aclose()

    def _behave(self, request: Received) -> Behaviour:
        """The receiver: fails half of the time, and pulls the trigger when the notifier is to be hit."""
        self.requests_left -= 1
        if self.requests_left == 0:
            self.kill_now.set()
        if self.failing and self.dice.random() < 0.5:
            return Behaviour(status=500) if self.dice.random() < 0.5 else Behaviour(drop=True)
        return Behaviour()

    async def life(self, phase: str) -> None:
        """One start of the server, load, and its end in `phase`."""
        if phase == "start-up":
            await self._killed_while_starting()
            return
        sandbox = await self.start()
        self.kill_now.clear()
        self.acks_left = self.dice.randint(1, 2 * LIFE_MESSAGES) if phase == "writer" else -1
        self.requests_left = self.dice.randint(1, 4) if phase == "notifier" else -1
        async with asyncio.TaskGroup() as group:
            posting = [group.create_task(self.post(sandbox, sent)) for sent in self.sent.values()]
            kill = group.create_task(self.kill_now.wait())
            await asyncio.wait([kill, asyncio.ensure_future(_all(posting))], return_when=asyncio.FIRST_COMPLETED)
            if phase == "notifier" and not kill.done():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(kill), 5)
            await sandbox.kill()
            kill.cancel()

    async def _killed_while_starting(self) -> None:
        starting = asyncio.ensure_future(self.start())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(starting), self.dice.uniform(0.1, START_S))
        if starting.done():
            await starting.result().kill()
        else:
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await starting

    async def post(self, sandbox: Sandbox, sent: Sent) -> None:
        """One message after the other; what the kill left open is posted again by the next life."""
        for _ in range(LIFE_MESSAGES):
            carrier_id = f"{sent.number}/{sent.count}"
            try:
                [stored] = await sandbox.receive_sms(
                    OUTSIDE, [sent.number], f"message {carrier_id}", carrierMessageId=carrier_id
                )
            except httpx2.HTTPError:
                return
            sent.acknowledged[carrier_id] = stored["id"]
            sent.count += 1
            self.acks_left -= 1
            if self.acks_left == 0:
                self.kill_now.set()


async def _all(tasks: list[asyncio.Task[None]]) -> None:
    await asyncio.wait(tasks)


@contextlib.asynccontextmanager
async def ordeal(folder: Path, seed: int) -> AsyncIterator[tuple[Ordeal, list[str]]]:
    """A subscribed store: one subscription with two filters for each of two mailboxes."""
    async with Receiver() as receiver:
        run = Ordeal(folder, receiver, random.Random(seed))
        try:
            yield run, await _subscribed(run)
        finally:
            await run.close()


async def _subscribed(run: Ordeal) -> list[str]:
    """Subscribe, and return the filters; the server is killed at once."""
    sandbox = await run.start()
    client = await sandbox.login()
    extensions = (await client.get("/restapi/v1.0/account/~/extension")).json()["records"]
    ids = {str(one["extensionNumber"]): str(one["id"]) for one in extensions}
    for number, name in (("101", "RINGCENTRAL_SENDER"), ("102", "RINGCENTRAL_RECEIVER")):
        run.sent[ids[number]] = Sent(sandbox.env[name])
    filters = [STORE.format(extension) + suffix for extension in run.sent for suffix in ("", "/instant?type=SMS")]
    created = await client.post(
        "/restapi/v1.0/subscription",
        json={"eventFilters": filters, "deliveryMode": {"transportType": "WebHook", "address": run.receiver.url}},
    )
    assert created.status_code == 200, created.text
    await client.aclose()
    await sandbox.kill()
    normalised: list[str] = created.json()["eventFilters"]
    return normalised


async def survive(folder: Path, seed: int, kills: int) -> None:
    """Kill `kills` times, then check every promise."""
    async with ordeal(folder, seed) as (run, filters):
        phases = run.dice.choices(["writer", "notifier", "start-up"], k=kills)
        for phase in phases:
            await run.life(phase)
        run.failing = False
        run.requests_left = -1
        sandbox = await run.start()
        for sent in run.sent.values():
            await run.post(sandbox, sent)
        await _announced(run, filters)
        await _check_listed(run, sandbox)
        _check_events(run, filters)
        assert await sandbox.stop() == 0


async def _announced(run: Ordeal, filters: list[str]) -> None:
    """Wait until every acknowledged message was announced by each filter."""
    wanted = {text: {int(one) for one in run.sent[_mailbox(text)].acknowledged.values()} for text in filters}

    def missing() -> int:
        told: dict[str, set[int]] = {text: set() for text in filters}
        for envelope in _delivered(run):
            told[envelope["event"]].update(_new_ids(envelope))
        return sum(len(ids - told[text]) for text, ids in wanted.items())

    async with asyncio.timeout(PATIENCE_S):
        while left := missing():
            seen = len(run.receiver.received)
            try:
                await run.receiver.count(seen + 1, patience_s=PATIENCE_S)
            except AssertionError as silent:
                raise AssertionError(f"{left} announcements are missing") from silent


def _delivered(run: Ordeal) -> Iterator[dict[str, Any]]:
    """Every notification that reached the receiver, in order, whatever it answered."""
    return (request.json() for request in run.receiver.received)


def _mailbox(event: str) -> str:
    return event.partition("/extension/")[2].partition("/")[0]


def _new_ids(envelope: dict[str, Any]) -> list[int]:
    body = envelope["body"]
    if "changes" not in body:
        return [int(body["id"])]
    return [one for change in body["changes"] for one in change["newMessageIds"]]


async def _check_listed(run: Ordeal, sandbox: Sandbox) -> None:
    client = await sandbox.login()
    for extension, sent in run.sent.items():
        listed: list[dict[str, Any]] = []
        page = 1
        while True:
            answer = await client.get(STORE.format(extension), params={"perPage": 1000, "page": page})
            assert answer.status_code == 200, answer.text
            listed += answer.json()["records"]
            if "nextPage" not in answer.json()["navigation"]:
                break
            page += 1
        by_text = {record["subject"]: str(record["id"]) for record in listed}
        assert len(by_text) == len(listed), "a message was stored twice"
        for carrier_id, message_id in sent.acknowledged.items():
            assert by_text[f"message {carrier_id}"] == message_id
    await client.aclose()


def _check_events(run: Ordeal, filters: list[str]) -> None:
    by_uuid: dict[str, tuple[str, Any]] = {}
    uuid_of: dict[tuple[str, int], str] = {}
    first_told: dict[str, list[int]] = {text: [] for text in filters}
    for envelope in _delivered(run):
        event, body, uuid = envelope["event"], envelope["body"], envelope["uuid"]
        assert by_uuid.setdefault(uuid, (event, body)) == (event, body), "equal uuid, another body"
        known = first_told[event]
        known += [one for one in _new_ids(envelope) if one not in set(known)]
        if "changes" not in body:
            key = (event, int(body["id"]))
            assert uuid_of.setdefault(key, uuid) == uuid, "a single-message event came again under another uuid"
    for event, told in first_told.items():
        assert told == sorted(told), f"{event} was told out of order"


@pytest.mark.crash
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [int(os.environ.get("TOCSIN_CRASH_SEED", "1"))])
async def test_nothing_acknowledged_is_lost_over_twenty_kills(tmp_path: Path, seed: int) -> None:
    await survive(tmp_path, seed, 20)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(10))
async def test_nothing_acknowledged_is_lost_over_two_hundred_kills(tmp_path: Path, seed: int) -> None:
    await survive(tmp_path, 1000 + seed, 20)


@pytest.mark.crash
@pytest.mark.timeout(300)
async def test_restarts_do_not_reset_an_outage(tmp_path: Path) -> None:
    async with ordeal(tmp_path, 3) as (run, _):
        run.receiver.otherwise = lambda _: Behaviour(status=503)
        sent = next(iter(run.sent.values()))
        sandbox = await run.start()
        await sandbox.receive_sms(OUTSIDE, [sent.number], "never told")
        await run.receiver.next()
        for _ in range(3):
            await sandbox.advance(150)
            await sandbox.kill()
            sandbox = await run.start()
        assert (await subscription_of(sandbox))["status"] == "Active"
        await sandbox.advance(230)  # past ten minutes in all, and past the next attempt
        blacklisted = await subscription_of(sandbox)
        assert blacklisted["status"] == "Blacklisted"
        assert "503" in blacklisted["blacklistedData"]["reason"]
        run.receiver.otherwise = lambda _: Behaviour()
        await sandbox.advance(901)
        assert (await subscription_of(sandbox))["status"] == "Active"
        told = await run.receiver.next(lambda one: "changes" in one.json()["body"])
        assert told.json()["body"]["changes"][0]["newCount"] == 1
        assert await sandbox.stop() == 0


async def subscription_of(sandbox: Sandbox) -> dict[str, Any]:
    """The only subscription, as its owner sees it now."""
    client = await sandbox.login()
    records: list[dict[str, Any]] = (await client.get("/restapi/v1.0/subscription")).json()["records"]
    await client.aclose()
    [one] = records
    return one
