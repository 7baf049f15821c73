"""What one notification tells: the summary of a batch of changes, and the uuid that names it through every retry."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

from tocsin.domain.entry import Happened, MessageChange
from tocsin.domain.ids import ExtensionId, MessageId, SubscriptionId
from tocsin.domain.message import MessageType


@dataclass(frozen=True, slots=True)
class ChangeSummary:
    """One element of the wire's `changes[]`: what happened to messages of one type within a batch."""

    type: MessageType
    new_message_ids: tuple[MessageId, ...]
    updated_count: int

    @property
    def new_count(self) -> int:
        """Messages created in the batch."""
        return len(self.new_message_ids)


def summarise(batch: Iterable[MessageChange]) -> tuple[ChangeSummary, ...]:
    """Count a batch by message type, in order of first appearance.

    New is created in the batch; updated is *distinct other* messages changed: created and then changed counts once,
    as new.
    """
    new: dict[MessageType, dict[MessageId, None]] = {}
    updated: dict[MessageType, set[MessageId]] = {}
    for change in batch:
        created = new.setdefault(change.type, {})
        if change.happened is Happened.CREATED:
            created[change.message_id] = None
        else:
            updated.setdefault(change.type, set()).add(change.message_id)
    return tuple(
        ChangeSummary(kind, tuple(created), len(updated.get(kind, set()) - created.keys()))
        for kind, created in new.items()
    )


def notification_uuid(
    key: bytes,
    subscription_id: SubscriptionId,
    event: str,
    mailbox: ExtensionId,
    first_seq: int,
    last_seq: int,
    rendering: str = "",
) -> str:
    """Return the uuid of a batch: a keyed hash, so that a repeat after a crash carries the same one.

    `key` is the store's own (16-64 bytes); `rendering` fingerprints settings and version for coalesced bodies, so that
    equal uuid means equal body even across an upgrade. Shape of RFC 9562 version 8.
    """
    text = f"{subscription_id}\n{event}\n{mailbox}\n{first_seq}\n{last_seq}\n{rendering}"
    digest = blake2b(text.encode(), key=key, digest_size=16).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-a{digest[17:20]}-{digest[20:]}"
