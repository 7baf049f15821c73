"""What the sandbox's page shows: every mailbox with its latest messages. Answers console's Mailboxes."""

from __future__ import annotations

from collections.abc import Sequence

from tocsin.console.page import Mailbox
from tocsin.directory.cache import Directory
from tocsin.domain.ids import AccountId
from tocsin.domain.message_query import ListQuery
from tocsin.messaging.reading import Reading

MAX_MAILBOXES = 20
"""Shown at most: the page is for a sandbox, and asks anew every two seconds."""


class ConsoleData:
    """Reads the mailboxes of `accounts`, in the directory's order."""

    def __init__(self, directory: Directory, reading: Reading, accounts: Sequence[AccountId]) -> None:
        self._directory = directory
        self._reading = reading
        self._accounts = tuple(accounts)

    async def mailboxes(self, messages: int) -> Sequence[Mailbox]:
        """Every extension, each with at most `messages` messages, newest first."""
        found: list[Mailbox] = []
        for account_id in self._accounts:
            account = await self._directory.account(account_id)
            for extension in account.extensions.values() if account else ():
                if len(found) == MAX_MAILBOXES:
                    return found
                page = await self._reading.list_messages(
                    account_id, extension.extension_id, ListQuery(from_ms=0, per_page=messages)
                )
                numbers = tuple(one.number for one in extension.numbers)
                found.append(Mailbox(extension.number, extension.name, numbers, page.messages))
        return found
