from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.stored_messages import (
    ACCOUNT,
    CREATED_MS,
    INBOUND_SMS,
    MAILBOX,
    OTHER_MAILBOX,
    media,
    store_messages,
    with_id,
)
from tests.storing import open_test_store
from tocsin.domain.ids import ExtensionId
from tocsin.domain.message import Availability, Direction, Message, MessageType, Party, ReadStatus
from tocsin.domain.message_query import ListQuery
from tocsin.storage.message_queries import fetch_announcement, fetch_message, list_messages
from tocsin.storage.store import Store

E = TypeVar("E", bound=StrEnum)

NOW_MS = CREATED_MS + 5_000
NUMBERS = ["+14155550101", "+14155550102", "+1415555010", "+14155550101_"]


async def listed(store: Store, query: ListQuery, mailbox: ExtensionId = MAILBOX) -> tuple[list[int], int]:
    found, total = await store.readers.run(list_messages, ACCOUNT, mailbox, query, query.span(NOW_MS))
    return [message.message_id for message in found], total


def expected(stored: Sequence[Message], query: ListQuery) -> tuple[list[int], int]:
    """The same by brute force."""
    to_ms = NOW_MS if query.to_ms is None else query.to_ms
    from_ms = to_ms - 86_400_000 if query.from_ms is None else query.from_ms
    last_ms = to_ms if to_ms % 1000 else to_ms + 999
    matching = [
        one
        for one in sorted(stored, key=lambda one: (one.created_ms, one.message_id), reverse=True)
        if one.extension_id == MAILBOX
        and from_ms <= one.created_ms <= last_ms
        and one.availability in query.availability
        and (not query.directions or one.direction in query.directions)
        and (not query.types or one.type in query.types)
        and (not query.read_statuses or one.read_status in query.read_statuses)
        and query.conversation_id in (None, one.conversation_id)
        and query.phone_number in (None, one.sender.phone_number, *(to.phone_number for to in one.recipients))
    ]
    if query.distinct_conversations:
        latest: dict[object, Message] = {}
        for one in matching:
            latest.setdefault(("alone", one.message_id) if one.conversation_id is None else one.conversation_id, one)
        matching = list(latest.values())
    start = (query.page - 1) * query.per_page
    return [one.message_id for one in matching[start : start + query.per_page]], len(matching)


def some(kind: type[E]) -> st.SearchStrategy[frozenset[E]]:
    return st.frozensets(st.sampled_from(list(kind)))


messages = st.builds(
    replace,
    st.just(INBOUND_SMS),
    extension_id=st.sampled_from([MAILBOX, MAILBOX, MAILBOX, OTHER_MAILBOX]),
    type=st.sampled_from(list(MessageType)),
    direction=st.sampled_from(list(Direction)),
    availability=st.sampled_from(list(Availability)),
    read_status=st.sampled_from(list(ReadStatus)),
    created_ms=st.integers(CREATED_MS - 3, CREATED_MS + 3)
    | st.sampled_from([CREATED_MS - 86_400_000, NOW_MS, NOW_MS + 1, CREATED_MS - 123, CREATED_MS + 877]),
    sender=st.sampled_from(NUMBERS).map(lambda number: Party(phone_number=number)),
    recipients=st.lists(st.sampled_from(NUMBERS), max_size=2).map(
        lambda numbers: tuple(Party(phone_number=number) for number in numbers)
    ),
    conversation_id=st.sampled_from([None, 1, 2, 2**63 - 1]),
)
times = st.none() | st.sampled_from([CREATED_MS - 123, CREATED_MS, CREATED_MS + 1, NOW_MS, 0])
queries = st.builds(
    ListQuery,
    availability=some(Availability).filter(bool),
    conversation_id=st.sampled_from([None, None, 1, 2, 2**63 - 1, 5]),
    from_ms=times,
    to_ms=times,
    directions=some(Direction),
    distinct_conversations=st.booleans(),
    types=some(MessageType),
    read_statuses=some(ReadStatus),
    phone_number=st.none() | st.none() | st.sampled_from(NUMBERS),
    page=st.integers(1, 4) | st.just(1_000_000),
    per_page=st.integers(0, 5) | st.just(1000),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(messages, max_size=25), st.lists(queries, min_size=1, max_size=20))
