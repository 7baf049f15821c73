"""Inbound SMS by HTTP → durable → webhook received: one server process, `tocsin dev --data` in a temporary folder.

200 mailboxes of one account; the admin subscribes, in as many subscriptions as that takes, to the instant event of each
mailbox, and in the second run to its message-store event as well. Beside it, in the same rounds, the yardsticks.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import msgspec

from bench.load import Load, Pace, Sink, Target
from bench.result import Result, measure
from bench.server import started

FILTERS = 240
"""A subscription takes so many."""
INSTANT = "/restapi/v1.0/account/~/extension/{}/message-store/instant?type=SMS"
STORE = "/restapi/v1.0/account/~/extension/{}/message-store"

OURS, OURS_BOTH, YARDSTICK, REFERENCE = "instant", "instant+store", "yardstick", "reference"


@asynccontextmanager
async def tocsin(folder: Path, sink: Sink, mailboxes: int, kinds: list[str]) -> AsyncIterator[Target]:
    """A sandbox with `mailboxes`, subscribed to with filters of `kinds`."""
    seed = folder / "seed.toml"
    numbers = [f"+1650555{1000 + place}" for place in range(mailboxes)]
    seed.write_text(_seed(numbers), encoding="utf-8")
    arguments = ["-m", "tocsin", "dev", "--port", "0", "--data", str(folder / "data"), "--seed", str(seed)]
    with started(arguments, "tocsin is ready", folder / "server.log") as (pid, output):
        env = dict(line.split("=", 1) for line in output.splitlines() if line.split("=", 1)[0].isupper())
        env = {name: value.strip("'\"") for name, value in env.items()}
        await asyncio.to_thread(_subscribe, env, kinds, f"http://127.0.0.1:{sink.port}/hook")
        host, _, port = env["RINGCENTRAL_SERVER_URL"].removeprefix("http://").partition(":")
        yield Target(host, int(port), env["TOCSIN_ADMIN_TOKEN"], numbers, pid)


@asynccontextmanager
async def yardstick(folder: Path, sink: Sink, mailboxes: int) -> AsyncIterator[Target]:
    """Our own yardstick, under the same load."""
    arguments = ["-m", "bench.yardsticks.path_ceiling", "--sink", str(sink.port), "--folder", str(folder)]
    with started(arguments, "ready", folder / "server.log") as (pid, output):
        _, port, token = output.split()
        numbers = [f"+1650555{1000 + place}" for place in range(mailboxes)]
        yield Target("127.0.0.1", int(port), token, numbers, pid)


def reference(seconds: float) -> Result | None:
    """The yardstick among the reference material, where that is at hand; it brings its own load and sink.

    It is started with BENCH_REFERENCE_PYTHON, should it need packages that this environment has not.
    """
    script = Path(os.environ.get("TOCSIN_REFERENCE", ""), "yardsticks", "path_ceiling.py")
    if not os.environ.get("TOCSIN_REFERENCE") or not script.is_file():
        return None
    python = os.environ.get("BENCH_REFERENCE_PYTHON", sys.executable)
    command = [python, str(script), "--rounds", "1", "--dur", str(seconds)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if ran.returncode:
        last = (ran.stderr.strip().splitlines() or ["no reason given"])[-1]
        print(f"bench: the reference's yardstick did not run: {last}", file=sys.stderr)
        return None
    told = msgspec.json.decode(ran.stdout.strip().splitlines()[-1])
    return Result(
        REFERENCE,
        0,
        told["accepted_s"],
        told["delivered_s"],
        told["delivered_s"],
        told["e2e_p50_ms"],
        told["e2e_p99_ms"],
        told["accept_p50_ms"],
        told["accept_p99_ms"],
        told["srv_cpu_us"],
        told["lost"],
        0,
        0,
    )


async def one_round(
    seconds: float, connections: int, rates: list[int], mailboxes: int, tell: Callable[[Result], None]
) -> None:
    """Measure everything once; `tell` is given each result."""
    closed = Pace(0, seconds, connections)
    sink = Sink()
    async with sink.listening():
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            async with yardstick(Path(folder), sink, mailboxes) as target:
                tell(await _run(YARDSTICK, target, closed, sink, counted=False))
        told = await asyncio.to_thread(reference, seconds)
        if told is not None:
            tell(told)
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            async with tocsin(Path(folder), sink, mailboxes, [INSTANT]) as target:
                tell(await _run(OURS, target, closed, sink, counted=False))
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            async with tocsin(Path(folder), sink, mailboxes, [INSTANT, STORE]) as target:
                for pace in (closed, *(Pace(rate, seconds, connections) for rate in rates)):
                    tell(await _run(OURS_BOTH, target, pace, sink, counted=True))


async def _run(what: str, target: Target, pace: Pace, sink: Sink, *, counted: bool) -> Result:
    sink.received.clear()
    load = Load(target, pace)
    await load.run()
    await sink.drained()
    return measure(what, pace.rate, load, sink.received, counted=counted)


def _seed(numbers: list[str]) -> str:
    lines = ["[[account]]", 'name = "Bench"', 'main_number = "+16505550100"']
    for place, number in enumerate(numbers):
        role = "admin" if place == 0 else "user"
        lines += ["[[account.extension]]", f'number = "{1000 + place}"', f'role = "{role}"']
        lines += ["[[account.extension.phone_numbers]]", f'number = "{number}"']
    return "\n".join(lines) + "\n"


def _subscribe(env: dict[str, str], kinds: list[str], address: str) -> None:
    """Log in as the admin, and subscribe to every mailbox."""
    url = env["RINGCENTRAL_SERVER_URL"]
    grant = {
        "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "assertion": env["RINGCENTRAL_JWT_TOKEN"],
    }
    app = b64encode(f"{env['RINGCENTRAL_CLIENT_ID']}:{env['RINGCENTRAL_CLIENT_SECRET']}".encode()).decode()
    form = {"Authorization": f"Basic {app}", "Content-Type": "application/x-www-form-urlencoded"}
    token = _ask(f"{url}/restapi/oauth/token", urlencode(grant).encode(), form)["access_token"]
    bearer = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    listed = _ask(f"{url}/restapi/v1.0/account/~/extension?perPage=1000", None, bearer)["records"]
    filters = [kind.format(one["id"]) for one in listed for kind in kinds]
    for first in range(0, len(filters), FILTERS):
        wanted = {
            "eventFilters": filters[first : first + FILTERS],
            "deliveryMode": {"transportType": "WebHook", "address": address},
        }
        _ask(f"{url}/restapi/v1.0/subscription", msgspec.json.encode(wanted), bearer)


def _ask(url: str, body: bytes | None, headers: dict[str, str]) -> Any:
    with urlopen(Request(url, body, headers), timeout=30) as answer:
        return msgspec.json.decode(answer.read())
