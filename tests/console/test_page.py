from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser

import pytest

from tests.stored_messages import ACCOUNT, CREATED_MS, INBOUND_SMS, MAILBOX, media
from tocsin.console.page import ConsolePage, Mailbox
from tocsin.domain.attempt import AttemptRecord, Delivered, Failed, FailureKind
from tocsin.domain.ids import SubscriptionId
from tocsin.domain.message import Direction, Message, Party

EVIL = "<script>alert(1)</script>"
DELIVERED = AttemptRecord(
    ACCOUNT,
    SubscriptionId("s-1"),
    "u-1",
    f"/restapi/v1.0/account/{ACCOUNT}/extension/{MAILBOX}/message-store",
    MAILBOX,
    1,
    1,
    1,
    CREATED_MS,
    Delivered(200, 12),
    None,
)
FAILED = replace(
    DELIVERED, outcome=Failed(FailureKind.CONNECT, f"refused {EVIL}", 3), next_attempt_ms=CREATED_MS + 1000, number=2
)


class Data:
    """One mailbox and two attempts, cut to what is asked for."""

    def __init__(self, messages: Sequence[Message] = (), attempts: Sequence[AttemptRecord] = ()) -> None:
        self.messages = messages
        self.attempts = attempts

    async def mailboxes(self, messages: int) -> Sequence[Mailbox]:
        return [Mailbox("101", f"Ann {EVIL}", ("+16505550101",), self.messages[:messages])]

    async def last_attempts(self, count: int) -> Sequence[AttemptRecord]:
        return self.attempts[:count]


class Wellformed(HTMLParser):
    """Fails on a tag that is closed out of order; keeps what the page would load."""

    VOID = frozenset({"meta", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.scripts = 0
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(page: bytes) -> Wellformed:
    parser = Wellformed()
    parser.feed(page.decode())
    assert parser.open == []
    return parser


def page(data: Data) -> ConsolePage:
    return ConsolePage([("RINGCENTRAL_CLIENT_ID", "app&1"), ("TOCSIN_ADMIN_TOKEN", "t-1")], data, data)


@pytest.mark.anyio
async def test_the_page_shows_credentials_mailboxes_and_attempts() -> None:
    shown = (await page(Data([INBOUND_SMS], [DELIVERED, FAILED])).whole()).decode()
    for text in (
        "<b>RINGCENTRAL_CLIENT_ID</b>=app&amp;1\n<b>TOCSIN_ADMIN_TOKEN</b>=t-1",
        "+16505550101",
        "from Jane Doe (+14155550199)",
        "Grüße 👋",
        "SMS · Received",
        "Jan 15 08:00:00 UTC",
        "delivered, 200",
        "12 ms",
        "connection failed: refused",
    ):
        assert text in shown


@pytest.mark.anyio
async def test_an_empty_sandbox_says_so() -> None:
    shown = (await page(Data()).live()).decode()
    assert "No messages yet." in shown
    assert "Nothing was delivered yet" in shown


@pytest.mark.anyio
async def test_what_strangers_wrote_is_text() -> None:
    evil = replace(INBOUND_SMS, text=EVIL, sender=Party(phone_number=EVIL, name=EVIL))
    found = parsed(await page(Data([evil], [replace(FAILED, event=EVIL)])).whole())
    assert found.scripts == 1


@pytest.mark.anyio
async def test_nothing_is_loaded_from_anywhere_and_only_our_script_may_run() -> None:
    console = page(Data([INBOUND_SMS], [DELIVERED]))
    shown = await console.whole()
    assert all(load.startswith("data:") for load in parsed(shown).loads)
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        inside = re.search(f"<{tag}>(.*?)</{tag}>", shown.decode(), re.DOTALL)
        assert inside is not None
        digest = b64encode(sha256(inside[1].encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in console.policy
    assert "unsafe" not in console.policy


@pytest.mark.anyio
async def test_sent_messages_name_their_recipients_and_media_are_counted() -> None:
    parts = (*INBOUND_SMS.attachments, media(1), media(2))
    sent = replace(INBOUND_SMS, direction=Direction.OUTBOUND, attachments=parts, text=None)
    shown = (await page(Data([sent])).live()).decode()
    assert "to Ann Admin (+16505550101)" in shown
    assert "2 attachments" in shown
    assert 'class="unread"' not in shown
