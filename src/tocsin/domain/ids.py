"""Identifiers, each its own type, so that an extension id is never passed where a message id is meant.

All numeric ids are decimal digits on the wire, below 2**53 (JavaScript), unique across accounts, and hold no clock.
"""

from __future__ import annotations

from typing import NewType

AccountId = NewType("AccountId", int)
ExtensionId = NewType("ExtensionId", int)
PhoneNumberId = NewType("PhoneNumberId", int)
MessageId = NewType("MessageId", int)
AttachmentId = NewType("AttachmentId", int)
WorkId = NewType("WorkId", int)
SubscriptionId = NewType("SubscriptionId", str)
SessionId = NewType("SessionId", str)
ClientId = NewType("ClientId", str)

Seq = NewType("Seq", int)
"""Position in one account's log: gapless, from 1, in commit order. 0 is "before everything"."""

SYSTEM_ACCOUNT = AccountId(0)
"""Its log tells of apps and of who owns which number; it has no mailboxes."""

MAX_ID = 2**53 - 1
