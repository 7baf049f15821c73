"""Writing the company that a store begins with, and telling its credentials, then and after every restart.

What was begun and broken off is finished by the next start: number claims name the account that they were made for.
Secrets and assertions are derived from the store's keys, so that they can be told again although only their hashes are
kept. Never changes a store that has been seeded.
"""

from __future__ import annotations

import hmac
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from tocsin.directory.assertions import Assertions, assertion_hash
from tocsin.directory.passwords import Passwords
from tocsin.directory.seed_file import PlannedAccount, PlannedApp, PlannedExtension, SeedError, SeedPlan
from tocsin.directory.tokens import token_hash
from tocsin.domain.clock import Clock
from tocsin.domain.directory import Account, App, Extension, PhoneNumber
from tocsin.domain.entry import DirectoryChange, DirectoryScope
from tocsin.domain.ids import SYSTEM_ACCOUNT, AccountId, ClientId, ExtensionId, PhoneNumberId
from tocsin.storage.directory import (
    CLIENT_CLAIM,
    EXTENSION_NUMBER_CLAIM,
    INSERT_ACCOUNT,
    INSERT_APP,
    INSERT_CREDENTIAL,
    INSERT_EXTENSION,
    INSERT_NUMBER,
    NUMBER_CLAIM,
    account_row,
    app_row,
    credential_row,
    extension_row,
    fetch_account,
    fetch_account_ids,
    fetch_apps,
    fetch_system_claim,
    number_row,
)
from tocsin.storage.ids import IdKind
from tocsin.storage.readers import ReadConnection, Readers
from tocsin.storage.unit import AlreadyClaimed, Applies, Claim, Draft, Unit

_SEEDED_CLAIM = ("seed", "done")
_NUMBERS_A_UNIT = 200
_EXTENSIONS_A_UNIT = 50


class TakesIds(Protocol):
    """Whoever gives ids."""

    async def take_many(self, kind: IdKind, count: int) -> list[int]:
        """Return `count` ids of `kind`."""
        ...


@dataclass(frozen=True, slots=True)
class AppCredentials:
    """An app and, unless it is public, its secret."""

    name: str
    client_id: ClientId
    secret: str | None


@dataclass(frozen=True, slots=True)
class ExtensionCredentials:
    """An extension and the assertion that logs it in."""

    extension: Extension
    assertion: str


@dataclass(frozen=True, slots=True)
class Seeded:
    """What a sandbox tells its developer. Apps in the order of the plan; extensions by account, in the plan's order."""

    apps: tuple[AppCredentials, ...]
    extensions: tuple[ExtensionCredentials, ...]


