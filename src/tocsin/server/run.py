"""`tocsin dev` as a process: its folder, its credentials, what it prints, and its signals."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from tocsin.api.console import Console
from tocsin.console.page import ConsolePage
from tocsin.directory.seed_file import SeedError, SeedPlan, default_plan, parse_seed
from tocsin.directory.seeding import ExtensionCredentials, Seeded
from tocsin.domain.directory import NumberFeature
from tocsin.log.tail import LocalTail
from tocsin.server.certificates import LocalTrust, local_trust
from tocsin.server.console_data import ConsoleData
from tocsin.server.env_file import render_env, write_env
from tocsin.server.http_server import CannotListen, bind
from tocsin.server.kept_clock import keep_clock, open_clock
from tocsin.server.lifecycle import Server
from tocsin.server.settings import Settings
from tocsin.server.wiring import Rooms, Surroundings, read_secrets, wire
from tocsin.storage.lock import StoreInUse
from tocsin.storage.migrate import SchemaTooNew
from tocsin.storage.store import Store, open_store
from tocsin.telemetry.logs import configure_logs
from tocsin.telemetry.metrics import Metrics

ADMIN_TOKEN_FILE = "admin-token"  # noqa: S105  # the file's name
USAGE_ERROR = 2
COLLECT_AFTER = 20_000
"""Containers made, less those ended, between two looks for garbage; Python's default is 700."""


def run_dev(settings: Settings) -> int:
    """Run the sandbox until it is told to stop; return the exit code."""
    configure_logs(level=settings.log_level.upper())
    try:
        plan = read_plan(settings.seed)
        with (
            _folder(settings) as folder,
            contextlib.closing(bind(settings.host, settings.port)) as listener,
            asyncio.Runner(loop_factory=_loop_factory()) as runner,
        ):
            runner.run(_sandbox(settings, folder, listener, plan))
    except (CannotListen, SeedError, StoreInUse, SchemaTooNew) as wrong:
        return _refuse(str(wrong))
    except OSError as wrong:
        return _refuse(f"{wrong.filename}: {wrong.strerror}" if wrong.filename and wrong.strerror else str(wrong))
    return 0


def _refuse(why: str) -> int:
    print(f"tocsin: {why}", file=sys.stderr)
    return USAGE_ERROR


def read_plan(seed: Path | None) -> SeedPlan:
    """Return the company to start with: the default one without a file. Raises SeedError, which names the file."""
    if seed is None:
        return default_plan()
    try:
        return parse_seed(seed.read_text(encoding="utf-8"))
    except OSError as wrong:
        raise SeedError(f"{seed}: {wrong.strerror}") from wrong
    except UnicodeDecodeError as wrong:
        raise SeedError(f"{seed}: not TOML: {wrong}") from wrong
    except SeedError as wrong:
        raise SeedError(f"{seed}: {wrong}") from wrong


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """Uvloop where there is one; asyncio's own loop on Windows."""
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.Loop


@contextlib.contextmanager
def _folder(settings: Settings) -> Iterator[Path]:
    """The store's folder: the one asked for, or a temporary one that goes with the process."""
    if settings.data is not None:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield settings.data
        return
    with tempfile.TemporaryDirectory(prefix="tocsin-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


async def _sandbox(settings: Settings, folder: Path, listener: socket.socket, plan: SeedPlan) -> None:
    """Everything between an open port and its end."""
    stop = _stop_signal()
    trust = local_trust(folder, settings.host) if settings.tls else None
    base_url = settings.public_url or _own_url(settings, listener)
    clock, tail, metrics = open_clock(folder), LocalTail(), Metrics()
    store = await open_store(folder, clock=clock, listener=tail, on_group=_count_groups(metrics))
    try:
        admin_token = settings.admin_token or _admin_token(folder)
        around = Surroundings(
            settings,
            True,
            clock,
            store,
            tail,
            metrics,
            lambda: base_url,
            admin_token,
            lambda: keep_clock(folder, clock),
        )
        keys = await read_secrets(store)
        rooms = wire(around, keys)
        seeded = await rooms.people.seeding.ensure(plan)
        env = _environment(base_url, seeded, admin_token, trust)
        server = Server(around, rooms, keys.sessions, _console(settings, env, rooms, seeded).routes())
        try:
            await server.start(listener, trust.certificate if trust else None)
            if settings.env_file is not None:
                write_env(settings.env_file, env)
            _greet(settings, env, base_url, store)
            _collect_seldom()
            await _until(stop, server)
        finally:
            await server.stop()
    finally:
        await store.close()


async def _until(stop: asyncio.Event, server: Server) -> None:
    """Wait for the signal; raise what breaks the server before it."""
    waiting = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(server.failed())]
    done, open_ones = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for one in open_ones:
        one.cancel()
    for one in done:
        one.result()
    print("tocsin: stopping", flush=True)


