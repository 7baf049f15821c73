"""The sandbox's page: credentials to copy, the mailboxes with their latest messages, the latest deliveries.

Rendered here, whole; a few lines of script fetch the moving part again. What a stranger may have written is escaped,
and the policy lets nothing run but that script. It is for the sandbox only, where there is no login.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from typing import Protocol

from tocsin.console.look import ICON, SCRIPT, STYLE
from tocsin.domain.attempt import AttemptRecord, Delivered
from tocsin.domain.clock import to_datetime
from tocsin.domain.message import AttachmentType, Direction, Message, Party, ReadStatus

MESSAGES_SHOWN = 8
ATTEMPTS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An extension and the latest of its messages, newest first."""

    extension_number: str
    name: str
    phone_numbers: tuple[str, ...]
    messages: Sequence[Message]


class Mailboxes(Protocol):
    """Who knows the extensions and what came in."""

    async def mailboxes(self, messages: int) -> Sequence[Mailbox]:
        """Every extension in order of its number, each with at most so many messages."""
        ...


class Attempts(Protocol):
    """Who keeps what was delivered, and what was not."""

    async def last_attempts(self, count: int) -> Sequence[AttemptRecord]:
        """The latest attempts of all subscriptions, newest first."""
        ...


def _source(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


POLICY = (
    f"default-src 'none'; script-src {_source(SCRIPT)}; style-src {_source(STYLE)}; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page's Content-Security-Policy: its own script and style, by their hashes, and nothing else."""


class ConsolePage:
    """Renders the page. `credentials` are the lines of the env file, in its order."""

    def __init__(self, credentials: Sequence[tuple[str, str]], mailboxes: Mailboxes, attempts: Attempts) -> None:
        self._credentials = credentials
        self._mailboxes = mailboxes
        self._attempts = attempts

    @property
    def policy(self) -> str:
        """The Content-Security-Policy that goes with the page."""
        return POLICY

    async def whole(self) -> bytes:
        """Return the page as an HTML document."""
        lines = "\n".join(f"<b>{escape(name)}</b>={escape(value)}" for name, value in self._credentials)
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<title>Tocsin console</title><link rel="icon" href="{ICON}"><style>{STYLE}</style></head><body>'
            '<header><h1>Tocsin</h1><small id="state">Sandbox on this machine; refreshed every 2 s.</small></header>'
            "<main><section><h2>Credentials</h2>"
            f'<div class="card copyable"><pre>{lines}</pre><button type="button">Copy</button></div></section>'
            f"<section><h2>Send yourself a message</h2>{self._try_it()}</section>"
            f'<div id="live">{(await self.live()).decode()}</div></main><script>{SCRIPT}</script></body></html>'
        ).encode()

    async def live(self) -> bytes:
        """Return the part of the page that changes, as a fragment of HTML."""
        boxes = await self._mailboxes.mailboxes(MESSAGES_SHOWN)
        attempts = await self._attempts.last_attempts(ATTEMPTS_SHOWN)
        return (
            f'<section><h2>Mailboxes</h2><div class="cards">{"".join(map(_mailbox, boxes))}</div></section>'
            f"<section><h2>Last delivery attempts</h2>{_attempts(attempts)}</section>"
        ).encode()

    def _try_it(self) -> str:
        command = (
            'curl -X POST "$RINGCENTRAL_SERVER_URL/tocsin/v1/inbound/sms" \\\n'
            '  -H "Authorization: Bearer $TOCSIN_ADMIN_TOKEN" -H "Content-Type: application/json" \\\n'
            '  -d \'{"from": "+14155550123", "to": ["\'"$RINGCENTRAL_RECEIVER"\'"], "text": "Hello"}\''
        )
        return f'<div class="card copyable"><pre>{escape(command)}</pre><button type="button">Copy</button></div>'


def _mailbox(box: Mailbox) -> str:
    numbers = " · ".join(escape(number) for number in box.phone_numbers)
    messages = "".join(map(_message, box.messages))
    listed = f"<ol>{messages}</ol>" if messages else '<p class="soft">No messages yet.</p>'
    return (
        f'<article class="card"><h3>{escape(box.extension_number)} {escape(box.name)}</h3>'
        f"<small>{numbers}</small>{listed}</article>"
    )


def _message(message: Message) -> str:
    inbound = message.direction is Direction.INBOUND
    others = [message.sender] if inbound else list(message.recipients)
    names = ", ".join(escape(_who(party)) for party in others)
    media = sum(part.type is not AttachmentType.TEXT for part in message.attachments)
    extra = f" · {media} attachment{'s' if media > 1 else ''}" if media else ""
    unread = ' class="unread"' if inbound and message.read_status is ReadStatus.UNREAD else ""
    return (
        f"<li{unread}><h4>{'from' if inbound else 'to'} {names}</h4>"
        f"<small>{message.type} · {message.message_status}{extra} · {_time(message.created_ms)}</small>"
        f"<p>{escape(message.text or '')}</p></li>"
    )


def _who(party: Party) -> str:
    number = party.phone_number or party.extension_number or "unknown"
    return f"{party.name} ({number})" if party.name else number


def _attempts(attempts: Sequence[AttemptRecord]) -> str:
    if not attempts:
        return '<p class="soft">Nothing was delivered yet: there is no subscription, or nothing has happened.</p>'
    rows = "".join(map(_attempt, attempts))
    head = "<th>Started</th><th>Event</th><th>Number</th><th>Outcome</th><th>Took</th><th>Next</th>"
    return f'<div class="card scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _attempt(attempt: AttemptRecord) -> str:
    outcome = attempt.outcome
    if isinstance(outcome, Delivered):
        said = f'<span class="good">delivered, {outcome.http_status}</span>'
    else:
        said = f'<span class="bad">{escape(outcome.kind)}: {escape(outcome.detail)}</span>'
    following = "" if attempt.next_attempt_ms is None else _time(attempt.next_attempt_ms)
    return (
        f'<tr><td>{_time(attempt.started_ms)}</td><td class="long"><code>{escape(attempt.event)}</code></td>'
        f'<td>{attempt.number}</td><td class="long">{said}</td>'
        f"<td>{outcome.duration_ms} ms</td><td>{following}</td></tr>"
    )


def _time(at_ms: int) -> str:
    at = to_datetime(at_ms)
    return f'<time datetime="{at:%Y-%m-%dT%H:%M:%SZ}">{at:%b %d %H:%M:%S} UTC</time>'