class Seeding:
    """Seeds one store. `key` derives client secrets and must be the store's own."""

    def __init__(
        self,
        *,
        writer: Applies,
        readers: Readers,
        ids: TakesIds,
        assertions: Assertions,
        passwords: Passwords,
        key: bytes,
        clock: Clock,
    ) -> None:
        self._writer = writer
        self._readers = readers
        self._ids = ids
        self._assertions = assertions
        self._passwords = passwords
        self._key = key
        self._clock = clock

    async def ensure(self, plan: SeedPlan) -> Seeded:
        """Seed the store with `plan` unless it has been seeded, and tell all credentials.

        Raises SeedError when a number of the plan belongs to an account that is not of the plan.
        """
        if await self._readers.run(fetch_system_claim, *_SEEDED_CLAIM) is None:
            for account in plan.accounts:
                await self._account(account)
            await self._finish(plan.apps)
        return await self.told()

    async def told(self) -> Seeded:
        """The credentials of everything in the store."""
        apps, accounts = await self._readers.run(_fetch_all)
        return Seeded(
            tuple(
                AppCredentials(app.name, app.client_id, None if app.public else self._secret(app.client_id))
                for app in sorted(apps, key=_app_order)
            ),
            tuple(
                ExtensionCredentials(one, self._assertions.mint(account.account_id, one.extension_id))
                for account in accounts
                for one in account.extensions.values()
            ),
        )

    async def _account(self, plan: PlannedAccount) -> None:
        account_id = AccountId((await self._ids.take_many("directory", 1))[0])
        numbers = [plan.main_number, *(one.number for extension in plan.extensions for one in extension.numbers)]
        for start in range(0, len(numbers), _NUMBERS_A_UNIT):
            account_id = await self._claim_numbers(account_id, numbers[start : start + _NUMBERS_A_UNIT])
        if await self._readers.run(fetch_account, account_id) is not None:
            return
        for start in range(0, len(plan.extensions), _EXTENSIONS_A_UNIT):
            await self._extensions(account_id, plan.extensions[start : start + _EXTENSIONS_A_UNIT])
        # The account comes last: with it everything before it is there.
        number_id = PhoneNumberId((await self._ids.take_many("directory", 1))[0])
        unit = Unit(account_id)
        created_ms = self._clock.now_ms()
        account = Account(account_id, plan.name, plan.main_number, True, created_ms, profile=plan.profile)
        unit.add(INSERT_ACCOUNT, account_row(account))
        main = PhoneNumber(account_id, number_id, plan.main_number, None, "MainCompanyNumber", frozenset(), True)
        unit.add(INSERT_NUMBER, number_row(main))
        unit.drafts.append(Draft(DirectoryChange, (DirectoryScope.ACCOUNT, ExtensionId(0), str(account_id))))
        await self._writer.apply(unit)

    async def _claim_numbers(self, account_id: AccountId, numbers: Sequence[str]) -> AccountId:
        """Claim `numbers` for `account_id`, or return the unfinished account that an earlier start claimed them for."""
        unit = Unit(SYSTEM_ACCOUNT)
        for number in numbers:
            unit.claims.append(Claim(NUMBER_CLAIM, number, account_id))
            unit.drafts.append(Draft(DirectoryChange, (DirectoryScope.NUMBER, ExtensionId(0), number)))
        try:
            await self._writer.apply(unit)
        except AlreadyClaimed as taken:
            owners = set(taken.earlier.values())
            if len(owners) > 1 or len(taken.earlier) < len(numbers):
                number = next(iter(taken.earlier))[1]
                raise SeedError(f"{number} already belongs to another account of this store") from taken
            return AccountId(owners.pop())
        return account_id

    async def _extensions(self, account_id: AccountId, plans: Sequence[PlannedExtension]) -> None:
        wanted = sum(1 + len(plan.numbers) for plan in plans)
        ids = iter(await self._ids.take_many("directory", wanted))
        unit = Unit(account_id)
        for plan in plans:
            extension_id = ExtensionId(next(ids))
            extension = Extension(
                account_id,
                extension_id,
                plan.number,
                plan.name,
                plan.email,
                plan.role,
                plan.status,
                plan.permissions,
            )
            hashed = None if plan.password is None else await self._passwords.hash(plan.password)
            unit.claims.append(Claim(EXTENSION_NUMBER_CLAIM, plan.number, extension_id))
            unit.add(INSERT_EXTENSION, extension_row(extension, hashed))
            for number in _numbers(account_id, extension_id, plan, ids):
                unit.add(INSERT_NUMBER, number_row(number))
            digest = assertion_hash(self._assertions.mint(account_id, extension_id))
            unit.add(INSERT_CREDENTIAL, credential_row(account_id, digest, extension_id, None, self._clock.now_ms()))
        try:
            await self._writer.apply(unit)
        except AlreadyClaimed as taken:
            if len(taken.earlier) < len(plans):
                raise SeedError("seeding was broken off under another plan: start with an empty folder") from taken

    async def _finish(self, plans: Sequence[PlannedApp]) -> None:
        unit = Unit(SYSTEM_ACCOUNT)
        for plan, number in zip(plans, await self._ids.take_many("directory", len(plans)), strict=True):
            client_id = ClientId(f"{number}-{secrets.token_urlsafe(12)}")
            hashed = None if plan.public else token_hash(self._secret(client_id))
            unit.add(INSERT_APP, app_row(App(client_id, plan.name, hashed, plan.scopes, plan.redirect_uris)))
            unit.claims.append(Claim(CLIENT_CLAIM, client_id, 1))
            unit.drafts.append(Draft(DirectoryChange, (DirectoryScope.APP, ExtensionId(0), client_id)))
        unit.claims.append(Claim(*_SEEDED_CLAIM, 1))
        await self._writer.apply(unit)

    def _secret(self, client_id: ClientId) -> str:
        digest = hmac.digest(self._key, f"client-secret:{client_id}".encode(), "sha256")
        return urlsafe_b64encode(digest).decode().rstrip("=")


def _numbers(
    account_id: AccountId, extension_id: ExtensionId, plan: PlannedExtension, ids: Iterator[int]
) -> Iterator[PhoneNumber]:
    for place, one in enumerate(plan.numbers):
        number_id = PhoneNumberId(next(ids))
        yield PhoneNumber(account_id, number_id, one.number, extension_id, "DirectNumber", one.features, place == 0)


def _fetch_all(conn: ReadConnection) -> tuple[list[App], list[Account]]:
    accounts = [fetch_account(conn, account_id) for account_id in fetch_account_ids(conn)]
    return fetch_apps(conn), [account for account in accounts if account is not None]


def _app_order(app: App) -> int:
    """The number that a client id made here begins with: apps were numbered in the plan's order."""
    return int(app.client_id.partition("-")[0])
