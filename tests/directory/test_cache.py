from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.clocks import ManualClock
from tests.company import Company, open_company
from tocsin.directory.cache import MISS_S, Cache
from tocsin.domain.entry import DirectoryScope
from tocsin.domain.ids import SYSTEM_ACCOUNT, AccountId, ClientId


class Source:
    """What a cache loads from; a load waits at `gate`."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {"a": 1}
        self.loads: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()

    async def load(self, key: str) -> int | None:
        self.loads.append(key)
        value = self.values.get(key)
        self.begun.set()
        await self.gate.wait()
        if value == -1:
            raise OSError("broken")
        return value


@pytest.fixture
async def source() -> Source:
    return Source()


def cache_of(source: Source, clock: ManualClock | None = None, limit: int = 10) -> Cache[str, int]:
    return Cache(source.load, clock or ManualClock(), limit)


@pytest.mark.anyio
async def test_a_value_is_loaded_once_for_all_who_ask(source: Source) -> None:
    cache = cache_of(source)
    source.gate.clear()
    asking = asyncio.gather(*(cache.get("a") for _ in range(5)))
    await source.begun.wait()
    source.gate.set()
    assert await asking == [1] * 5
    assert await cache.get("a") == 1
    assert source.loads == ["a"]


@pytest.mark.anyio
async def test_a_load_that_fails_or_is_cancelled_is_done_again_by_who_waits(source: Source) -> None:
    cache = cache_of(source)
    source.gate.clear()
    first = asyncio.ensure_future(cache.get("a"))
    await source.begun.wait()
    second = asyncio.ensure_future(cache.get("a"))
    first.cancel()
    source.gate.set()
    assert await second == 1
    assert first.cancelled()
    source.values["b"] = -1
    with pytest.raises(OSError, match="broken"):
        await cache.get("b")
    source.values["b"] = 2
    assert await cache.get("b") == 2


@pytest.mark.anyio
async def test_what_changes_while_it_is_loaded_is_not_kept(source: Source) -> None:
    cache = cache_of(source)
    source.gate.clear()
    loading = asyncio.ensure_future(cache.get("a"))
    await source.begun.wait()
    source.values["a"] = 2
    cache.drop("a")
    source.gate.set()
    assert await loading == 1
    assert await cache.get("a") == 2


@pytest.mark.anyio
async def test_a_miss_is_believed_for_a_moment_only(source: Source) -> None:
    clock = ManualClock()
    cache = cache_of(source, clock)
    assert await cache.get("new") is None
    source.values["new"] = 7
    clock.advance(MISS_S)
    assert await cache.get("new") is None
    clock.advance(0.001)
    assert await cache.get("new") == 7
    clock.advance(1e6)
    assert await cache.get("new") == 7
    assert source.loads == ["new", "new"]


@pytest.mark.anyio
async def test_the_least_recently_used_goes_first(source: Source) -> None:
    cache = cache_of(source, limit=2)
    source.values |= {"b": 2, "c": 3}
    for key in ("a", "b", "a", "c"):
        await cache.get(key)
    assert source.loads == ["a", "b", "c"]
    assert [await cache.get(key) for key in ("a", "c", "b")] == [1, 3, 2]
    assert source.loads == ["a", "b", "c", "b"]


@pytest.fixture
async def company(tmp_path: Path) -> AsyncGenerator[Company]:
    async with open_company(tmp_path) as opened:
        yield opened


@pytest.mark.anyio
async def test_the_directory_finds_accounts_owners_and_apps(company: Company) -> None:
    directory = company.directory
    owner = await directory.owner_of("+16505550102")
    assert owner is not None
    assert (owner.account_id, owner.extension_id) == (company.account_id, company.extension_id("102"))
    assert await directory.owner_of("+16505559999") is None
    account = await directory.account(company.account_id)
    assert account is not None
    assert await directory.account(company.account_id) is account
    assert await directory.account(AccountId(1)) is None
    extension = account.by_number("102")
    assert extension is not None
    assert [one.number for one in extension.numbers] == ["+16505550102"]
    app = await directory.app(ClientId(company.basic[0]))
    assert app is not None
    assert not app.public


@pytest.mark.anyio
@pytest.mark.parametrize("scope", [DirectoryScope.ACCOUNT, DirectoryScope.EXTENSION])
async def test_entries_drop_what_they_name(company: Company, scope: DirectoryScope) -> None:
    directory = company.directory
    known = await directory.account(company.account_id)
    await company.changed(DirectoryScope.SESSION, "some session")
    assert await directory.account(company.account_id) is known
    await company.changed(scope, str(company.extension_id("102")))
    assert await directory.account(company.account_id) is not known


@pytest.mark.anyio
async def test_the_system_accounts_entries_drop_numbers_and_apps(company: Company) -> None:
    directory, client_id = company.directory, ClientId(company.basic[0])
    number, app = await directory.owner_of("+16505550102"), await directory.app(client_id)
    await company.changed(DirectoryScope.NUMBER, "+16505550101", account_id=SYSTEM_ACCOUNT)
    await company.changed(DirectoryScope.APP, "another", account_id=SYSTEM_ACCOUNT)
    assert await directory.owner_of("+16505550102") is number
    assert await directory.app(client_id) is app
    await company.changed(DirectoryScope.NUMBER, "+16505550102", account_id=SYSTEM_ACCOUNT)
    await company.changed(DirectoryScope.APP, client_id, account_id=SYSTEM_ACCOUNT)
    read_again = await directory.owner_of("+16505550102"), await directory.app(client_id)
    assert read_again == (number, app)
    assert read_again[0] is not number
    assert read_again[1] is not app
