"""The tail: hands committed entries to whoever follows, in this process, as they land.

It may lose nothing here, yet followers must not count on it: they heal gaps from the database. Never blocks, never
reads, keeps nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from tocsin.domain.entry import Entry
from tocsin.domain.ids import AccountId
from tocsin.storage.unit import Committed, WorkDue
from tocsin.telemetry.logs import get_logger

log = get_logger(__name__)


@runtime_checkable
class EntryListener(Protocol):
    """Who wants to hear of entries. Called on the event loop; must not block."""

    def entries(self, account_id: AccountId, entries: Sequence[Entry]) -> None:
        """Take note of entries of one account, in seq order."""
        ...


@runtime_checkable
class WorkListener(Protocol):
    """Who wants to hear of work rows. Called on the event loop; must not block."""

    def work(self, account_id: AccountId, due: WorkDue) -> None:
        """Take note of a work row that was written."""
        ...


class LocalTail:
    """The tail within one process; it is the writer's CommitListener."""

    def __init__(self) -> None:
        self._entries: list[EntryListener] = []
        self._work: list[WorkListener] = []

    def follow(self, listener: EntryListener | WorkListener) -> None:
        """Tell `listener` of everything committed from now on: entries, work, or both, as it has methods for."""
        if isinstance(listener, EntryListener):
            self._entries = [*self._entries, listener]
        if isinstance(listener, WorkListener):
            self._work = [*self._work, listener]

    def committed(self, commit: Committed) -> None:
        """See `CommitListener`. A listener that raises is logged and harms no other: the sweep will tell it again."""
        for listener in self._entries:
            for account_id, entries in commit.entries.items():
                try:
                    listener.entries(account_id, entries)
                except Exception:
                    log.exception("tail.listener_failed", listener=type(listener).__name__, account_id=account_id)
        for worker in self._work:
            for account_id, due in commit.work:
                try:
                    worker.work(account_id, due)
                except Exception:
                    log.exception("tail.listener_failed", listener=type(worker).__name__, account_id=account_id)
