"""Entries of the account log: the closed union that every reader matches with assert_never.

Named tuples, because rows come from the database as tuples and millions are made. All carry `account_id`, the gapless
`seq`, and `at_ms`, the commit time.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from tocsin.domain.ids import AccountId, ExtensionId, MessageId, Seq, SubscriptionId
from tocsin.domain.message import Direction, MessageType


class EntryKind(IntEnum):
    """How an entry's row says which it is."""

    MESSAGE = 1
    SUBSCRIPTION = 2
    DIRECTORY = 3
    NOTICE = 4


class Happened(IntEnum):
    """What a message change did to its message."""

    CREATED = 1
    UPDATED = 2


class MessageChange(NamedTuple):
    """A message was created or changed. `announcement` is the frozen JSON body of the instant event it announces."""

    account_id: AccountId
    seq: Seq
    at_ms: int
    extension_id: ExtensionId
    message_id: MessageId
    happened: Happened
    type: MessageType
    direction: Direction
    announcement: bytes | None


class SubscriptionChange(NamedTuple):
    """A subscription was created, changed, paused, resumed, blacklisted or ended: its rows say how; read them again."""

    account_id: AccountId
    seq: Seq
    at_ms: int
    subscription_id: SubscriptionId


class DirectoryScope(IntEnum):
    """What a directory change ends the caches of."""

    ACCOUNT = 1
    EXTENSION = 2
    SESSION = 3
    APP = 4
    NUMBER = 5


class DirectoryChange(NamedTuple):
    """Something about people, numbers, rights or sessions changed: caches of it end. `subject` is the id as text."""

    account_id: AccountId
    seq: Seq
    at_ms: int
    scope: DirectoryScope
    extension_id: ExtensionId
    subject: str


class Notice(NamedTuple):
    """A frozen body for one subscription (reminder, lifecycle, test event)."""

    account_id: AccountId
    seq: Seq
    at_ms: int
    subscription_id: SubscriptionId
    event: str
    body: bytes


Entry = MessageChange | SubscriptionChange | DirectoryChange | Notice
