"""From a batch to the notification on the wire and the uuid that names it through every retry.

The same batch gives the same uuid and body at any time, on any node; only the envelope's timestamp differs. Sends
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

from tocsin.domain.clock import Clock
from tocsin.domain.entry import MessageChange, Notice
from tocsin.domain.ids import ExtensionId
from tocsin.domain.notification import notification_uuid, summarise
from tocsin.domain.subscription import StoredFilter, Subscription
from tocsin.notify.index import CompiledFilter
from tocsin.wire.events import RENDERING, Envelope, render_message_store_body

NO_MAILBOX = ExtensionId(0)


class Rendered(NamedTuple):
    """A notification ready to be sent: its name, and the whole JSON document."""

    uuid: str
    envelope: bytes


class Renderer:
    """Renders notifications. `key` is the store's own secret (16-64 bytes) behind every uuid."""

    def __init__(self, key: bytes, clock: Clock) -> None:
        self._key = key
        self._clock = clock

    def of_changes(self, compiled: CompiledFilter, batch: Sequence[MessageChange]) -> Rendered:
        """Render a batch (one change or more, in seq order) of one filter, to be sent now."""
        first, last = batch[0], batch[-1]
        if compiled.coalesces:
            rendering = RENDERING
            body = render_message_store_body(last.account_id, compiled.mailbox, last.at_ms, summarise(batch))
        else:
            # Frozen at commit; a filter of single announcements never matches a change without one.
            rendering, body = "", cast(bytes, first.announcement)
        uuid = notification_uuid(
            self._key,
            compiled.key.subscription_id,
            compiled.event,
            compiled.mailbox,
            first.seq,
            last.seq,
            rendering,
        )
        return Rendered(uuid, compiled.envelope.around(body, uuid, self._clock.now_ms()))

    def of_stored(self, subscription: Subscription, stored: StoredFilter, batch: Sequence[MessageChange]) -> Rendered:
        """Render the same for a stored filter that was not compiled."""
        return self.of_changes(CompiledFilter(subscription, stored), batch)

    def of_notice(self, subscription: Subscription, notice: Notice) -> Rendered:
        """Render a notice to `subscription`, to be sent now."""
        uuid = notification_uuid(self._key, notice.subscription_id, notice.event, NO_MAILBOX, notice.seq, notice.seq)
        envelope = Envelope(notice.event, notice.subscription_id, subscription.owner)
        return Rendered(uuid, envelope.around(notice.body, uuid, self._clock.now_ms()))
