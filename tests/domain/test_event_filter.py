from __future__ import annotations

from itertools import product
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.domain.entry import Happened, MessageChange
from tocsin.domain.event_filter import EventFilter, FilterKind, UnknownFilter, parse_event_filter
from tocsin.domain.ids import AccountId, ExtensionId, MessageId, Seq
from tocsin.domain.message import Direction, MessageType

ACCOUNT, OWNER, OTHER = AccountId(1001), ExtensionId(2001), ExtensionId(2002)
STORE = "/restapi/v1.0/account/~/extension/~/message-store"
RESOLVED = "/restapi/v1.0/account/1001/extension/2001/message-store"

# Every change that can be told apart by a filter of one mailbox. Announcements are made for inbound messages alone.
CHANGES = [
    MessageChange(ACCOUNT, Seq(1), 0, OWNER, MessageId(7), happened, kind, direction, announcement)
    for happened, kind, direction, announcement in product(Happened, MessageType, Direction, (None, b"{}"))
]


def parse(text: str) -> EventFilter:
    return parse_event_filter(text, ACCOUNT, OWNER)


def fires_on(one: EventFilter) -> list[bool]:
    return [one.matches(change) for change in CHANGES]


@st.composite
def _in_any_case(draw: st.DrawFn, word: str) -> str:
    return "".join(draw(st.sampled_from([letter.lower(), letter.upper()])) for letter in word)


@st.composite
def _percent_encoded(draw: st.DrawFn, word: str) -> str:
    return "".join(draw(st.sampled_from([letter, f"%{ord(letter):02X}", f"%{ord(letter):02x}"])) for letter in word)


@st.composite
def filter_texts(draw: st.DrawFn) -> str:
    """A filter as some client might write it: any order, any case, any encoding, with or without the prefix."""
    kind = draw(st.sampled_from(FilterKind))
    types = ["SMS"] if kind is FilterKind.INSTANT else ["SMS", "Fax", "Voicemail", "Pager"]
    directions = ["Inbound"] if kind is FilterKind.INSTANT else ["Inbound", "Outbound"]
    parameters = []
    if kind is FilterKind.INSTANT or draw(st.booleans()):
        parameters.append(("type", draw(st.sampled_from(types))))
    if draw(st.booleans()):
        parameters.append(("direction", draw(st.sampled_from(directions))))
    pairs = []
    for name, value in draw(st.permutations(parameters)):
        spelled = draw(_percent_encoded(draw(_in_any_case(value))))
        pairs.append(f"{draw(_in_any_case(name))}={spelled}")
    account = draw(st.sampled_from(["~", str(ACCOUNT)]))
    extension = draw(st.sampled_from(["~", str(OWNER)]))
    prefix = draw(st.sampled_from(["/restapi/v1.0", ""]))
    path = f"{prefix}/account/{account}/extension/{extension}/{kind}{draw(st.sampled_from(['', '/']))}"
    return path + ("?" + "&".join(pairs) if pairs else "")


@given(filter_texts())
def test_the_resolved_text_is_parsed_to_the_same_filter(text: str) -> None:
    once = parse(text)
    assert parse(once.text) == once
    assert parse_event_filter(once.text, AccountId(9), ExtensionId(9)) == once, "no `~` is left in it"


@given(filter_texts())
def test_the_query_is_kept_as_it_was_written(text: str) -> None:
    one = parse(text)
    path, mark, query = text.partition("?")
    assert one.text == f"{RESOLVED}{'/instant' if 'instant' in path else ''}{mark}{query}"


@given(filter_texts(), filter_texts())
def test_canonical_forms_are_equal_where_the_same_changes_match(first: str, second: str) -> None:
    one, other = parse(first), parse(second)
    same = one.kind is other.kind and fires_on(one) == fires_on(other)
    assert (one.canonical == other.canonical) is same


@given(filter_texts())
def test_every_filter_fires_on_something(text: str) -> None:
    assert any(fires_on(parse(text)))


def test_every_mailbox_has_a_canonical_form_of_its_own() -> None:
    one = parse(STORE)
    other = parse(f"/restapi/v1.0/account/~/extension/{OTHER}/message-store")
    foreign = parse("/restapi/v1.0/account/1002/extension/~/message-store")
    assert len({one.canonical, other.canonical, foreign.canonical}) == 3


@pytest.mark.parametrize("spelling", ["Voicemail", "VoiceMail", "VOICEMAIL"])
def test_both_spellings_of_voicemail_are_one_type(spelling: str) -> None:
    assert parse(f"{STORE}?type={spelling}").type is MessageType.VOICEMAIL


def test_type_and_direction_restrict_together() -> None:
    one = parse(f"{STORE}?direction=OUTBOUND&TYPE=fax")
    assert [(change.type, change.direction) for change in CHANGES if one.matches(change)] == [
        (MessageType.FAX, Direction.OUTBOUND)
    ] * 4  # created and updated, announced or not


def test_an_unrestricted_filter_gains_no_query() -> None:
    assert parse(STORE).text == RESOLVED


def test_message_store_events_coalesce_and_instant_ones_do_not() -> None:
    assert parse(STORE).coalesces
    assert not parse(f"{STORE}/instant?type=SMS").coalesces


@pytest.mark.parametrize(
    "change",
    [
        CHANGES[0]._replace(happened=Happened.UPDATED, announcement=b"{}", direction=Direction.INBOUND),
        CHANGES[0]._replace(direction=Direction.OUTBOUND, announcement=b"{}"),
        CHANGES[0]._replace(direction=Direction.INBOUND, announcement=None),
        CHANGES[0]._replace(direction=Direction.INBOUND, announcement=b"{}", type=MessageType.PAGER),
    ],
    ids=["an update", "an outbound one", "a purged one", "a pager message"],
)
def test_instant_events_are_for_new_inbound_sms_alone(change: MessageChange) -> None:
    instant = parse(f"{STORE}/instant?type=SMS")
    assert not instant.matches(change)
    assert instant.matches(
        change._replace(
            happened=Happened.CREATED, direction=Direction.INBOUND, announcement=b"{}", type=MessageType.SMS
        )
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "message-store",
        "/restapi/v1.0/account/~/message-store",
        "/restapi/v1.0/account/~/extension/~/presence",
        "/restapi/v2/account/~/extension/~/message-store",
        "/restapi/v1.0/account/~/extension/~/message-store/instant/more?type=SMS",
        "/restapi/v1.0/account/abc/extension/~/message-store",
        "/restapi/v1.0/account/-1/extension/~/message-store",
        "/restapi/v1.0/account/١٢٣/extension/~/message-store",
        f"/restapi/v1.0/account/{'9' * 17}/extension/~/message-store",
        f"{STORE}?type=Email",
        f"{STORE}?type=",
        f"{STORE}?type",
        f"{STORE}?direction=Sideways",
        f"{STORE}?type=SMS&type=Fax",
        f"{STORE}?type=SMS&TYPE=SMS",
        f"{STORE}?type=SMS,Fax",
        f"{STORE}?type=S+MS",
        f"{STORE}?colour=red",
        f"{STORE}/instant",
        f"{STORE}/instant?type=Fax",
        f"{STORE}/instant?type=SMS&direction=Outbound",
    ],
)
def test_what_is_no_filter_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(UnknownFilter) as refused:
        parse(text)
    assert str(refused.value)


@given(st.text(max_size=60))
def test_no_text_breaks_the_parser(text: str) -> None:
    for candidate in (text, f"{STORE}?{text}", f"{STORE}?type={quote(text)}"):
        try:
            one = parse(candidate)
        except UnknownFilter:
            continue
        assert parse(one.text) == one
