"""Who a number is, as one account sees it: its own extension with number and name, else a place from the table.

Nothing crosses accounts: only numbers of the mailbox's own account are named from the directory.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import Protocol

from tocsin.domain.directory import Account, Extension, ExtensionStatus, PhoneNumber
from tocsin.domain.ids import AccountId
from tocsin.domain.location import location_of
from tocsin.domain.message import Party

REMEMBERED_ACCOUNTS = 1024
"""Accounts whose numbers are kept indexed; the one that was used longest ago goes first."""

_UNREACHABLE = frozenset({ExtensionStatus.DISABLED, ExtensionStatus.FROZEN, ExtensionStatus.UNASSIGNED})


class Directory(Protocol):
    """Whom messaging asks about accounts and numbers."""

    async def account(self, account_id: AccountId) -> Account | None:
        """The account with everyone in it."""
        ...

    async def owner_of(self, number: str) -> PhoneNumber | None:
        """The number of this system that `number`, E.164, is; None for anyone else's."""
        ...


def may_receive(extension: Extension) -> bool:
    """Whether messages reach it. RC: an SMS to a disabled or frozen extension is dropped."""
    return extension.status not in _UNREACHABLE


class NumberBook:
    """The numbers of one account."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self._extensions = {one.number: ext for ext in account.extensions.values() for one in ext.numbers}
        if account.operator is not None:
            self._extensions |= {one.number: account.operator for one in account.company_numbers}
        self._parties: dict[str, Party] = {}
        self._targets: dict[str, Party] = {}

    def party(self, number: str, *, name: str | None = None, location: str | None = None) -> Party:
        """Return whoever has `number`. The directory's name comes before `name`, `location` before the table's."""
        extension = self._extensions.get(number)
        if extension is None:
            return Party(phone_number=number, name=name, location=location or location_of(number))
        party = self._parties.get(number)
        if party is None:
            party = self._parties[number] = Party(
                phone_number=number,
                extension_number=extension.number,
                extension_id=extension.extension_id,
                name=extension.name,
                location=location_of(number),
            )
        return replace(party, location=location) if location else party

    def addressed(self, extension: Extension, numbers: tuple[str, ...]) -> tuple[Party, ...]:
        """Return the recipients as `extension` sees them: `target` on each that is one of its own numbers."""
        return tuple(self._target(number, extension) or self.party(number) for number in numbers)

    def _target(self, number: str, extension: Extension) -> Party | None:
        if self._extensions.get(number) is not extension:
            return None
        target = self._targets.get(number)
        if target is None:
            target = self._targets[number] = replace(self.party(number), target=True)
        return target


class NumberBooks:
    """Books of the accounts used last; a book lives as long as the directory gives the same account."""

    def __init__(self) -> None:
        self._books: OrderedDict[AccountId, NumberBook] = OrderedDict()

    def of(self, account: Account) -> NumberBook:
        """Return the numbers of `account`."""
        book = self._books.get(account.account_id)
        if book is None or book.account is not account:
            book = self._books[account.account_id] = NumberBook(account)
            if len(self._books) > REMEMBERED_ACCOUNTS:
                self._books.popitem(last=False)
        self._books.move_to_end(account.account_id)
        return book


def extension_party(extension: Extension) -> Party:
    """Return an extension as a party of a pager message, which has no phone numbers."""
    return Party(extension_number=extension.number, extension_id=extension.extension_id, name=extension.name)
