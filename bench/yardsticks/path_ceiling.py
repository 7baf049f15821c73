"""The whole path with nothing around it: POST in, a group commit with fsync in SQLite, a webhook out.

One process, protocols by hand, one table of messages and one log; no accounts, no rights, no retries, no egress guard,
no attempts. What one core does with this is the ceiling that the server is measured against.
Usage: python -m bench.yardsticks.path_ceiling --sink PORT --folder DIR; says `ready PORT TOKEN`, ends on SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import secrets
import threading
import time
from collections import deque
from pathlib import Path
from queue import SimpleQueue
from typing import cast

import httptools
import msgspec
import uvloop

try:
    import pysqlite3 as sqlite3
except ImportError:
    import sqlite3

CONNECTIONS = 32
GROUP = 256
_TOKEN = secrets.token_hex(16)


class _Sms(msgspec.Struct):
    to: list[str]
    text: str
    from_: str = msgspec.field(name="from")


_DECODER = msgspec.json.Decoder(_Sms)
_ENCODER = msgspec.json.Encoder()


class _Out(asyncio.Protocol):
    """A connection to the sink."""

    def __init__(self, path: Whole) -> None:
        self._path = path

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpResponseParser(self)
        self._path.free.append(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        if self._path.waiting:
            self.post(self._path.waiting.popleft())
        else:
            self._path.free.append(self)

    def post(self, body: bytes) -> None:
        self._transport.write(
            b"POST /hook HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )


class _In(asyncio.Protocol):
    """A connection that messages are posted on."""

    def __init__(self, path: Whole) -> None:
        self._path = path
        self._body = self._token = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name == b"Authorization":
            self._token = value

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        body, self._body = self._body, b""
        if hmac.compare_digest(self._token, b"Bearer " + _TOKEN.encode()):
            self._path.inbox.put((self, _DECODER.decode(body)))
        else:
            self.transport.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")


class Whole:
    """The path between the two: a thread that commits what waits, and what follows a commit."""

    def __init__(self, file: Path) -> None:
        self.inbox: SimpleQueue[tuple[_In, _Sms]] = SimpleQueue()
        self.free: list[_Out] = []
        self.waiting: deque[bytes] = deque()
        self._file = file
        self._loop = asyncio.get_running_loop()

    def commit(self) -> None:
        """Runs in a thread of its own."""
        connection = sqlite3.connect(str(self._file), isolation_level=None)
        for statement in (
            "PRAGMA journal_mode = WAL",
            "PRAGMA synchronous = FULL",
            "PRAGMA wal_autocheckpoint = 8000",
            "CREATE TABLE message (id INTEGER PRIMARY KEY, mailbox TEXT, sender TEXT, created INTEGER, text TEXT)",
            "CREATE INDEX of_mailbox ON message (mailbox, id)",
            "CREATE TABLE log (seq INTEGER PRIMARY KEY, mailbox TEXT, announcement BLOB)",
        ):
            connection.execute(statement)
        following = 1
        while True:
            group = [self.inbox.get()]
            while len(group) < GROUP and not self.inbox.empty():
                group.append(self.inbox.get())
            now = time.time_ns()
            bodies = [_announcement(following + place, sms) for place, (_, sms) in enumerate(group)]
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT INTO message VALUES (?, ?, ?, ?, ?)",
                [(following + place, sms.to[0], sms.from_, now, sms.text) for place, (_, sms) in enumerate(group)],
            )
            connection.executemany(
                "INSERT INTO log VALUES (?, ?, ?)",
                [
                    (following + place, sms.to[0], body)
                    for place, ((_, sms), body) in enumerate(zip(group, bodies, strict=True))
                ],
            )
            connection.execute("COMMIT")
            self._loop.call_soon_threadsafe(self._committed, group, bodies, following)
            following += len(group)

    def _committed(self, group: list[tuple[_In, _Sms]], bodies: list[bytes], first: int) -> None:
        for place, ((connection, _), body) in enumerate(zip(group, bodies, strict=True)):
            reply = b'{"messages":[{"id":"%d"}]}' % (first + place)
            connection.transport.write(
                b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (len(reply), reply)
            )
            if self.free:
                self.free.pop().post(body)
            else:
                self.waiting.append(body)


_PADDING = "x" * 700  # what the real body holds besides: ids, uris, parties


def _announcement(message_id: int, sms: _Sms) -> bytes:
    return _ENCODER.encode(
        {"uuid": secrets.token_hex(16), "id": message_id, "to": sms.to, "subject": sms.text, "rest": _PADDING}
    )


async def _serve(sink_port: int, folder: Path) -> None:
    loop = asyncio.get_running_loop()
    path = Whole(folder / "yardstick.db")
    threading.Thread(target=path.commit, daemon=True).start()
    for _ in range(CONNECTIONS):
        await loop.create_connection(lambda: _Out(path), "127.0.0.1", sink_port)
    server = await loop.create_server(lambda: _In(path), "127.0.0.1", 0, backlog=1024)
    print("ready", server.sockets[0].getsockname()[1], _TOKEN, flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sink", type=int, required=True, help="port that webhooks are posted to")
    parser.add_argument("--folder", type=Path, required=True, help="where the database goes")
    chosen = parser.parse_args()
    uvloop.run(_serve(chosen.sink, chosen.folder))


if __name__ == "__main__":
    main()
