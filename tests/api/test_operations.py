from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx2
import pytest

from tests.goldens import Golden
from tests.refusals import assert_refused
from tocsin.api.app import make_app
from tocsin.api.call import Route
from tocsin.api.dispatch import Dispatcher
from tocsin.api.operations import MAX_JUMP_S, ClockControl, Operations
from tocsin.api.request import BaseUrl
from tocsin.domain.directory import Account, Identity
from tocsin.domain.errors import Unauthenticated
from tocsin.domain.ids import AccountId
from tocsin.telemetry.health import Finding, Health, Verdict
from tocsin.telemetry.metrics import Metrics

pytestmark = pytest.mark.anyio

NOW_MS = 1_800_000_000_123
ADVANCE = "/tocsin/v1/clock/advance"


@asynccontextmanager
async def serve(routes: Sequence[Route]) -> AsyncIterator[httpx2.AsyncClient]:
    """A client with the admin's token."""

    async def nobody(_: str) -> Identity:
        raise Unauthenticated("OAU-213", "Token not found")

    async def nothing(_: AccountId) -> Account | None:
        return None

    dispatcher = Dispatcher(routes, authenticate=nobody, find_account=nothing, admin_token="admin")
    transport = httpx2.ASGITransport(make_app(dispatcher, BaseUrl(None)))
    headers = {"Authorization": "Bearer admin"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://tocsin.example", headers=headers) as client:
        yield client


def operations(verdict: Verdict) -> list[Route]:
    health = Health()
    health.add("writer", lambda: Finding(Verdict.OK), vital=True)
    health.add("notifier", lambda: Finding(verdict, "12 lanes lag"))
    return Operations(health, Metrics()).routes()


@pytest.mark.parametrize("verdict, status", [(Verdict.OK, 200), (Verdict.DEGRADED, 200), (Verdict.FAILED, 503)])
async def test_probes_are_answered_without_a_token(verdict: Verdict, status: int, golden: Golden) -> None:
    async with serve(operations(verdict)) as client:
        del client.headers["authorization"]
        alive, ready, metrics = [await client.get(path) for path in ("/healthz", "/readyz", "/metrics")]
        assert (alive.status_code, ready.status_code, metrics.status_code) == (200, status, 200)
        assert metrics.headers["content-type"].startswith("text/plain")
        assert "tocsin_" in metrics.text
        golden(f"control/ready-{verdict.value}", ready.json())


async def test_the_clock_jumps_and_says_what_time_it_is(golden: Golden) -> None:
    jumps: list[float] = []

    async def advance(seconds: float) -> int:
        jumps.append(seconds)
        return NOW_MS

    async with serve(ClockControl(advance).routes()) as client:
        answer = await client.post(ADVANCE, json={"seconds": 1.5})
        golden("control/clock", answer.json())
        for wrong in (-1, MAX_JUMP_S + 1, "long", None):
            assert_refused(await client.post(ADVANCE, json={"seconds": wrong}), 400, "CMN-101", "seconds")
        del client.headers["authorization"]
        assert_refused(await client.post(ADVANCE, json={"seconds": 1}), 401, "AGW-401")
    assert jumps == [1.5]
