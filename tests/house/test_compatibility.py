"""spec/support.toml says what Tocsin has; the routes that the server really has must agree with it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.storing import open_test_store
from tocsin.domain.clock import SystemClock
from tocsin.log.tail import LocalTail
from tocsin.server.settings import Settings
from tocsin.server.wiring import Surroundings, read_secrets, wire
from tocsin.telemetry.metrics import Metrics

SPEC = Path(__file__).parent.parent.parent / "spec" / "support.toml"


@pytest.mark.anyio
async def test_the_list_and_the_routes_agree(tmp_path: Path) -> None:
    clock, tail = SystemClock(), LocalTail()
    async with open_test_store(tmp_path, listener=tail, clock=clock) as store:
        around = Surroundings(
            Settings(), True, clock, store, tail, Metrics(), lambda: "http://localhost", "token", lambda: None
        )
        routes = wire(around, await read_secrets(store)).routes
    served = {route.operation for route in routes if route.path.startswith("/restapi")}
    listed = {
        one["id"]
        for one in tomllib.loads(SPEC.read_text(encoding="utf-8"))["operation"]
        if one["support"] in ("Yes", "Partial")
    }
    assert served == listed


def test_partial_support_says_what_is_missing() -> None:
    entries = tomllib.loads(SPEC.read_text(encoding="utf-8"))["operation"]
    assert [one["id"] for one in entries if one["support"] == "Partial" and not one.get("note")] == []