def test_the_list_equals_a_brute_force_filter(generated: list[Message], asked: list[ListQuery]) -> None:
    stored = [with_id(one, INBOUND_SMS.message_id + index) for index, one in enumerate(generated)]

    async def check() -> None:
        with TemporaryDirectory() as folder:
            async with open_test_store(Path(folder)) as store:
                await store_messages(store, *stored)
                for query in asked:
                    assert await listed(store, query) == expected(stored, query)

    asyncio.run(check())


@pytest.mark.anyio
async def test_pages_before_a_given_end_are_not_moved_by_what_arrives_meanwhile(tmp_path: Path) -> None:
    first_id = int(INBOUND_SMS.message_id)
    old = [with_id(replace(INBOUND_SMS, created_ms=CREATED_MS - 1000 * one), first_id + one) for one in range(25)]
    query = ListQuery(to_ms=CREATED_MS, per_page=10)
    seen: list[int] = []
    async with open_test_store(tmp_path) as store:
        await store_messages(store, *old)
        for page in (1, 2, 3):
            arriving = with_id(replace(INBOUND_SMS, created_ms=CREATED_MS + page), first_id + 100 + page)
            found, _ = await asyncio.gather(listed(store, replace(query, page=page)), store_messages(store, arriving))
            seen += found[0]
            assert found[1] == 25
        assert (await listed(store, ListQuery(to_ms=CREATED_MS + 3)))[1] == 28
    assert seen == [one.message_id for one in old]


@pytest.mark.anyio
async def test_a_listed_message_is_the_stored_one_with_its_own_attachments(tmp_path: Path) -> None:
    parts = (media(100_000_000_011), media(100_000_000_012, "blob-2"))
    mms = replace(INBOUND_SMS, attachments=INBOUND_SMS.attachments + parts)
    plain = with_id(INBOUND_SMS, INBOUND_SMS.message_id + 1)
    async with open_test_store(tmp_path) as store:
        stored = await store_messages(store, mms, plain)
        query = ListQuery()
        found, total = await store.readers.run(list_messages, ACCOUNT, MAILBOX, query, query.span(NOW_MS))
        assert (list(found), total) == (stored[::-1], 2)
        assert await store.readers.run(fetch_message, ACCOUNT, MAILBOX, mms.message_id) == stored[0]
        assert await store.readers.run(fetch_message, ACCOUNT, OTHER_MAILBOX, mms.message_id) is None


@pytest.mark.anyio
async def test_a_page_holds_more_messages_with_attachments_than_a_statement_once_took_values(tmp_path: Path) -> None:
    first_id = int(INBOUND_SMS.message_id)
    many = [
        replace(with_id(INBOUND_SMS, first_id + one), attachments=(media(first_id + 5000 + one),), text=None)
        for one in range(1001)
    ]
    async with open_test_store(tmp_path) as store:
        await asyncio.gather(*(store_messages(store, one) for one in many))
        query = ListQuery(per_page=1000)
        found, total = await store.readers.run(list_messages, ACCOUNT, MAILBOX, query, query.span(NOW_MS))
    assert (len(found), total) == (1000, 1001)
    assert [one.attachments for one in found] == [one.attachments for one in reversed(many[1:])]


@pytest.mark.anyio
async def test_an_announcement_is_found_by_its_message(tmp_path: Path) -> None:
    async with open_test_store(tmp_path) as store:
        silent, told = INBOUND_SMS, with_id(INBOUND_SMS, INBOUND_SMS.message_id + 1)
        stored = await store_messages(store, silent)
        stored += await store_messages(store, told, announcement=b"{}")
        later = with_id(INBOUND_SMS, INBOUND_SMS.message_id + 2)
        stored += await store_messages(store, later, announcement=b"{}")
        found = [await store.readers.run(fetch_announcement, one) for one in stored]
        assert found == [None, 2, 3]
