from __future__ import annotations

from pathlib import Path

import pytest

from tests.company import Company, open_company
from tocsin.directory.seed_file import SeedError, SeedPlan, default_plan, parse_seed
from tocsin.domain.directory import Account, NumberFeature, Permission, Role, Scope
from tocsin.domain.errors import StoreUnavailable
from tocsin.domain.ids import ClientId
from tocsin.storage.unit import Applied, Applies, Unit


async def account_of(company: Company) -> Account:
    account = await company.directory.account(company.account_id)
    assert account is not None
    return account


@pytest.mark.anyio
async def test_the_default_company(tmp_path: Path) -> None:
    async with open_company(tmp_path) as company:
        account = await account_of(company)
        people = list(account.extensions.values())
        assert [(one.number, one.role) for one in people] == [("101", Role.ADMIN), ("102", Role.USER)]
        for one in people:
            (number,) = one.numbers
            assert number.features == {
                NumberFeature.CALLER_ID,
                NumberFeature.SMS_SENDER,
                NumberFeature.MMS_SENDER,
            }
            assert number.primary
        assert not people[1].may(Permission.ACCOUNT_ADMINISTRATION)
        assert people[1].may(Permission.READ_MESSAGES)
        app = await company.directory.app(ClientId(company.basic[0]))
        assert app is not None
        assert app.scopes == set(Scope)


@pytest.mark.anyio
async def test_credentials_are_told_again_after_a_restart_and_nothing_is_seeded_twice(tmp_path: Path) -> None:
    async with open_company(tmp_path) as company:
        first, entries = company.seeded, len(company.caches.changes)
        assert entries > 0
    async with open_company(tmp_path, parse_seed('[[account]]\nmain_number="+12125550100"\n' + EXTENSION)) as company:
        assert company.seeded == first
        assert company.caches.changes == []
        assert (await company.grant("102"))["owner_id"]


EXTENSION = '[[account.extension]]\nnumber = "1"\n'


def large_plan() -> SeedPlan:
    """More than fits one unit of numbers, of extensions, or of both."""
    people = "".join(
        f'[[account.extension]]\nnumber = "{1000 + one}"\nphone_numbers = [{{ number = "+1212555{one:04}" }}]\n'
        for one in range(230)
    )
    return parse_seed(
        f'[[app]]\nname = "One"\n[[app]]\nname = "Two"\n[[account]]\nmain_number = "+16505550100"\n{people}'
    )


class Breaking:
    """A writer that fails from the n-th unit on."""

    def __init__(self, writer: Applies, whole: int) -> None:
        self._writer = writer
        self._left = whole

    async def apply(self, unit: Unit) -> Applied:
        self._left -= 1
        if self._left < 0:
            raise StoreUnavailable("broken off")
        return await self._writer.apply(unit)


@pytest.mark.anyio
async def test_seeding_that_was_broken_off_anywhere_is_finished_by_the_next_start(tmp_path: Path) -> None:
    plan, broken = large_plan(), 0
    for whole in range(20):
        folder = tmp_path / str(whole)
        async with open_company(folder, empty_plan()) as company:
            seeding = company.seeding
            writer, seeding._writer = seeding._writer, Breaking(seeding._writer, whole)
            await forget_seeded(company, writer)
            try:
                await seeding.ensure(plan)
            except StoreUnavailable:
                broken += 1
            seeding._writer = writer
            told = await seeding.ensure(plan)
            assert [app.name for app in told.apps[1:]] == ["One", "Two"]
            people = [one.extension for one in told.extensions if one.extension.number != "1"]
            assert [one.number for one in people] == [str(1000 + one) for one in range(230)]
            assert len({one.account_id for one in people}) == 1
            owner = await company.directory.owner_of("+12125550229")
            assert owner is not None
            assert owner.extension_id == people[229].extension_id
        if broken <= whole:
            return
    raise AssertionError("seeding never came to its end")


def empty_plan() -> SeedPlan:
    return parse_seed(f'[[account]]\nmain_number = "+14155550100"\n{EXTENSION}')


async def forget_seeded(company: Company, writer: Applies) -> None:
    from sqlalchemy import bindparam, delete

    from tocsin.domain.ids import SYSTEM_ACCOUNT
    from tocsin.storage.schema import claim
    from tocsin.storage.statement import Statement

    unit = Unit(SYSTEM_ACCOUNT)
    forget = Statement("forget_seeded", delete(claim).where(claim.c.kind == bindparam("k_kind")), ("k_kind",))
    unit.add(forget, ("seed",))
    await writer.apply(unit)


@pytest.mark.anyio
async def test_a_number_of_another_account_is_named(tmp_path: Path) -> None:
    async with open_company(tmp_path, default_plan()) as company:
        await forget_seeded(company, company.store.writer)
        taken = parse_seed(
            f'[[account]]\nmain_number = "+14155550100"\n{EXTENSION}phone_numbers = [{{number="+16505550101"}}]'
        )
        with pytest.raises(SeedError, match=r"\+16505550101 already belongs"):
            await company.seeding.ensure(taken)
