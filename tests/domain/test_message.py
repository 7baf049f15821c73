from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.domain.message import STATUS_MOVES, MessageStatus, may_move, text_units

FINAL = {
    MessageStatus.DELIVERED,
    MessageStatus.DELIVERY_FAILED,
    MessageStatus.SENDING_FAILED,
    MessageStatus.RECEIVED,
}


def test_every_status_says_what_may_follow() -> None:
    assert STATUS_MOVES.keys() == set(MessageStatus)


def test_final_statuses_never_move() -> None:
    assert {status for status, following in STATUS_MOVES.items() if not following} == FINAL


def test_no_status_follows_itself() -> None:
    assert not [status for status in MessageStatus if may_move(status, status)]


def test_received_is_where_inbound_messages_begin_and_nothing_leads_there() -> None:
    assert not [status for status in MessageStatus if may_move(status, MessageStatus.RECEIVED)]


@pytest.mark.parametrize(
    "journey",
    [
        [MessageStatus.QUEUED, MessageStatus.SENT, MessageStatus.DELIVERED],
        [MessageStatus.QUEUED, MessageStatus.SENT, MessageStatus.DELIVERY_FAILED],
        [MessageStatus.QUEUED, MessageStatus.SENDING_FAILED],
        [MessageStatus.QUEUED, MessageStatus.DELIVERED],  # the receipt overtook the carrier's answer
    ],
    ids=lambda journey: "-".join(journey),
)
def test_documented_journeys_are_possible(journey: list[MessageStatus]) -> None:
    assert all(may_move(current, following) for current, following in pairwise(journey))


@given(st.lists(st.sampled_from(MessageStatus), max_size=12))
def test_late_and_doubled_reports_end_in_one_final_status(reports: list[MessageStatus]) -> None:
    status, finals = MessageStatus.QUEUED, []
    for report in reports:
        if may_move(status, report):
            status = report
            finals += [status] if status in FINAL else []
    assert len(finals) <= 1
    assert not finals or status is finals[0]


@given(st.text())
def test_text_is_counted_in_utf16_units(text: str) -> None:
    assert text_units(text) == sum(2 if ord(letter) > 0xFFFF else 1 for letter in text)
