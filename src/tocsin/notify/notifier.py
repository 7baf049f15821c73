"""The notifier: follows the accounts' logs and sees to it that every subscription of its transport is told.

It wires the parts of this room, loads accounts when they first change or have something left to do, forgets the least
recently used, and holds the order of start and end. Matching, sending and outages are in the files of those names.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from tocsin.domain.clock import Clock
from tocsin.domain.entry import Entry
from tocsin.domain.ids import AccountId, Seq, SubscriptionId
from tocsin.log.follower import Follower
from tocsin.log.sweep import Sweep
from tocsin.log.turns import SetTimer, Turns
from tocsin.notify.account import Account
from tocsin.notify.catchup import CatchUp
from tocsin.notify.dispatch import Dispatch
from tocsin.notify.due import DueTimes
from tocsin.notify.envelopes import Renderer
from tocsin.notify.lane import Budget
from tocsin.notify.loading import Loads
from tocsin.notify.outages import Outages, RetryRules
from tocsin.notify.outside import Outside
from tocsin.notify.positions import PositionWriter
from tocsin.notify.ready import ReadyLanes
from tocsin.notify.subscriber import Subscriber
from tocsin.storage.unit import Applies

MAX_LOADING = 1_000
"""Accounts that wait to be loaded before the sweep waits, too."""


FORGET_TRIES = 8
"""Accounts looked at, for each that is loaded beyond the limit."""


@dataclass(frozen=True, slots=True)
class NotifierSettings:
    """How much it may use, and how it retries.

    `memory_entries` bounds what all lanes keep together, `accounts` what is kept loaded, `readers` how many reads run
    at once, `calls` how many handshakes; `grace_s` is how long the end waits for sends in flight.
    """

    retry: RetryRules = field(default_factory=RetryRules)
    memory_entries: int = 200_000
    accounts: int = 50_000
    readers: int = 4
    calls: int = 64
    grace_s: float = 10.0


class Notifier:
    """One transport's notifier in one process: an EntryListener, a SweepListener and a DueSource."""

    def __init__(
        self,
        loads: Loads,
        writer: Applies,
        outside: Outside,
        renderer: Renderer,
        clock: Clock,
        set_timer: SetTimer,
        settings: NotifierSettings,
    ) -> None:
        self._loads = loads
        self._settings = settings
        self._set_timer = set_timer
        self._accounts: OrderedDict[AccountId, Account] = OrderedDict()
        self._followers: dict[AccountId, Follower] = {}
        self._loading: dict[AccountId, int] = {}
        self._room = asyncio.Event()
        self._stopping = False
        self._budget = Budget(settings.memory_entries)
        self._reading = Turns("notify-read", settings.readers, set_timer)
        self._calls = Turns("notify-call", settings.calls, set_timer)
        self._ready = ReadyLanes()
        self._due = DueTimes(clock, set_timer, self._wake_due)
        self._catch_up = CatchUp(loads, self._reading, self._ready)
        self._positions = PositionWriter(writer, clock)
        self._outages = Outages(
            outside, clock, settings.retry, self._ready, self._due, self._calls, self._positions.touch
        )
        self._dispatch = Dispatch(
            outside, renderer, clock, self._ready, self._catch_up, self._outages, self._positions.touch
        )
        self._sweep = Sweep(loads, self, clock)

    # --- what it shows

    @property
    def accounts(self) -> int:
        """How many accounts are loaded."""
        return len(self._accounts)

    @property
    def lanes(self) -> int:
        """How many lanes have work."""
        return sum(len(account.lanes) for account in self._accounts.values())

    @property
    def lagging_lanes(self) -> int:
        """How many lanes read from the database, not from memory."""
        return sum(lane.behind_to is not None for account in self._accounts.values() for lane in account.lanes.values())

    @property
    def skipped(self) -> int:
        """How many announcements were not sent because their message had been purged."""
        return self._catch_up.skipped

    @property
    def in_flight(self) -> int:
        """How many sends are under way."""
        return self._dispatch.in_flight

    # --- the log

    def read_to(self, account_id: AccountId) -> int | None:
        """Return the seq up to which the account has been matched; None while it is not loaded."""
        follower = self._followers.get(account_id)
        return None if follower is None else follower.position

    def entries(self, account_id: AccountId, entries: Sequence[Entry]) -> None:
        """See `log.tail.EntryListener`."""
        follower = self._followers.get(account_id)
        if follower is not None:
            self._accounts.move_to_end(account_id)
            follower.offer(entries)
        elif not self._stopping:
            self._load(account_id, entries[-1].seq)

    async def reached(self, account_id: AccountId, seq: Seq) -> None:
        """See `log.sweep.SweepListener`."""
        follower = self._followers.get(account_id)
        if follower is not None:
            follower.reached(seq)
            return
        while len(self._loading) >= MAX_LOADING:
            self._room.clear()
            await self._room.wait()
        if not self._stopping:
            self._load(account_id, seq)

    # --- time

    def next_due_ms(self) -> int | None:
        """See `domain.clock.DueSource`."""
        return self._due.next_ms()

    async def run_due(self) -> None:
        """See `domain.clock.DueSource`: retries, probes and handshakes that are due, and the sends that follow."""
        for subscriber in self._wake_due():
            await self._ready.until_idle(subscriber)

    # --- life

    async def run(self) -> None:
        """Work until cancelled. `stop` first ends it in order."""
        async with asyncio.TaskGroup() as group:
            for loop in (self._reading, self._calls, self._positions, self._sweep):
                group.create_task(loop.run(), name=f"notifier-{type(loop).__name__.lower()}")

    async def stop(self) -> None:
        """Start no new send, wait for those in flight, write positions. `run` is to be cancelled after."""
        self._stopping = True
        self._due.close()
        for follower in self._followers.values():
            follower.close()
        self._reading.close()
        self._calls.close()
        quiet = asyncio.Event()
        self._dispatch.stop(quiet.set)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.grace_s):
                await quiet.wait()
        for account in self._accounts.values():
            self._positions.touch(account)
        await self._positions.flush(whole=True)

    async def caught_up(self) -> None:
        """Wait until what the last run left behind is loaded: before that, nothing of it is known to be due."""
        await self._sweep.begun.wait()
        while self._loading:
            self._room.clear()
            await self._room.wait()

    async def flush(self) -> None:
        """Write the positions that have moved, now."""
        await self._positions.flush()

    # --- accounts

    def _wake_due(self) -> list[Subscriber]:
        due = self._due.pop_due()
        for subscriber in due:
            self._outages.woken(subscriber)
        self._ready.drain()
        return due

    def _load(self, account_id: AccountId, seq: int) -> None:
        known = self._loading.get(account_id)
        self._loading[account_id] = max(seq, known or 0)
        if known is None:
            self._reading.ask(partial(self._load_account, account_id))

    async def _load_account(self, account_id: AccountId) -> None:
        stored = await self._loads.account(account_id)
        reached = max(stored.seq, self._loading.pop(account_id))
        if len(self._loading) < MAX_LOADING:
            self._room.set()
        if self._stopping:
            return
        account = Account(stored, self._ready, self._budget, self._reload)
        follower = Follower(account_id, account.read_to, account, self._loads, self._reading, self._set_timer)
        self._accounts[account_id] = account
        self._followers[account_id] = follower
        for subscriber in account.subscribers.values():
            self._outages.changed(subscriber)
        self._positions.touch(account)
        self._ready.drain()
        follower.reached(reached)
        self._forget_oldest()

    def _reload(self, account: Account, ids: Sequence[SubscriptionId]) -> None:
        self._reading.ask(partial(self._reload_subscriptions, account, ids))

    async def _reload_subscriptions(self, account: Account, ids: Sequence[SubscriptionId]) -> None:
        found = await self._loads.subscriptions(account.account_id, ids)
        for subscriber in account.reloaded(ids, found):
            self._outages.changed(subscriber)
        self._positions.touch(account)
        self._ready.drain()
        self._followers[account.account_id].resume()

    def _forget_oldest(self) -> None:
        """Forget the least recently used accounts, should there be too many; those with work left go to the end."""
        for _ in range(min(FORGET_TRIES, len(self._accounts) - self._settings.accounts)):
            account_id, account = next(iter(self._accounts.items()))
            follower = self._followers[account_id]
            if account.idle and follower.caught_up and self._positions.settle(account):
                follower.close()
                del self._accounts[account_id], self._followers[account_id]
            else:
                self._accounts.move_to_end(account_id)
