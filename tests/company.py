"""A seeded company behind the real API, in process: for tests of the directory, of OAuth and of the platform.

async with open_company(tmp_path) as company:
    await company.login("101")
    answer = await company.client.get("/restapi/v1.0/account/~")
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from argon2 import PasswordHasher

from tests.clocks import ManualClock
from tests.storing import open_test_store
from tocsin.api.app import make_app
from tocsin.api.call import Route
from tocsin.api.dispatch import Dispatcher
from tocsin.api.oauth import OAuthApi
from tocsin.api.platform import PlatformApi
from tocsin.api.request import BaseUrl
from tocsin.directory.assertions import Assertions
from tocsin.directory.cache import Directory
from tocsin.directory.clients import Clients
from tocsin.directory.grants import JWT_BEARER, Grants
from tocsin.directory.passwords import Passwords
from tocsin.directory.seed_file import SeedPlan, default_plan
from tocsin.directory.seeding import Seeded, Seeding
from tocsin.directory.sessions import Sessions
from tocsin.directory.tokens import TokenMaker
from tocsin.domain.entry import DirectoryChange, DirectoryScope
from tocsin.domain.ids import AccountId, ExtensionId
from tocsin.log.tail import EntryListener
from tocsin.storage.store import Store
from tocsin.storage.unit import Committed, Draft, Unit

BASE = "https://tocsin.example"
ADMIN_TOKEN = "the-admin-token"
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
TOKEN = "/restapi/oauth/token"
REVOKE = "/restapi/oauth/revoke"
ACCOUNT = "/restapi/v1.0/account/~"
EXTENSION = f"{ACCOUNT}/extension/~"


class Caches:
    """The tail in small: every commit's entries, to whoever caches."""

    def __init__(self) -> None:
        self.followers: list[EntryListener] = []
        self.changes: list[DirectoryChange] = []

    def committed(self, commit: Committed) -> None:
        for account_id, entries in commit.entries.items():
            self.changes += [one for one in entries if isinstance(one, DirectoryChange)]
            for follower in self.followers:
                follower.entries(account_id, entries)


@dataclass
class Company:
    """A store that was seeded, and everything that answers for it."""

    store: Store
    clock: ManualClock
    caches: Caches
    directory: Directory
    sessions: Sessions
    seeding: Seeding
    seeded: Seeded
    dispatcher: Dispatcher
    client: httpx2.AsyncClient
    limited: list[str] = field(default_factory=list)

    @property
    def basic(self) -> tuple[str, str]:
        """Id and secret of the first app."""
        app = self.seeded.apps[0]
        return app.client_id, app.secret or ""

    @property
    def account_id(self) -> AccountId:
        return self.seeded.extensions[0].extension.account_id

    def assertion(self, number: str) -> str:
        return next(one.assertion for one in self.seeded.extensions if one.extension.number == number)

    def extension_id(self, number: str) -> ExtensionId:
        return next(one.extension.extension_id for one in self.seeded.extensions if one.extension.number == number)

    async def grant(self, number: str = "101", **more: str) -> dict[str, Any]:
        """Tokens of an extension by its assertion."""
        form = {"grant_type": JWT_BEARER, "assertion": self.assertion(number), **more}
        answer = await self.client.post(TOKEN, data=form, auth=self.basic)
        assert answer.status_code == 200, answer.text
        info: dict[str, Any] = answer.json()
        return info

    async def login(self, number: str = "101", **more: str) -> dict[str, Any]:
        """The same, and the client asks as that extension from now on."""
        info = await self.grant(number, **more)
        self.client.headers["Authorization"] = f"Bearer {info['access_token']}"
        return info

    async def refresh(self, refresh_token: str, **more: str) -> httpx2.Response:
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token, **more}
        return await self.client.post(TOKEN, data=form, auth=self.basic)

    async def status_of(self, access_token: str) -> int:
        """What the API answers to that token."""
        answer = await self.client.get(ACCOUNT, headers={"Authorization": f"Bearer {access_token}"})
        return answer.status_code

    async def changed(self, scope: DirectoryScope, subject: str = "", *, account_id: AccountId | None = None) -> None:
        """Let the log say that something of the directory changed."""
        unit = Unit(self.account_id if account_id is None else account_id)
        extension_id = ExtensionId(int(subject)) if scope is DirectoryScope.EXTENSION else ExtensionId(0)
        unit.drafts.append(Draft(DirectoryChange, (scope, extension_id, subject)))
        await self.store.writer.apply(unit)


@asynccontextmanager
async def open_company(
    folder: Path, plan: SeedPlan | None = None, *, clock: ManualClock | None = None, routes: Sequence[Route] = ()
) -> AsyncGenerator[Company]:
    """Open, seed and serve; `routes` are served beside those of OAuth and platform."""
    clock, caches, limited = clock or ManualClock(), Caches(), list[str]()
    async with open_test_store(folder, caches, clock) as store:
        directory = Directory(store.readers, clock)
        sessions = Sessions(
            writer=store.writer,
            readers=store.readers,
            directory=directory,
            tokens=TokenMaker(await store.secret("tokens")),
            clock=clock,
        )
        caches.followers += [directory, sessions]
        assertions, passwords = Assertions(await store.secret("assertions")), Passwords(QUICK)
        seeding = Seeding(
            writer=store.writer,
            readers=store.readers,
            ids=store.ids,
            assertions=assertions,
            passwords=passwords,
            key=await store.secret("clients"),
            clock=clock,
        )
        seeded = await seeding.ensure(plan or default_plan())
        grants = Grants(
            directory=directory,
            sessions=sessions,
            assertions=assertions,
            passwords=passwords,
            readers=store.readers,
            clock=clock,
        )
        oauth = OAuthApi(clients=Clients(directory), grants=grants, sessions=sessions)
        platform = PlatformApi(find_account=directory.account, is_limited=lambda: bool(limited))
        dispatcher = Dispatcher(
            [*oauth.routes(), *platform.routes(), *routes],
            authenticate=sessions.authenticate,
            find_account=directory.account,
            admin_token=ADMIN_TOKEN,
        )
        transport = httpx2.ASGITransport(make_app(dispatcher, BaseUrl(None)))
        async with httpx2.AsyncClient(transport=transport, base_url=BASE) as client:
            yield Company(store, clock, caches, directory, sessions, seeding, seeded, dispatcher, client, limited)
