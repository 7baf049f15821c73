from __future__ import annotations

import pytest

from tocsin.api.call import Call, Query, Reply
from tocsin.api.console import Console
from tocsin.wire.errors import UnknownHost


class Page:
    """Two texts."""

    policy = "default-src 'none'"

    async def whole(self) -> bytes:
        return b"<!doctype html>"

    async def live(self) -> bytes:
        return b"<section>"


async def ask(path: str, host: str) -> Reply:
    console = Console(Page(), {"127.0.0.1", "LocalHost", "[::1]"})
    route = next(route for route in console.routes() if route.path == path)
    return await route.handler(Call("GET", path, {}, Query(), {"host": host}, b"", f"http://{host}"))


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:1", "LOCALHOST", "[::1]:8765", "[::1]"])
async def test_the_page_is_served_under_our_own_names(host: str) -> None:
    whole, live = await ask("/console", host), await ask("/console/live", host)
    assert (whole.body, live.body) == (b"<!doctype html>", b"<section>")
    assert dict(whole.headers)["Content-Security-Policy"] == Page.policy
    assert whole.content_type == live.content_type == "text/html;charset=UTF-8"


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["evil.example:8765", "", "127.0.0.1.evil.example", "localhost.:8765"])
@pytest.mark.parametrize("path", ["/console", "/console/live"])
async def test_under_another_name_there_is_nothing(path: str, host: str) -> None:
    with pytest.raises(UnknownHost):
        await ask(path, host)
