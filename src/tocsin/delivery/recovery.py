"""Sessions that have lost their socket: each may be recovered until its window closes, and then expires.

Rows say it durably, so that a restart forgets nothing. An epoch decides who has a session: whoever raised it last.
Source: RC doc notifications/websockets (recoveryTimeout).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from tocsin.domain.clock import Clock
from tocsin.domain.errors import Stale, TocsinError
from tocsin.domain.ids import AccountId, SessionId, SubscriptionId
from tocsin.storage.readers import Readers
from tocsin.storage.unit import MAX_ROWS, Applies, Expect, Unit
from tocsin.storage.websocket_sessions import (
    CLAIM_SESSION,
    DELETE_SESSION,
    DISCONNECT_SESSION,
    SessionRow,
    fetch_sessions_of_gateway,
)
from tocsin.telemetry.logs import get_logger

log = get_logger(__name__)

AT_ONCE = 256
"""Expiries that are written side by side, so that they share commits."""


class SessionSubscriptions(Protocol):
    """The subscription that lives by a session."""

    async def of_session(self, account_id: AccountId, session_id: SessionId) -> SubscriptionId | None:
        """Return the session's active subscription, if it has one."""
        ...

    async def end_of_session(self, account_id: AccountId, session_id: SessionId) -> None:
        """Expire whatever the session subscribed to."""
        ...


@dataclass(frozen=True, slots=True)
class LostSession:
    """A session without a socket. `epoch` is that of its last holder."""

    account_id: AccountId
    session_id: SessionId
    epoch: int
    since_ms: int


class LostSessions:
    """All of them that this process held; a part of the gateway, which is the DueSource."""

    def __init__(
        self, writer: Applies, readers: Readers, clock: Clock, subscriptions: SessionSubscriptions, window_s: int
    ) -> None:
        self._writer = writer
        self._readers = readers
        self._clock = clock
        self._subscriptions = subscriptions
        self._window_ms = window_s * 1000
        self._waiting: dict[SessionId, LostSession] = {}
        self._expiring = asyncio.Lock()

    async def load(self, gateway: str) -> None:
        """Give the sessions that a previous run of `gateway` held their window, from now."""
        now = self._clock.now_ms()
        cut_off: dict[AccountId, list[LostSession]] = {}
        for row in await self._readers.run(fetch_sessions_of_gateway, gateway):
            since = now if row.disconnected_ms is None else row.disconnected_ms
            lost = LostSession(row.account_id, row.session_id, row.epoch, since)
            self._waiting[lost.session_id] = lost
            if row.disconnected_ms is None:
                cut_off.setdefault(lost.account_id, []).append(lost)
        for sessions in cut_off.values():
            for start in range(0, len(sessions), MAX_ROWS):
                await self._write_lost(sessions[start : start + MAX_ROWS], [])

    async def add(self, account_id: AccountId, session_id: SessionId, epoch: int) -> None:
        """The socket of a session is gone: its window opens."""
        lost = LostSession(account_id, session_id, epoch, self._clock.now_ms())
        self._waiting[session_id] = lost
        try:
            await self._write_lost([lost], [_unchanged(lost)])
        except Stale:  # recovered in this very moment: another holds it now
            self._forget(lost)
        except TocsinError as away:  # after a restart its window would begin anew, which takes nothing from anyone
            log.warning("websocket.lost_unwritten", reason=str(away))

    async def _write_lost(self, sessions: Iterable[LostSession], expects: list[Expect]) -> None:
        unit: Unit | None = None
        for one in sessions:
            unit = unit or Unit(one.account_id, expects=expects)
            unit.add(DISCONNECT_SESSION, (one.account_id, one.session_id, one.epoch, one.since_ms))
        if unit is not None:
            await self._writer.apply(unit)

    def recovered(self, session_id: SessionId) -> None:
        """Its epoch has been raised by a new holder here."""
        self._waiting.pop(session_id, None)

    def is_over(self, row: SessionRow) -> bool:
        """Whether its window has closed."""
        return row.disconnected_ms is not None and self._clock.now_ms() > row.disconnected_ms + self._window_ms

    def next_due_ms(self) -> int | None:
        """When the earliest window closes."""
        return min((one.since_ms + self._window_ms + 1 for one in self._waiting.values()), default=None)

    async def run_due(self) -> None:
        """Expire the sessions whose window has closed, with what they subscribed to."""
        async with self._expiring:
            limit = self._clock.now_ms() - self._window_ms
            over = [one for one in self._waiting.values() if one.since_ms < limit]
            for start in range(0, len(over), AT_ONCE):
                await self._expire_all(over[start : start + AT_ONCE])

    async def _expire_all(self, sessions: Sequence[LostSession]) -> None:
        async with asyncio.TaskGroup() as group:
            for one in sessions:
                group.create_task(self._try_to_expire(one))

    async def _try_to_expire(self, lost: LostSession) -> None:
        try:
            await self._expire(lost)
        except TocsinError as away:  # it stays due and is tried again
            log.warning("websocket.expiry_failed", reason=str(away))

    async def _expire(self, lost: LostSession) -> None:
        """End it in an order that a recovery under way, or a crash, can't turn into a session without its subscription.

        The epoch is raised first, which refuses the recovery; the row goes last, so that a restart takes it up again.
        """
        claimed = replace(lost, epoch=lost.epoch + 1)
        unit = Unit(lost.account_id, expects=[_unchanged(lost)])
        unit.add(CLAIM_SESSION, (lost.account_id, lost.session_id, claimed.epoch, lost.since_ms))
        try:
            await self._writer.apply(unit)
        except Stale:
            self._forget(lost)
            return
        self._waiting[lost.session_id] = claimed
        await self._subscriptions.end_of_session(lost.account_id, lost.session_id)
        unit = Unit(lost.account_id)
        unit.add(DELETE_SESSION, (lost.account_id, lost.session_id))
        await self._writer.apply(unit)
        self._forget(claimed)

    def _forget(self, lost: LostSession) -> None:
        if self._waiting.get(lost.session_id) is lost:
            del self._waiting[lost.session_id]


def _unchanged(lost: LostSession) -> Expect:
    return Expect("websocket_session", (lost.session_id,), lost.epoch)
