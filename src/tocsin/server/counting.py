"""Counts what is committed, for /metrics: entries of all logs, and messages by type and direction."""

from __future__ import annotations

from collections.abc import Sequence

from tocsin.domain.entry import Entry, Happened, MessageChange
from tocsin.domain.ids import AccountId
from tocsin.domain.message import Direction, MessageType
from tocsin.telemetry.metrics import Metrics


class EntryCounter:
    """Follows the tail. Label look-ups are done once: this runs for every message."""

    def __init__(self, metrics: Metrics) -> None:
        self._entries = metrics.entries_total
        self._messages = {
            (kind, direction): metrics.messages_total.labels(kind.value, direction.value)
            for kind in MessageType
            for direction in Direction
        }

    def entries(self, account_id: AccountId, entries: Sequence[Entry]) -> None:
        """See log.tail.EntryListener."""
        self._entries.inc(len(entries))
        for entry in entries:
            if type(entry) is MessageChange and entry.happened is Happened.CREATED:
                self._messages[entry.type, entry.direction].inc()
