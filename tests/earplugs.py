"""A listener that can be made deaf: for tests of what happens when the tail loses something."""

from __future__ import annotations

from collections.abc import Sequence

from tocsin.domain.entry import Entry
from tocsin.domain.ids import AccountId
from tocsin.log.tail import EntryListener


class Earplugs:
    """Hands entries on to `listener`, unless `deaf`."""

    def __init__(self, listener: EntryListener) -> None:
        self.listener = listener
        self.deaf = False

    def entries(self, account_id: AccountId, entries: Sequence[Entry]) -> None:
        """See EntryListener."""
        if not self.deaf:
            self.listener.entries(account_id, entries)
