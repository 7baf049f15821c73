"""The way to the sandbox's page. Only the sandbox has it: there is no login, and the page shows credentials.

A page of another site may have its name point at this machine to read what is here (DNS rebinding), so the Host that
was asked for must be one of ours.
"""

from __future__ import annotations

import re
from collections.abc import Set
from typing import Protocol

from tocsin.api.call import Access, Call, Reply, Route
from tocsin.wire.errors import UnknownHost

_PORT = re.compile(r":\d+$")


class Page(Protocol):
    """What renders the page."""

    @property
    def policy(self) -> str:
        """Its Content-Security-Policy."""
        ...

    async def whole(self) -> bytes:
        """The HTML document."""
        ...

    async def live(self) -> bytes:
        """The fragment of it that changes."""
        ...


class Console:
    """Handlers of the console. `hosts` are the names, without ports, by which this server is called."""

    def __init__(self, page: Page, hosts: Set[str]) -> None:
        self._page = page
        self._hosts = frozenset(host.lower() for host in hosts)

    def routes(self) -> list[Route]:
        """Return the console's lines of the route table."""
        return [
            Route("GET", "/console", "readConsole", self.get_page, access=Access.PUBLIC),
            Route("GET", "/console/live", "readConsoleLive", self.get_live, access=Access.PUBLIC),
        ]

    async def get_page(self, call: Call) -> Reply:
        """The page."""
        self._check_host(call)
        return self._reply(await self._page.whole())

    async def get_live(self, call: Call) -> Reply:
        """The part of the page that changes."""
        self._check_host(call)
        return self._reply(await self._page.live())

    def _check_host(self, call: Call) -> None:
        if _PORT.sub("", call.headers.get("host", "").lower()) not in self._hosts:
            raise UnknownHost

    def _reply(self, body: bytes) -> Reply:
        headers = (
            ("Content-Security-Policy", self._page.policy),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cache-Control", "no-store"),
        )
        return Reply(200, body, "text/html;charset=UTF-8", headers)
