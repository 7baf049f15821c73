"""The HTTP server: uvicorn over a socket of our own, told to start and to stop by the lifecycle alone."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import uvicorn

from tocsin.api.app import AsgiApp

GRACE_S = 10
"""Seconds that open requests have to end."""
BACKLOG = 2_048
"""Connections that wait to be accepted."""


MakeProtocol = Callable[..., asyncio.Protocol]
"""Makes the protocol of one WebSocket upgrade, of uvicorn's arguments."""


class CannotListen(Exception):
    """The address can't be listened on; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files of the server's chain and key."""

    chain: Path
    key: Path


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 picks a free one. Raises CannotListen.

    It listens at once: two sockets may be bound to a port while neither does, and the later would fail unexplained.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    if sys.platform != "win32":  # there it would let two servers share the port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as wrong:
        listener.close()
        if wrong.errno == errno.EADDRINUSE:
            raise CannotListen(
                f"port {port} on {host} is in use: stop what listens there, or choose another with --port"
                " (--port 0 picks a free one)"
            ) from wrong
        if wrong.errno == errno.EACCES:
            raise CannotListen(f"no right to listen on port {port}: choose one above 1023 with --port") from wrong
        raise CannotListen(f"can't listen on {host}:{port}: {wrong.strerror}") from wrong
    listener.setblocking(False)
    return listener


class HttpServer(uvicorn.Server):
    """Uvicorn without its own signal handling and log lines."""

    def __init__(self, app: AsgiApp, socket_protocol: MakeProtocol, certificate: Certificate | None = None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="httptools",
                ws=cast("type[asyncio.Protocol]", socket_protocol),  # it is only ever called
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=GRACE_S,
                ssl_certfile=certificate.chain if certificate else None,
                ssl_keyfile=certificate.key if certificate else None,
            )
        )
        self.ready = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the process's signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        self.ready.set()

    def stop(self) -> None:
        """Begin the shutdown; `serve` returns when it is done."""
        self.should_exit = True
