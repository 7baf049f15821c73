from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from tocsin.domain.entry import Happened, MessageChange
from tocsin.domain.ids import AccountId, ExtensionId, MessageId, Seq, SubscriptionId
from tocsin.domain.message import Direction, MessageType
from tocsin.domain.notification import ChangeSummary, notification_uuid, summarise

KEY = b"k" * 32
ARGUMENTS = (SubscriptionId("sub"), "/event", ExtensionId(2001), 3, 9, "v1")

# Few messages, so that they come up again and again; a message's type never changes.
CHANGES = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from(Happened)).map(
        lambda drawn: MessageChange(
            AccountId(1001),
            Seq(0),
            0,
            ExtensionId(2001),
            MessageId(drawn[0]),
            drawn[1],
            list(MessageType)[drawn[0] % 3],
            Direction.INBOUND,
            None,
        )
    ),
    max_size=30,
)


def counted_by_hand(batch: list[MessageChange]) -> dict[MessageType, tuple[list[int], int]]:
    """What happened to each message, asked message by message."""
    result: dict[MessageType, tuple[list[int], int]] = {}
    for kind in MessageType:
        of_kind = [change for change in batch if change.type is kind]
        ids = list(dict.fromkeys(int(change.message_id) for change in of_kind))
        created = [int(change.message_id) for change in of_kind if change.happened is Happened.CREATED]
        new = list(dict.fromkeys(created))
        if ids:
            result[kind] = (new, len([one for one in ids if one not in new]))
    return result


@given(CHANGES)
def test_a_batch_counts_what_counting_by_hand_gives(batch: list[MessageChange]) -> None:
    summary = summarise(batch)
    assert {one.type: (list(one.new_message_ids), one.updated_count) for one in summary} == counted_by_hand(batch)


@given(CHANGES)
def test_types_come_in_order_of_first_appearance(batch: list[MessageChange]) -> None:
    assert [one.type for one in summarise(batch)] == list(dict.fromkeys(change.type for change in batch))


@given(CHANGES)
def test_new_and_updated_together_are_the_distinct_messages(batch: list[MessageChange]) -> None:
    total = sum(one.new_count + one.updated_count for one in summarise(batch))
    assert total == len({change.message_id for change in batch})


def test_created_then_changed_counts_once_as_new() -> None:
    created = MessageChange(
        AccountId(1),
        Seq(1),
        0,
        ExtensionId(2),
        MessageId(7),
        Happened.CREATED,
        MessageType.FAX,
        Direction.INBOUND,
        None,
    )
    changed = created._replace(happened=Happened.UPDATED)
    once = (ChangeSummary(MessageType.FAX, (MessageId(7),), 0),)
    assert summarise([created, changed, changed]) == once
    assert summarise([changed, created]) == once


def test_an_empty_batch_says_nothing() -> None:
    assert summarise([]) == ()


def test_the_uuid_of_a_batch_never_changes() -> None:
    # A receiver that deduplicates by uuid must recognise what was sent before an upgrade.
    assert notification_uuid(KEY, *ARGUMENTS) == "bfc54af3-08ca-8442-a481-3432eda50666"


def test_whatever_names_a_batch_changes_its_uuid() -> None:
    subscription, event, mailbox, first, last, rendering = ARGUMENTS
    named = [
        notification_uuid(KEY, *ARGUMENTS),
        notification_uuid(b"K" * 32, *ARGUMENTS),
        notification_uuid(KEY, SubscriptionId("bus"), event, mailbox, first, last, rendering),
        notification_uuid(KEY, subscription, "/other", mailbox, first, last, rendering),
        notification_uuid(KEY, subscription, event, ExtensionId(2002), first, last, rendering),
        notification_uuid(KEY, subscription, event, mailbox, first + 1, last, rendering),
        notification_uuid(KEY, subscription, event, mailbox, first, last + 1, rendering),
        notification_uuid(KEY, subscription, event, mailbox, first, last, "v2"),
    ]
    assert len(set(named)) == len(named)


@given(st.binary(min_size=16, max_size=64), st.integers(1), st.integers(1))
def test_a_uuid_is_one(key: bytes, first: int, last: int) -> None:
    text = notification_uuid(key, SubscriptionId("s"), "/e", ExtensionId(1), first, last)
    parsed = UUID(text)
    assert str(parsed) == text
    assert (parsed.version, parsed.variant) == (8, "specified in RFC 4122")
