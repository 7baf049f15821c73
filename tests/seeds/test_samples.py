"""The sample events of RingCentral's own pages, as they are: what is wrong in each, and that we emit all they show.

The files beside this one are test input. Two pages exist in two forms, the web page's and its Markdown source.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.goldens import Golden
from tests.stored_messages import INBOUND_SMS
from tocsin.domain.directory import Extension, ExtensionStatus, Role
from tocsin.domain.event_filter import parse_event_filter
from tocsin.domain.ids import AccountId, ExtensionId, MessageId, SubscriptionId
from tocsin.domain.message import MessageType, Party
from tocsin.domain.notification import ChangeSummary
from tocsin.storage.messages import text_part
from tocsin.wire.announcements import render_announcement
from tocsin.wire.events import Envelope, render_message_store_body
from tocsin.wire.times import parse_time, render_time

SAMPLES = Path(__file__).parent

Repair = Callable[[str], str]


def drop_the_ellipsis(text: str) -> str:
    """An element `{...}` stands for more of the same."""
    return text.replace("{...}", "")


def separate_elements(text: str) -> str:
    """A comma is missing between two elements of a list."""
    return re.sub(r"\}(\s*)\{", r"},\1{", text)


def drop_trailing_commas(text: str) -> str:
    """A comma follows the last element."""
    return re.sub(r",(\s*[}\]])", r"\1", text)


def open_the_object(text: str) -> str:
    """The first brace is missing."""
    return "{\n" + text


def finish_what_is_cut_off(text: str) -> str:
    """The text ends as an element begins."""
    return text.rstrip().removesuffix("{") + "]}}"


REPAIRS: dict[str, list[Repair]] = {
    "message-event-web": [open_the_object, separate_elements, finish_what_is_cut_off, drop_trailing_commas],
    "message-event-markdown": [drop_the_ellipsis, separate_elements, drop_trailing_commas],
    "instant-message-event-web": [],
    "instant-message-event-markdown": [drop_trailing_commas],
}


def sample(name: str) -> str:
    return (SAMPLES / f"{name}.txt").read_text()


def repaired(name: str, *, without: Repair | None = None) -> dict[str, object]:
    text = sample(name)
    for repair in REPAIRS[name]:
        if repair is not without:
            text = repair(text)
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


def leaves(value: object, path: str = "") -> dict[str, object]:
    """Every value that is neither object nor list, by its path."""
    if isinstance(value, dict):
        inner = [(f"{path}.{name}".lstrip("."), one) for name, one in value.items()]
    elif isinstance(value, list):
        inner = [(f"{path}[{number}]", one) for number, one in enumerate(value)]
    else:
        return {path: value}
    return {name: leaf for at, one in inner for name, leaf in leaves(one, at).items()}


def enveloped(shown: dict[str, object], mailbox: ExtensionId, body: bytes) -> dict[str, object]:
    """Our notification of the sample's event, with the sample's own ids and times."""
    wanted = parse_event_filter(str(shown["event"]), AccountId(mailbox), mailbox)
    envelope = Envelope(wanted.text, SubscriptionId(str(shown["subscriptionId"])), mailbox)
    ours = json.loads(envelope.around(body, str(shown["uuid"]), parse_time(str(shown["timestamp"]))))
    assert isinstance(ours, dict)
    return ours


def differing(shown: dict[str, object], ours: dict[str, object]) -> dict[str, object]:
    """What the sample shows and we say otherwise; a field that we leave out fails outright."""
    emitted = leaves(ours)
    return {path: emitted[path] for path, value in leaves(shown).items() if emitted[path] != value}


@pytest.mark.parametrize("name", [name for name, repairs in REPAIRS.items() if repairs])
def test_a_sample_is_no_json_until_every_fault_is_repaired(name: str) -> None:
    with pytest.raises(json.JSONDecodeError):
        json.loads(sample(name))
    for repair in REPAIRS[name]:
        with pytest.raises(json.JSONDecodeError):
            repaired(name, without=repair)
    assert repaired(name)["body"]


def test_the_web_page_of_the_instant_event_shows_a_voicemail() -> None:
    shown = repaired("instant-message-event-web")
    body = shown["body"]
    assert isinstance(body, dict)
    assert str(shown["event"]).endswith("/voicemail")
    assert body["type"] == MessageType.VOICEMAIL
    assert "/message-store/instant?type=SMS" not in sample("instant-message-event-web")


def test_the_message_event_s_times_end_in_an_offset_and_ours_in_z() -> None:
    for name in ("message-event-web", "message-event-markdown"):
        text = str(repaired(name)["timestamp"])
        assert text == "2014-04-29T14:29:27.408+0000"
        assert render_time(parse_time(text)) == "2014-04-29T14:29:27.408Z"


def test_the_instant_event_s_attachment_points_at_another_message() -> None:
    body = repaired("instant-message-event-markdown")["body"]
    assert isinstance(body, dict)
    assert f"/message-store/{body['id']}/" not in body["attachments"][0]["uri"]


@pytest.mark.parametrize("name", ["message-event-web", "message-event-markdown"])
def test_we_emit_all_that_the_message_event_shows(name: str, golden: Golden) -> None:
    shown = repaired(name)
    mailbox = ExtensionId(406149828004)
    changes = [
        ChangeSummary(MessageType.PAGER, (), 1),
        ChangeSummary(MessageType.SMS, (MessageId(406149828999),), 0),
    ]
    at_ms = parse_time("2014-04-29T14:29:20.531+0000")
    ours = enveloped(shown, mailbox, render_message_store_body(AccountId(mailbox), mailbox, at_ms, changes))
    assert differing(shown, ours) == {
        "event": "/restapi/v1.0/account/406149828004/extension/406149828004/message-store",
        "timestamp": "2014-04-29T14:29:27.408Z",
        "body.lastUpdated": "2014-04-29T14:29:20.531Z",
    }
    golden("notification/seed-message-event", ours)


def test_we_emit_all_that_the_instant_event_shows(golden: Golden) -> None:
    shown = repaired("instant-message-event-markdown")
    mailbox, at_ms = ExtensionId(823476228762), parse_time("2016-02-22T17:01:00.000Z")
    message = replace(
        INBOUND_SMS,
        account_id=AccountId(mailbox),
        extension_id=mailbox,
        message_id=MessageId(606090030016),
        created_ms=at_ms,
        modified_ms=at_ms,
        sender=Party(phone_number="+14157809227", name="John Smith"),
        recipients=(Party(phone_number="+16508974563", location="Moss Beach, CA", target=True),),
        text="Hi there",
        attachments=(text_part(MessageId(606090030016), "Hi there"),),
        conversation_id=7876416245344257449,
    )
    owner = Extension(
        message.account_id, mailbox, "101", "Jane Doe", None, Role.USER, ExtensionStatus.ENABLED, frozenset()
    )
    ours = enveloped(shown, mailbox, render_announcement(message, owner, "https://tocsin.example"))
    store = "/restapi/v1.0/account/823476228762/extension/823476228762/message-store"
    assert differing(shown, ours) == {
        "event": f"{store}/instant?type=SMS",
        "body.attachments[0].uri": f"https://tocsin.example{store}/606090030016/content/606090030016",
        "body.attachments[0].size": 8,
    }
    golden("notification/seed-instant-sms", ours)
