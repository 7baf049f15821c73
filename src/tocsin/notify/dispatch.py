"""Sending: a lane that is ready gets its next batch cut, rendered and handed to the transport, one at a time.

Runs for every notification: no task, no log line. What a failure means for the subscription is decided in outages.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never, cast

from tocsin.domain.attempt import AttemptRecord, Delivered, Failed, Outcome, Withheld
from tocsin.domain.clock import Clock
from tocsin.domain.delivery import Delivery
from tocsin.domain.entry import MessageChange, Notice
from tocsin.notify.account import Account
from tocsin.notify.catchup import CatchUp
from tocsin.notify.envelopes import NO_MAILBOX, Rendered, Renderer
from tocsin.notify.index import CompiledFilter
from tocsin.notify.lane import Batch, Lane
from tocsin.notify.outages import Outages
from tocsin.notify.outside import Outside
from tocsin.notify.ready import ReadyLanes

RIGHTS_LOST = "The owner may not read the messages of extension {mailbox} any more."
SET_ASIDE = "It failed for too long while other notifications arrived; the last error was: {error}."
LOG_TRIMMED = "The log no longer holds all entries of this notification."


class Dispatch:
    """Serves the ready lanes. `touched` is told of each account whose positions have moved."""

    def __init__(
        self,
        outside: Outside,
        renderer: Renderer,
        clock: Clock,
        ready: ReadyLanes,
        catch_up: CatchUp,
        outages: Outages,
        touched: Callable[[Account], None],
    ) -> None:
        self._outside = outside
        self._renderer = renderer
        self._clock = clock
        self._ready = ready
        self._catch_up = catch_up
        self._outages = outages
        self._touched = touched
        self._on_quiet: Callable[[], None] | None = None
        self.in_flight = 0
        ready.serve_with(self._serve)

    def stop(self, on_quiet: Callable[[], None]) -> None:
        """Start nothing new; `on_quiet` is called once nothing is in flight."""
        self._on_quiet = on_quiet
        if self.in_flight == 0:
            on_quiet()

    def _serve(self, lane: Lane) -> None:
        subscriber = lane.subscriber
        if lane.closed or lane.busy or self._on_quiet is not None:
            return
        now_ms = self._clock.now_ms()
        if lane.empty:
            self._finish(lane)
        elif subscriber.over(now_ms) or not subscriber.may_send(lane):
            # What is over by the clock may have been renewed just before: the log says which, and drops it then.
            self._outages.wait(lane)
            self._touched(subscriber.account)
        else:
            self._advance(lane, now_ms)

    def _advance(self, lane: Lane, now_ms: int) -> None:
        """Send the lane's next batch, or get what is missing for it."""
        batch = lane.batch
        if batch is None:
            if not lane.pending:
                self._catch_up.ask(lane)
                return
            batch = lane.cut()
        elif batch.frozen and batch.next_attempt_ms > now_ms and lane.subscriber.prober is not lane:
            self._outages.schedule(lane.subscriber)
            return
        if batch.entries is None:
            self._catch_up.ask(lane)
        elif not batch.entries:
            self._vanished(lane)
        elif not self._may_receive(lane):
            self._skip(lane, batch, RIGHTS_LOST.format(mailbox=lane.source.mailbox), now_ms)
        elif lane.source.coalesces and (
            batch.entries[0].seq != batch.first_seq or batch.entries[-1].seq != batch.last_seq
        ):
            # Its bounds can't change. The gap of what is missing came with the trimming; this is the one of the rest.
            self._skip(lane, batch, LOG_TRIMMED, now_ms, batch.entries[0].seq)
        else:
            self._send(lane, batch, now_ms)

    def _send(self, lane: Lane, batch: Batch, now_ms: int) -> None:
        subscriber = lane.subscriber
        event, rendered = self._render(lane, batch)
        flight = _Flight(self, lane, batch, event, rendered.uuid, now_ms)
        batch.in_flight = True
        subscriber.active += 1
        self.in_flight += 1
        self._outside.transport.send(
            Delivery(
                subscriber.subscription,
                event,
                lane.source.mailbox,
                rendered.uuid,
                rendered.envelope,
                batch.first_seq,
                batch.last_seq,
                batch.attempts + 1,
            ),
            flight.done,
        )

    def landed(self, flight: _Flight, outcome: Outcome) -> None:
        """A send has ended."""
        lane, batch = flight.lane, flight.batch
        batch.in_flight = False
        lane.subscriber.active -= 1
        self.in_flight -= 1
        number = batch.attempts + 1
        match outcome:
            case Delivered():
                if not lane.closed:
                    self._delivered(lane)
                self._record(flight, outcome, number, None)
            case Failed():
                next_ms = None if lane.closed else self._failed(flight, outcome)
                self._record(flight, outcome, number, next_ms)
            case Withheld():
                if not lane.closed:
                    self._outages.withheld(lane)
            case _:
                assert_never(outcome)
        self._ready.drain()
        if self._on_quiet is not None and self.in_flight == 0:
            self._on_quiet()

    def _delivered(self, lane: Lane) -> None:
        subscriber = lane.subscriber
        lane.finish_batch()
        if subscriber.open_gaps:
            subscriber.open_gaps.pop(lane.source.key, None)
        self._outages.succeeded(subscriber)
        self._go_on(lane)

    def _failed(self, flight: _Flight, outcome: Failed) -> int | None:
        """Take note of the failure; return when the batch is tried again, None when it is set aside."""
        lane, batch = flight.lane, flight.batch
        account = lane.subscriber.account
        lane.forget_entries()
        next_ms: int | None = None
        if self._outages.failed(lane, batch, outcome, flight.probing):
            error = outcome.detail or outcome.kind.value
            reason = SET_ASIDE.format(error=error)
            lane.subscriber.skip(lane, batch.first_seq, batch.last_seq, reason, self._clock.now_ms())
            lane.finish_batch()
        else:
            next_ms = batch.next_attempt_ms
        self._outages.after_failure(lane)
        if lane.empty:
            self._finish(lane)
        self._touched(account)
        return next_ms

    def _skip(self, lane: Lane, batch: Batch, reason: str, now_ms: int, first_seq: int | None = None) -> None:
        lane.subscriber.skip(lane, first_seq or batch.first_seq, batch.last_seq, reason, now_ms)
        lane.finish_batch()
        self._go_on(lane)

    def _vanished(self, lane: Lane) -> None:
        """Nothing is left of a batch that was read again: purged, or trimmed from the log; both is recorded there."""
        lane.finish_batch()
        self._go_on(lane)

    def _go_on(self, lane: Lane) -> None:
        account = lane.subscriber.account
        account.completed += 1
        self._touched(account)
        if lane.empty:
            self._finish(lane)
        else:
            self._ready.add(lane)

    def _finish(self, lane: Lane) -> None:
        account = lane.subscriber.account
        account.lanes.pop(lane.source, None)
        lane.closed = True
        self._outages.passed(lane)
        self._touched(account)

    def _may_receive(self, lane: Lane) -> bool:
        mailbox = lane.source.mailbox
        # A notice is about the subscription, not about a mailbox.
        return mailbox == NO_MAILBOX or self._outside.rights.may_receive(lane.subscriber.subscription, mailbox)

    def _render(self, lane: Lane, batch: Batch) -> tuple[str, Rendered]:
        source, entries = lane.source, batch.entries
        if isinstance(source, CompiledFilter):
            return source.event, self._renderer.of_changes(source, cast("list[MessageChange]", entries))
        notice = cast("list[Notice]", entries)[0]
        return notice.event, self._renderer.of_notice(lane.subscriber.subscription, notice)

    def _record(self, flight: _Flight, outcome: Delivered | Failed, number: int, next_ms: int | None) -> None:
        lane, batch = flight.lane, flight.batch
        self._outside.attempts.record(
            AttemptRecord(
                account_id=lane.subscriber.account.account_id,
                subscription_id=lane.source.key.subscription_id,
                notification_uuid=flight.uuid,
                event=flight.event,
                extension_id=lane.source.mailbox,
                first_seq=batch.first_seq,
                last_seq=batch.last_seq,
                number=number,
                started_ms=flight.started_ms,
                outcome=outcome,
                next_attempt_ms=next_ms,
            )
        )


class _Flight:
    """A send that is under way."""

    __slots__ = ("_dispatch", "_over", "batch", "event", "lane", "probing", "started_ms", "uuid")

    def __init__(self, dispatch: Dispatch, lane: Lane, batch: Batch, event: str, uuid: str, started_ms: int) -> None:
        self._dispatch = dispatch
        self._over = False
        self.lane = lane
        self.batch = batch
        self.event = event
        self.uuid = uuid
        self.started_ms = started_ms
        self.probing = lane.subscriber.prober is lane

    def done(self, outcome: Outcome) -> None:
        """Take the outcome; a second one is ignored."""
        if not self._over:
            self._over = True
            self._dispatch.landed(self, outcome)