def _stop_signal() -> asyncio.Event:
    """Set by Ctrl-C and SIGTERM; a second Ctrl-C ends the process at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def asked() -> None:
        if stop.is_set():
            os._exit(130)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        if sys.platform == "win32":
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(asked))
        else:
            loop.add_signal_handler(number, asked)
    return stop


def _own_url(settings: Settings, listener: socket.socket) -> str:
    port = listener.getsockname()[1]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104  # what clients dial
    return f"{'https' if settings.tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def _admin_token(folder: Path) -> str:
    """The control API's token, kept with the data so that a restart does not change it."""
    path = folder / ADMIN_TOKEN_FILE
    if path.exists():
        return path.read_text(encoding="ascii").strip()
    token = secrets.token_urlsafe(32)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(token + "\n")
    return token


def _environment(base_url: str, seeded: Seeded, admin_token: str, trust: LocalTrust | None) -> dict[str, str]:
    """The credentials, in the order in which they are told."""
    app = seeded.apps[0]
    env = {"RINGCENTRAL_SERVER_URL": base_url, "RINGCENTRAL_CLIENT_ID": str(app.client_id)}
    if app.secret is not None:
        env["RINGCENTRAL_CLIENT_SECRET"] = app.secret
    first, *others = seeded.extensions
    env["RINGCENTRAL_JWT_TOKEN"] = first.assertion
    _add_number(env, "RINGCENTRAL_SENDER", first)
    if others:
        _add_number(env, "RINGCENTRAL_RECEIVER", others[0])
        env["RINGCENTRAL_RECEIVER_JWT_TOKEN"] = others[0].assertion
    env["TOCSIN_ADMIN_TOKEN"] = admin_token
    if trust is not None:
        ca = str(trust.ca.resolve())
        env |= {"SSL_CERT_FILE": ca, "REQUESTS_CA_BUNDLE": ca, "NODE_EXTRA_CA_CERTS": ca}
    return env


def _add_number(env: dict[str, str], name: str, one: ExtensionCredentials) -> None:
    numbers = sorted(one.extension.numbers, key=lambda number: NumberFeature.SMS_SENDER not in number.features)
    if numbers:
        env[name] = numbers[0].number


def _console(settings: Settings, env: Mapping[str, str], rooms: Rooms, seeded: Seeded) -> Console:
    accounts = dict.fromkeys(one.extension.account_id for one in seeded.extensions)
    data = ConsoleData(rooms.people.directory, rooms.reading, list(accounts))
    page = ConsolePage(list(env.items()), data, rooms.notifying.attempts)
    hosts = {settings.host, "127.0.0.1", "localhost", "[::1]"}
    if settings.public_url is not None:
        hosts.add(urlsplit(settings.public_url).hostname or "")
    return Console(page, hosts)


def _greet(settings: Settings, env: Mapping[str, str], base_url: str, store: Store) -> None:
    """Say where everything is; the last line is the one to wait for."""
    kept = f"kept in {settings.data}" if settings.data else "in a temporary folder, removed at exit (--data keeps it)"
    print(render_env(env), end="")
    print(f"data: {kept}; SQLite {store.library.version}")
    print(f"tocsin is ready: API {base_url}  console {base_url}/console", flush=True)


def _collect_seldom() -> None:
    """Leave what is there for good out of garbage collection, and look at the rest less often.

    Messages leave no cycles behind; at Python's own thresholds looking for some takes a twentieth of the time.
    """
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 20)


def _count_groups(metrics: Metrics) -> Callable[[int, float], None]:
    def count(units: int, seconds: float) -> None:
        metrics.writer_group_size.observe(units)
        metrics.writer_commit_seconds.observe(seconds)

    return count
