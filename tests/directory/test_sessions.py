from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import bindparam, update

from tests.company import Company, open_company
from tocsin.directory.sessions import Sessions
from tocsin.directory.tokens import TokenMaker
from tocsin.domain.entry import DirectoryChange, DirectoryScope
from tocsin.domain.errors import Unauthenticated
from tocsin.domain.ids import SYSTEM_ACCOUNT, AccountId, ExtensionId
from tocsin.storage.readers import Readers
from tocsin.storage.schema import account, app, extension
from tocsin.storage.statement import Statement
from tocsin.storage.unit import Draft, Unit

SET_STATUS = Statement(
    "set_extension_status",
    update(extension)
    .where(extension.c.account_id == bindparam("k_account"), extension.c.extension_id == bindparam("k_extension"))
    .values(status=bindparam("v_status")),
    ("k_account", "k_extension", "v_status"),
)
SET_ACCOUNT = Statement(
    "set_account_enabled",
    update(account).where(account.c.account_id == bindparam("k_account")).values(enabled=bindparam("v_enabled")),
    ("k_account", "v_enabled"),
)
SET_APP = Statement(
    "set_app_enabled",
    update(app).where(app.c.account_id == bindparam("k_account")).values(enabled=bindparam("v_enabled")),
    ("k_account", "v_enabled"),
)
SET_SCOPES = Statement(
    "set_app_scopes",
    update(app).where(app.c.account_id == bindparam("k_account")).values(scopes=bindparam("v_scopes")),
    ("k_account", "v_scopes"),
)


@pytest.fixture
async def company(tmp_path: Path) -> AsyncGenerator[Company]:
    async with open_company(tmp_path) as opened:
        yield opened


async def change(company: Company, statement: Statement, row: tuple[object, ...], draft: tuple[object, ...]) -> None:
    unit = Unit(AccountId(int(str(row[0]))))
    unit.add(statement, row)
    unit.drafts.append(Draft(DirectoryChange, draft))
    await company.store.writer.apply(unit)


async def refused(company: Company, access_token: str) -> str:
    with pytest.raises(Unauthenticated) as refusal:
        await company.sessions.authenticate(access_token)
    return refusal.value.code


@pytest.mark.anyio
async def test_an_identity_is_remembered_until_its_session_ends(company: Company) -> None:
    info = await company.grant("102")
    identity = await company.sessions.authenticate(info["access_token"])
    assert identity.extension_id == company.extension_id("102")
    assert await company.sessions.authenticate(info["access_token"]) is identity
    await company.changed(DirectoryScope.SESSION, "another session")
    assert await company.sessions.authenticate(info["access_token"]) is identity
    await company.changed(DirectoryScope.SESSION, info["session_id"])
    again = await company.sessions.authenticate(info["access_token"])
    assert again == identity
    assert again is not identity


