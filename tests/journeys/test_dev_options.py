"""`tocsin dev` as a person meets it at a prompt: its options, what it prints, its credentials, its signals."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.receiver import Receiver
from tests.sandbox import read_env, running_sandbox, start_sandbox
from tests.user import logged_in

pytestmark = pytest.mark.anyio

OUTSIDE = "+14155550123"
QUICKLY_S = 5.0
"""For a stop with nothing in flight, on a loaded machine."""
PRINTED = [
    "RINGCENTRAL_SERVER_URL",
    "RINGCENTRAL_CLIENT_ID",
    "RINGCENTRAL_CLIENT_SECRET",
    "RINGCENTRAL_JWT_TOKEN",
    "RINGCENTRAL_SENDER",
    "RINGCENTRAL_RECEIVER",
    "RINGCENTRAL_RECEIVER_JWT_TOKEN",
    "TOCSIN_ADMIN_TOKEN",
]


def tocsin_dev(*options: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run it to its end, which must come by itself."""
    return subprocess.run(
        [sys.executable, "-m", "tocsin", "dev", *options],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, **(environ or {})},
    )


@contextlib.contextmanager
def taken_port() -> Any:
    with contextlib.closing(socket.socket()) as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


async def test_what_it_prints_is_what_it_writes(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tocsin", "dev", "--port", "0", "--env-file", str(tmp_path / "deep" / "env")),
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    assert process.stdout is not None
    printed: list[str] = []
    async with asyncio.timeout(20):
        while not printed or "ready" not in printed[-1]:
            line = await process.stdout.readline()
            assert line, (tmp_path / "log").read_text()
            printed.append(line.decode())
    credentials, data, ready = printed[:-2], printed[-2], printed[-1]
    file = tmp_path / "deep" / "env"
    assert "".join(credentials) == file.read_text()
    assert list(read_env(file)) == PRINTED
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "temporary folder, removed at exit" in data
    assert "--data" in data
    url = read_env(file)["RINGCENTRAL_SERVER_URL"]
    assert f"API {url}" in ready
    assert f"console {url}/console" in ready

    async with httpx2.AsyncClient(base_url=url) as browser:
        page = await browser.get("/console")
        assert page.headers["content-type"].startswith("text/html")
        assert read_env(file)["RINGCENTRAL_SENDER"] in page.text
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await browser.get(path)).status_code == 200
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), QUICKLY_S) == 0


async def test_a_shell_can_source_the_env_file(tmp_path: Path) -> None:
    async with running_sandbox(tmp_path) as sandbox:
        script = f"set -eu; set -a; . '{tmp_path / 'env'}'; env"
        told = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
        sourced = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
        assert {name: sourced[name] for name in PRINTED} == sandbox.env


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_quickly_with_clients_and_work_waiting(tmp_path: Path, number: signal.Signals) -> None:
    async with Receiver() as receiver:
        sandbox = await start_sandbox(tmp_path)
        async with logged_in(sandbox) as ada:
            await ada.subscribe(receiver.url, ada.store)
            await sandbox.receive_sms(OUTSIDE, [ada.number], "before the end")
            await receiver.next()
            began = time.monotonic()
            sandbox.process.send_signal(number)  # two clients are connected, and a receiver
            assert await sandbox.process.wait() == 0
            assert time.monotonic() - began < QUICKLY_S
        await sandbox.control.aclose()
    assert "Traceback" not in (tmp_path / "server.log").read_text()


async def test_a_busy_port_is_named_with_what_to_do(tmp_path: Path) -> None:
    with taken_port() as port:
        ended = tocsin_dev("--port", str(port))
    assert ended.returncode == 2
    assert f"port {port}" in ended.stderr
    assert "--port" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


BAD_SEEDS = {
    "unknown key": (
        "[[account]]\nmain_number = '+16505550100'\ncolour = 'blue'",
        "account[0].colour: unknown key",
    ),
    "no TOML": ("[[account", "not TOML"),
}


@pytest.mark.parametrize("name", BAD_SEEDS)
async def test_a_bad_seed_file_is_refused_by_the_key(tmp_path: Path, name: str) -> None:
    text, told = BAD_SEEDS[name]
    file = tmp_path / "seed.toml"
    file.write_text(text)
    ended = tocsin_dev("--port", "0", "--seed", str(file))
    assert ended.returncode == 2
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_a_seed_file_that_is_not_there(tmp_path: Path) -> None:
    ended = tocsin_dev("--port", "0", "--seed", str(tmp_path / "missing.toml"))
    assert ended.returncode == 2
    assert "missing.toml" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_a_company_of_ones_own(tmp_path: Path) -> None:
    """The seed file of docs/seed.md is the sandbox that it describes."""
    page = (Path(__file__).parents[2] / "docs" / "seed.md").read_text()
    (tmp_path / "seed.toml").write_text(page.partition("```toml\n")[2].partition("```")[0])
    async with running_sandbox(tmp_path, "--seed", str(tmp_path / "seed.toml")) as sandbox:
        async with logged_in(sandbox) as ada:
            records = (await ada.ask("GET", "/restapi/v1.0/account/~/extension"))["records"]
            assert {one["name"] for one in records} == {"Ada Admin", "Uma User"}
        token = await sandbox.token(username="+16505550100", extension="101", password="a long sentence of your own")
        assert token["owner_id"] == ada.extension_id


