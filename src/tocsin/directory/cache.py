"""The directory in memory: accounts, owners of numbers, and apps, as the log last told.

Bounded; what is loaded is dropped as soon as an entry says that it changed. A miss is believed for two seconds at most.
Never writes.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, NamedTuple, TypeVar

from tocsin.domain.clock import Clock
from tocsin.domain.directory import Account, App, PhoneNumber
from tocsin.domain.entry import DirectoryChange, DirectoryScope, Entry
from tocsin.domain.ids import SYSTEM_ACCOUNT, AccountId, ClientId
from tocsin.storage.directory import fetch_account, fetch_app, fetch_owned_number
from tocsin.storage.readers import Readers

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MISS_S = 2.0
"""How long "there is no such thing" is believed; a process that missed the entry learns better by then."""
MAX_ACCOUNTS = 10_000
MAX_NUMBERS = 100_000
MAX_APPS = 10_000
"""The least recently used goes first. Our choice: a whole account with its extensions weighs most."""


class _Held(NamedTuple, Generic[V]):
    value: V | None
    until: float
    """Monotonic seconds up to which a miss is believed; what was found has no end."""


class Cache(Generic[K, V]):
    """Values by key, loaded when first asked for, once for all who ask meanwhile."""

    def __init__(self, load: Callable[[K], Awaitable[V | None]], clock: Clock, limit: int) -> None:
        self._load = load
        self._clock = clock
        self._limit = limit
        self._held: OrderedDict[K, _Held[V]] = OrderedDict()
        self._loading: dict[K, asyncio.Event] = {}
        self._drops = 0

    async def get(self, key: K) -> V | None:
        """The value of `key`, or None where there is none."""
        while True:
            held = self._find(key)
            if held is not None:
                return held.value
            loading = self._loading.get(key)
            if loading is None:
                return await self._fill(key)
            # Whoever loads may fail or be cancelled: then this caller finds nothing and loads in its place.
            await loading.wait()

    def drop(self, key: K) -> None:
        """Forget `key`, also if it is just being loaded."""
        self._drops += 1
        self._held.pop(key, None)

    def _find(self, key: K) -> _Held[V] | None:
        held = self._held.get(key)
        if held is None:
            return None
        if held.value is None and self._clock.monotonic() > held.until:
            del self._held[key]
            return None
        self._held.move_to_end(key)
        return held

    async def _fill(self, key: K) -> V | None:
        ready = self._loading[key] = asyncio.Event()
        drops = self._drops
        try:
            value = await self._load(key)
        finally:
            del self._loading[key]
            ready.set()
        # What changed while it was read may have been read too early.
        if drops == self._drops:
            self._held[key] = _Held(value, self._clock.monotonic() + MISS_S)
            if len(self._held) > self._limit:
                self._held.popitem(last=False)
        return value


class Directory:
    """Accounts, owners of numbers and apps. `entries` must be given every account's log entries (tail or sweep)."""

    def __init__(self, readers: Readers, clock: Clock) -> None:
        async def load_account(account_id: AccountId) -> Account | None:
            return await readers.run(fetch_account, account_id)

        async def load_owner(number: str) -> PhoneNumber | None:
            return await readers.run(fetch_owned_number, number)

        async def load_app(client_id: ClientId) -> App | None:
            return await readers.run(fetch_app, client_id)

        self._accounts = Cache(load_account, clock, MAX_ACCOUNTS)
        self._owners = Cache(load_owner, clock, MAX_NUMBERS)
        self._apps = Cache(load_app, clock, MAX_APPS)

    async def account(self, account_id: AccountId) -> Account | None:
        """The account with everyone in it, or None."""
        return await self._accounts.get(account_id)

    async def owner_of(self, number: str) -> PhoneNumber | None:
        """The number (E.164 with `+`) with its account and extension, or None when it is nobody's here."""
        return await self._owners.get(number)

    async def app(self, client_id: ClientId) -> App | None:
        """The app, or None."""
        return await self._apps.get(client_id)

    def entries(self, account_id: AccountId, entries: Sequence[Entry]) -> None:
        """Forget what `entries` changed."""
        for entry in entries:
            if isinstance(entry, DirectoryChange):
                self._changed(account_id, entry)

    def _changed(self, account_id: AccountId, change: DirectoryChange) -> None:
        if account_id == SYSTEM_ACCOUNT:
            if change.scope is DirectoryScope.NUMBER:
                self._owners.drop(change.subject)
            elif change.scope is DirectoryScope.APP:
                self._apps.drop(ClientId(change.subject))
        elif change.scope is not DirectoryScope.SESSION:
            self._accounts.drop(account_id)
