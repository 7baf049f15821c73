"""What the notifier asks of other rooms: the transport, the owner's rights, the record of attempts, blacklisting.

Protocols only; server/ supplies the answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tocsin.domain.attempt import AttemptRecord, Outcome
from tocsin.domain.delivery import Delivery
from tocsin.domain.ids import ExtensionId
from tocsin.domain.subscription import Subscription


class Transport(Protocol):
    """Gets notifications to receivers."""

    def send(self, delivery: Delivery, done: Callable[[Outcome], None]) -> None:
        """Start sending and return; `done` is called once, on the loop, at once or later. Must not raise."""
        ...

    async def probe(self, subscription: Subscription) -> Outcome:
        """Repeat the handshake with the subscription's receiver."""
        ...


class Rights(Protocol):
    """Whether owners may still receive, from caches."""

    def may_receive(self, subscription: Subscription, mailbox: ExtensionId) -> bool:
        """Whether the subscription's owner and app may be told about `mailbox` now."""
        ...


class AttemptSink(Protocol):
    """Keeps attempts."""

    def record(self, attempt: AttemptRecord) -> None:
        """Take note of an attempt that has ended. Must not block."""
        ...


class Blacklisting(Protocol):
    """Changes a subscription's status; the log then tells everyone."""

    async def blacklist(self, subscription: Subscription, reason: str) -> None:
        """Make it Blacklisted, for a reason that a person can act on."""
        ...

    async def recover(self, subscription: Subscription) -> None:
        """Make it Active again."""
        ...


@dataclass(frozen=True, slots=True)
class Outside:
    """All four together."""

    transport: Transport
    rights: Rights
    attempts: AttemptSink
    blacklisting: Blacklisting