async def test_tls_is_trusted_through_the_env_file(tmp_path: Path) -> None:
    async with running_sandbox(tmp_path, "--tls") as sandbox:
        assert sandbox.url.startswith("https://127.0.0.1:")
        assert set(sandbox.env) == {*PRINTED, "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"}
        async with logged_in(sandbox) as ada:
            answer = await ada.ask("POST", "/restapi/oauth/wstoken")
            assert answer["uri"] == sandbox.url.replace("https", "wss") + "/ws"
            [stored] = await sandbox.receive_sms(OUTSIDE, [ada.number], "in private")
            message = await ada.message(stored["id"])
            assert message["uri"].startswith(sandbox.url)
        environ = {**os.environ, **sandbox.env}
        for command in (requests_command(), node_command()):
            if command is not None:
                said = await asyncio.to_thread(
                    subprocess.run, [*command, sandbox.url], capture_output=True, text=True, env=environ, timeout=30
                )
                assert (said.stdout.strip(), said.returncode) == ("200", 0), said.stderr
        distrustful = {name: value for name, value in environ.items() if name != "REQUESTS_CA_BUNDLE"}
        said = await asyncio.to_thread(
            subprocess.run, [*requests_command(), sandbox.url], capture_output=True, env=distrustful, timeout=30
        )
        assert said.returncode != 0, "a client that was not told of the CA must not trust it"


def requests_command() -> list[str]:
    return [sys.executable, "-c", "import sys, requests; print(requests.get(sys.argv[1] + '/restapi').status_code)"]


def node_command() -> list[str] | None:
    node = shutil.which("node") or shutil.which("node", path=str(Path(sys.executable).parent))
    script = "fetch(process.argv[1] + '/restapi').then(answer => console.log(answer.status))"
    return None if node is None else [node, "-e", script]


async def test_a_public_url_begins_every_uri(tmp_path: Path) -> None:
    public = "https://tocsin.example.com/sandbox"
    with taken_port() as port:
        pass  # free again
    options = ("--public-url", public + "/", "--port", str(port))
    async with Receiver() as receiver, running_sandbox(tmp_path, *options) as sandbox:
        assert sandbox.env["RINGCENTRAL_SERVER_URL"] == public
        # The env file tells what the world uses; here we go by the port itself.
        sandbox.env["RINGCENTRAL_SERVER_URL"] = f"http://127.0.0.1:{port}"
        sandbox.control.base_url = sandbox.url
        async with logged_in(sandbox) as ada:
            wstoken = await ada.ask("POST", "/restapi/oauth/wstoken")
            assert wstoken["uri"] == "wss://tocsin.example.com/sandbox/ws"
            subscription = await ada.subscribe(receiver.url, ada.instant)
            await sandbox.receive_sms(OUTSIDE, [ada.number], "from afar")
            event = (await receiver.next()).json()
            listed = await ada.ask("GET", ada.store)
            me = await ada.ask("GET", ada.path)
            for text in (json.dumps(one) for one in (subscription, event, listed, me)):
                assert public + "/restapi/v1.0/" in text
                assert "127.0.0.1:" + str(port) not in text


async def test_settings_come_from_the_environment_and_flags_go_before(tmp_path: Path) -> None:
    data = tmp_path / "kept"
    sandbox = await start_sandbox(tmp_path, environ={"TOCSIN_DATA": str(data), "TOCSIN_PORT": "1"})
    assert not sandbox.url.endswith(":1"), "--port goes before TOCSIN_PORT"
    assert data.is_dir()
    assert await sandbox.stop() == 0
    await sandbox.control.aclose()


@pytest.mark.parametrize(
    "options,environ,told",
    [
        ([], {"TOCSIN_LOG_LEVEL": "shout"}, "TOCSIN_LOG_LEVEL"),
        (["--public-url", "here"], {}, "--public-url"),
        (["--colour", "blue"], {}, "--colour"),
    ],
)
async def test_a_setting_that_makes_no_sense_is_named(options: list[str], environ: dict[str, str], told: str) -> None:
    ended = tocsin_dev("--host", "127.0.0.1", *options, environ=environ)
    assert ended.returncode == 2
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_an_unknown_key_of_a_settings_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tocsin.toml").write_text("prt = 8080\n")
    ended = tocsin_dev("--config", str(tmp_path / "tocsin.toml"))
    assert ended.returncode == 2
    assert "'prt'" in ended.stderr
    assert "port" in ended.stderr
