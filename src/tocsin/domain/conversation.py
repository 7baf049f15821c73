"""Which conversation a message belongs to: a 63-bit hash of mailbox and participants, so that no lookup is needed.

Our choice: the wire knows int64 conversation ids that differ by mailbox; a hash gives the same thread to the same
participants for ever, also across nodes.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from tocsin.domain.ids import AccountId, ExtensionId


def conversation_id(account_id: AccountId, extension_id: ExtensionId, participants: Iterable[str]) -> int:
    """Return the conversation of `participants` (numbers or extension ids, the mailbox's own included) in a mailbox."""
    key = f"{account_id}/{extension_id}/" + ",".join(sorted(set(participants)))
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big") >> 1
