"""`tocsin dev` as a user starts it: a process of its own, on a free port, its credentials read from its env file.

async with running_sandbox(tmp_path) as sandbox:
    await sandbox.receive_sms("+16508974563", [sandbox.env["RINGCENTRAL_SENDER"]], "Hello")
"""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

READY_S = 20.0
"""How long a start may take on a loaded machine before the test fails."""


@dataclass
class Sandbox:
    """A running server: its process, credentials, and an HTTP client with the control API's token."""

    process: asyncio.subprocess.Process
    env: dict[str, str]
    ready_line: str
    control: httpx2.AsyncClient = field(repr=False)

    @property
    def url(self) -> str:
        """Base of the API."""
        return self.env["RINGCENTRAL_SERVER_URL"]

    async def receive_sms(self, sender: str, recipients: Sequence[str], text: str, **more: Any) -> list[dict[str, str]]:
        """Let `sender` send an SMS; return the control API's `messages`."""
        answer = await self.control.post(
            "/tocsin/v1/inbound/sms", json={"from": sender, "to": list(recipients), "text": text, **more}
        )
        assert answer.status_code == 202, answer.text
        messages: list[dict[str, str]] = answer.json()["messages"]
        return messages

    async def advance(self, seconds: float) -> None:
        """Jump the clock; returns when all that fell due has been done."""
        answer = await self.control.post("/tocsin/v1/clock/advance", json={"seconds": seconds}, timeout=60)
        assert answer.status_code == 200, answer.text

    async def login(self, jwt: str | None = None, **password: str) -> httpx2.AsyncClient:
        """A client that is logged in as extension 101, as whoever `jwt` is for, or by `username` and `password`."""
        token = (await self.token(jwt, **password))["access_token"]
        return httpx2.AsyncClient(
            base_url=self.url, headers={"Authorization": f"Bearer {token}"}, timeout=20, verify=trusted(self.env)
        )

    async def token(self, jwt: str | None = None, **password: str) -> dict[str, Any]:
        """What the token endpoint gives extension 101, whoever `jwt` is for, or `username` with `password`."""
        env = self.env
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "assertion": jwt or env["RINGCENTRAL_JWT_TOKEN"],
        }
        answer = await self.control.post(
            "/restapi/oauth/token",
            data={"grant_type": "password", **password} if password else form,
            auth=(env["RINGCENTRAL_CLIENT_ID"], env["RINGCENTRAL_CLIENT_SECRET"]),
        )
        assert answer.status_code == 200, answer.text
        granted: dict[str, Any] = answer.json()
        return granted

    async def kill(self) -> None:
        """SIGKILL, and wait until the process is gone."""
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> int:
        """SIGTERM, as an operator does; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()


def trusted(env: Mapping[str, str]) -> ssl.SSLContext | bool:
    """What the server's certificate is checked by: under --tls the CA that its env file names, and no other."""
    ca = env.get("SSL_CERT_FILE")
    return ssl.create_default_context(cafile=ca) if ca else True


def read_env(path: Path) -> dict[str, str]:
    """KEY=value lines; values are quoted only where a shell needs it, and ours never do."""
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


async def start_sandbox(folder: Path, *options: str, environ: dict[str, str] | None = None) -> Sandbox:
    """Start `tocsin dev` with `options`; its env file is `folder`/env. Returns once it says that it is ready."""
    env_file = folder / "env"
    env_file.unlink(missing_ok=True)
    with (folder / "server.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tocsin",
            "dev",
            "--port",
            "0",
            "--env-file",
            str(env_file),
            *options,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env={**_environ(), **(environ or {})},
        )
    try:
        ready_line = await _ready(process, folder)
    except BaseException:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    env = read_env(env_file)
    control = httpx2.AsyncClient(
        base_url=env["RINGCENTRAL_SERVER_URL"],
        headers={"Authorization": f"Bearer {env['TOCSIN_ADMIN_TOKEN']}"},
        timeout=20,
        verify=trusted(env),
    )
    return Sandbox(process, env, ready_line, control)


def _environ() -> dict[str, str]:
    """Ours, but bytecode is kept: without it every start compiles what it imports, for seconds."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


async def _ready(process: asyncio.subprocess.Process, folder: Path) -> str:
    assert process.stdout is not None
    with suppress(TimeoutError):
        async with asyncio.timeout(READY_S):
            async for line in process.stdout:
                if b"ready" in line.lower():
                    return line.decode()
    raise AssertionError(f"tocsin dev did not get ready:\n{(folder / 'server.log').read_text()}")


@asynccontextmanager
async def running_sandbox(folder: Path, *options: str) -> AsyncIterator[Sandbox]:
    """A sandbox that is stopped at the end, and whose exit is checked."""
    sandbox = await start_sandbox(folder, *options)
    try:
        yield sandbox
    finally:
        await sandbox.control.aclose()
        if sandbox.process.returncode is None:
            code = await sandbox.stop()
            assert code == 0, (folder / "server.log").read_text()
