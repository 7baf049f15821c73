"""Outages: what failures and successes mean for a subscription, when it is tried again, and when it is given up.

While an outage lasts, its waiting lanes take turns to probe; a success ends it; ten minutes unbroken make the
subscription Blacklisted, after which only handshakes are tried. Sends no notification itself.
Source: RC documents no schedule; see domain/retry.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random

from tocsin.domain.attempt import Delivered, Failed
from tocsin.domain.clock import Clock
from tocsin.domain.retry import RetrySchedule, next_wait_ms
from tocsin.domain.subscription import Outage, SubscriptionStatus
from tocsin.log.turns import Turns
from tocsin.notify.account import Account
from tocsin.notify.due import DueTimes
from tocsin.notify.lane import Batch, Lane
from tocsin.notify.outside import Outside
from tocsin.notify.ready import ReadyLanes
from tocsin.notify.subscriber import Subscriber
from tocsin.telemetry.logs import get_logger

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RetryRules:
    """The schedule, and the dice of its jitter: random in [0, 1)."""

    schedule: RetrySchedule = field(default_factory=RetrySchedule)
    roll: Callable[[], float] = Random().random  # noqa: S311  # spreads load, guards nothing


class Outages:
    """The rules of all subscriptions' outages. `touched` is told of accounts whose stored outages are out of date."""

    def __init__(
        self,
        outside: Outside,
        clock: Clock,
        rules: RetryRules,
        ready: ReadyLanes,
        due: DueTimes,
        calls: Turns,
        touched: Callable[[Account], None],
    ) -> None:
        self._transport = outside.transport
        self._blacklisting = outside.blacklisting
        self._touched = touched
        self._clock = clock
        self._rules = rules
        self._ready = ready
        self._due = due
        self._calls = calls

    def changed(self, subscriber: Subscriber) -> None:
        """The subscription was loaded, or read again after a change: go by what it is now."""
        subscription = subscriber.subscription
        if subscriber.blacklisted and subscriber.outage is None:
            since_ms = subscription.blacklisted_ms or self._clock.now_ms()
            next_ms = since_ms + self._rules.schedule.probe_every_ms
            subscriber.outage = Outage(since_ms, 0, next_ms, subscription.blacklist_reason or "")
        self.release(subscriber)

    def succeeded(self, subscriber: Subscriber) -> None:
        """A delivery arrived: an outage is over."""
        subscriber.last_success_ms = self._clock.now_ms()
        if subscriber.outage is not None:
            self.end(subscriber)

    def end(self, subscriber: Subscriber) -> None:
        """Let every lane that waits for the subscription go on."""
        subscriber.outage = None
        subscriber.prober = None
        self.release(subscriber)

    def release(self, subscriber: Subscriber) -> None:
        """Let the waiting lanes be looked at again."""
        waiting, subscriber.waiting = subscriber.waiting, {}
        for lane in waiting:
            self._ready.add(lane)
        self.schedule(subscriber)

    def failed(self, lane: Lane, batch: Batch, outcome: Failed, probing: bool) -> bool:
        """A delivery failed: keep its bounds, begin or lengthen the outage; whether the batch is to be set aside.

        A send that began before the outage did says nothing new about the receiver and does not lengthen it.
        """
        subscriber, now_ms, schedule = lane.subscriber, self._clock.now_ms(), self._rules.schedule
        roll = self._rules.roll()
        batch.attempts += 1
        batch.failing_since_ms = batch.failing_since_ms or now_ms
        batch.next_attempt_ms = now_ms + next_wait_ms(schedule, batch.attempts, roll, outcome.retry_after_s)
        outage = subscriber.outage
        error = outcome.detail or outcome.kind.value
        if outage is None or probing:
            attempts = 1 if outage is None else outage.attempts + 1
            since_ms = now_ms if outage is None else outage.failing_since_ms
            wait_ms = next_wait_ms(schedule, attempts, roll, outcome.retry_after_s)
            subscriber.outage = Outage(since_ms, attempts, now_ms + wait_ms, error)
        return (
            now_ms - batch.failing_since_ms >= schedule.set_aside_after_ms
            and subscriber.last_success_ms > batch.failing_since_ms
        )

    def after_failure(self, lane: Lane) -> None:
        """Let `lane` wait its turn, and give the receiver up when it has failed for too long."""
        subscriber = lane.subscriber
        if subscriber.prober is lane:
            subscriber.prober = None
        lane.spill()
        subscriber.waiting.pop(lane, None)
        if not lane.empty:
            subscriber.waiting[lane] = None
        outage = subscriber.outage
        lasted_ms = 0 if outage is None else self._clock.now_ms() - outage.failing_since_ms
        if lasted_ms >= self._rules.schedule.blacklist_after_ms and not (subscriber.calling or subscriber.blacklisted):
            self._call(subscriber, self._blacklist)
        self.schedule(subscriber)

    def withheld(self, lane: Lane) -> None:
        """The transport would not send: the batch stays due, at the next probe or change."""
        if lane.subscriber.prober is lane:
            self._probe_in(lane.subscriber, self._rules.schedule.first_ms)
        self.wait(lane)

    def wait(self, lane: Lane) -> None:
        """Let `lane` wait until its subscription can send again."""
        subscriber = lane.subscriber
        if subscriber.prober is lane:
            subscriber.prober = None
        lane.spill()
        subscriber.waiting[lane] = None
        if subscriber.outage is not None:
            self.schedule(subscriber)

    def schedule(self, subscriber: Subscriber) -> None:
        """Work out when the subscription is to be looked at next."""
        self._due.put(subscriber, self._next_ms(subscriber))

    def woken(self, subscriber: Subscriber) -> None:
        """Its due time has come: probe, shake hands, or let batches go whose own time has come."""
        if self._rests(subscriber):
            return
        if subscriber.blacklisted:
            self._call(subscriber, self._shake_hands)
        elif subscriber.outage is not None:
            self.probe(subscriber)
        else:
            for lane in subscriber.lanes():
                self._ready.add(lane)

    def probe(self, subscriber: Subscriber) -> None:
        """Let the waiting lane whose turn it is send, though the outage lasts."""
        if subscriber.outage is None or subscriber.prober is not None:
            return
        now_ms = self._clock.now_ms()
        chosen = next((lane for lane in subscriber.waiting if _free_at(lane) <= now_ms), None)
        if chosen is None:
            self.schedule(subscriber)
            return
        del subscriber.waiting[chosen]
        subscriber.prober = chosen
        self._ready.add(chosen)

    def passed(self, lane: Lane) -> None:
        """`lane` has nothing to send after all: the next one probes."""
        subscriber = lane.subscriber
        subscriber.waiting.pop(lane, None)
        if subscriber.prober is lane:
            subscriber.prober = None
            self.probe(subscriber)

    def _rests(self, subscriber: Subscriber) -> bool:
        """Whether nothing is to be tried now: a change of it, or the end of a call, will say so."""
        return (
            subscriber.gone
            or subscriber.subscription.paused
            or subscriber.calling
            or subscriber.over(self._clock.now_ms())
        )

    def _next_ms(self, subscriber: Subscriber) -> int | None:
        if self._rests(subscriber):
            return None
        outage = subscriber.outage
        if subscriber.blacklisted:
            return None if outage is None else outage.next_probe_ms
        if outage is None:
            times = [
                lane.batch.next_attempt_ms
                for lane in subscriber.lanes()
                if lane.batch is not None and lane.batch.frozen and not lane.busy
            ]
            return min(times, default=None)
        if subscriber.prober is not None or not subscriber.waiting:
            return None
        free = any(_free_at(lane) == 0 for lane in subscriber.waiting)
        return max(outage.next_probe_ms, 0 if free else min(map(_free_at, subscriber.waiting)))

    def _call(self, subscriber: Subscriber, call: Callable[[Subscriber], Awaitable[None]]) -> None:
        subscriber.calling = True
        subscriber.active += 1
        self._calls.ask(partial(self._run, subscriber, call))

    async def _run(self, subscriber: Subscriber, call: Callable[[Subscriber], Awaitable[None]]) -> None:
        try:
            await call(subscriber)
        except Exception:
            log.exception("outage.call_failed", subscription_id=subscriber.subscription.subscription_id)
            self._probe_in(subscriber, self._rules.schedule.longest_ms)
        finally:
            subscriber.calling = False
            subscriber.active -= 1
        self._touched(subscriber.account)
        self.release(subscriber)
        self._ready.drain()

    async def _blacklist(self, subscriber: Subscriber) -> None:
        outage = subscriber.outage
        if outage is None or subscriber.gone:
            return
        minutes = (self._clock.now_ms() - outage.failing_since_ms) // 60_000
        every = self._rules.schedule.probe_every_ms // 60_000
        reason = (
            f"Nothing could be delivered for {minutes} minutes ({outage.attempts} attempts); the last error was: "
            f"{outage.last_error}. Once the address answers the validation request again, which is tried every "
            f"{every} minutes and whenever the subscription is renewed, everything missed follows."
        )
        known = subscriber.subscription
        await self._blacklisting.blacklist(known, reason)
        if subscriber.subscription is known:
            # The log will say the same; until that is read nothing may be sent.
            subscriber.subscription = replace(known, status=SubscriptionStatus.BLACKLISTED)
        self._probe_in(subscriber, self._rules.schedule.probe_every_ms)

    async def _shake_hands(self, subscriber: Subscriber) -> None:
        if subscriber.gone or subscriber.over(self._clock.now_ms()):
            return
        outcome = await self._transport.probe(subscriber.subscription)
        if isinstance(outcome, Delivered):
            known = subscriber.subscription
            await self._blacklisting.recover(known)
            if subscriber.subscription is known:
                subscriber.subscription = replace(known, status=SubscriptionStatus.ACTIVE)
            subscriber.outage = subscriber.prober = None
        else:
            error = outcome.detail if isinstance(outcome, Failed) else None
            self._probe_in(subscriber, self._rules.schedule.probe_every_ms, error)

    def _probe_in(self, subscriber: Subscriber, wait_ms: int, error: str | None = None) -> None:
        outage = subscriber.outage
        if outage is not None:
            subscriber.outage = replace(
                outage,
                attempts=outage.attempts + (error is not None),
                next_probe_ms=self._clock.now_ms() + wait_ms,
                last_error=error or outage.last_error,
            )


def _free_at(lane: Lane) -> int:
    """From when on the lane may probe: a batch that failed waits for its own time."""
    return lane.batch.next_attempt_ms if lane.batch is not None and lane.batch.frozen else 0