class HeldReaders:
    """Readers whose results wait at `gate` once they are read."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self.gate = asyncio.Event()
        self.read = asyncio.Event()

    async def run(self, function: Callable[..., Any], *args: Any) -> Any:
        result = await self._readers.run(function, *args)
        self.read.set()
        await self.gate.wait()
        return result


@pytest.mark.anyio
async def test_what_ends_while_it_is_read_is_not_remembered(company: Company) -> None:
    info = await company.grant()
    held = HeldReaders(company.store.readers)
    sessions = Sessions(
        writer=company.store.writer,
        readers=held,  # type: ignore[arg-type]  # answers what is asked of it
        directory=company.directory,
        tokens=TokenMaker(b"k" * 32),
        clock=company.clock,
    )
    company.caches.followers.append(sessions)
    reading = asyncio.ensure_future(sessions.authenticate(info["access_token"]))
    await held.read.wait()
    answer = await company.client.post(
        "/restapi/oauth/revoke", data={"token": info["access_token"]}, auth=company.basic
    )
    assert answer.status_code == 200
    held.gate.set()
    assert (await reading).session_id == info["session_id"]
    with pytest.raises(Unauthenticated, match="not found"):
        await sessions.authenticate(info["access_token"])


@pytest.mark.anyio
async def test_a_disabled_extension_is_out_at_once(company: Company) -> None:
    first, second = await company.grant("101"), await company.grant("102")
    for info in (first, second):
        await company.sessions.authenticate(info["access_token"])
    who = company.extension_id("102")
    draft = (DirectoryScope.EXTENSION, who, str(who))
    await change(company, SET_STATUS, (company.account_id, who, "Disabled"), draft)
    assert await refused(company, second["access_token"]) == "OAU-141"
    assert await company.status_of(first["access_token"]) == 200
    answer = await company.refresh(second["refresh_token"])
    assert answer.json()["errors"][0]["errorCode"] == "OAU-236"
    await change(company, SET_STATUS, (company.account_id, who, "Enabled"), draft)
    assert await company.status_of(second["access_token"]) == 200


@pytest.mark.anyio
async def test_a_disabled_account_is_out_at_once(company: Company) -> None:
    info = await company.grant()
    await company.sessions.authenticate(info["access_token"])
    draft = (DirectoryScope.ACCOUNT, ExtensionId(0), str(company.account_id))
    await change(company, SET_ACCOUNT, (company.account_id, 0), draft)
    assert await refused(company, info["access_token"]) == "OAU-142"
    answer = await company.refresh(info["refresh_token"])
    assert answer.json()["errors"][0]["errorCode"] == "OAU-142"


@pytest.mark.anyio
async def test_a_disabled_app_is_out_at_once(company: Company) -> None:
    info = await company.grant()
    await company.sessions.authenticate(info["access_token"])
    draft = (DirectoryScope.APP, ExtensionId(0), company.basic[0])
    await change(company, SET_APP, (SYSTEM_ACCOUNT, 0), draft)
    assert await refused(company, info["access_token"]) == "OAU-121"
    assert (await company.refresh(info["refresh_token"])).status_code == 401


@pytest.mark.anyio
async def test_a_scope_that_the_app_loses_is_lost_at_once(company: Company) -> None:
    info = await company.grant()
    assert await company.status_of(info["access_token"]) == 200
    draft = (DirectoryScope.APP, ExtensionId(0), company.basic[0])
    await change(company, SET_SCOPES, (SYSTEM_ACCOUNT, "ReadMessages"), draft)
    assert await company.status_of(info["access_token"]) == 403
    assert (await company.refresh(info["refresh_token"])).json()["scope"] == "ReadMessages"


@pytest.mark.anyio
async def test_two_refreshes_at_once_give_the_same_pair(company: Company) -> None:
    info = await company.grant()
    answers = await asyncio.gather(*(company.refresh(info["refresh_token"]) for _ in range(5)))
    pairs = {(one.json()["access_token"], one.json()["refresh_token"]) for one in answers}
    assert len(pairs) == 1
    assert await company.status_of(pairs.pop()[0]) == 200


@pytest.mark.anyio
async def test_a_refresh_beside_a_revocation_leaves_nothing_alive(company: Company) -> None:
    for _ in range(5):
        info = await company.grant()
        refreshed, revoked = await asyncio.gather(
            company.refresh(info["refresh_token"]),
            company.client.post("/restapi/oauth/revoke", data={"token": info["refresh_token"]}, auth=company.basic),
        )
        assert revoked.status_code == 200
        if refreshed.status_code == 200:
            assert await company.status_of(refreshed.json()["access_token"]) == 401


@pytest.mark.anyio
async def test_sessions_survive_a_restart(tmp_path: Path) -> None:
    async with open_company(tmp_path) as company:
        info = await company.grant("102")
        used = await company.grant("101")
        again = (await company.refresh(used["refresh_token"])).json()
    async with open_company(tmp_path) as company:
        assert await company.status_of(info["access_token"]) == 200
        assert (await company.refresh(used["refresh_token"])).json()["access_token"] == again["access_token"]
        assert await company.status_of(used["access_token"]) == 401
