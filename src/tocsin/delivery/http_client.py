"""The HTTP/1.1 client that sends webhooks: keeps connections open, shares them out, opens more to checked addresses.

Callback style: while a connection is free, sending makes no task and no future. Connections of two accounts are never
shared. Where there are not enough, exchanges wait, first come first served at a receiver, receivers and accounts in
turn (pool.py); the deadline runs meanwhile. Never resolves by itself: the egress guard names the addresses.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from math import inf
from weakref import WeakValueDictionary

from tocsin.delivery.answer import Broken, Stopped
from tocsin.delivery.connection import Connection, Exchange
from tocsin.delivery.egress import Egress, Refused, Unresolved
from tocsin.delivery.pool import Pool, SlotLimits, Slots, Waiting
from tocsin.delivery.target import Target
from tocsin.delivery.wheel import Timer, TimerWheel
from tocsin.domain.attempt import FailureKind
from tocsin.domain.ids import AccountId


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Connections (see SlotLimits), seconds that an unused one is kept, and exchanges of one account that may wait for
    a connection: one more is answered as a failure at once.
    """

    slots: SlotLimits = field(default_factory=SlotLimits)
    idle_s: float = 30.0
    waiting: int = 10_000


class HttpClient:
    """For one event loop; make it inside. `tls` verifies receivers (default: the system's CAs, TLS 1.2 or newer)."""

    def __init__(
        self,
        egress: Egress,
        wheel: TimerWheel,
        *,
        tls: ssl.SSLContext | None = None,
        limits: ClientLimits | None = None,
    ) -> None:
        self._egress = egress
        self._wheel = wheel
        self._tls = tls
        self._limits = limits or ClientLimits()
        self._loop = asyncio.get_running_loop()
        self._slots = Slots(self._limits.slots, self._open)
        self._pools: WeakValueDictionary[tuple[str, str, int, AccountId], Pool] = WeakValueDictionary()
        self._connections: set[Connection] = set()
        self._openings: set[asyncio.Task[None]] = set()
        self._none_open = asyncio.Event()
        self._closing = False
        self.idle_s = self._limits.idle_s

    def pool(self, target: Target, account_id: AccountId) -> Pool:
        """The pool for a receiver and an account; it lives while somebody holds it or a connection of it is open."""
        key = (target.scheme, target.host, target.port, account_id)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = Pool(target, account_id, self._slots.share(account_id))
        return pool

    def start(self, pool: Pool, exchange: Exchange, within_s: float) -> None:
        """Send, now or when a connection is free; the exchange is told within `within_s`, after this returns."""
        now = self._loop.time()
        exchange.started = now
        exchange.due = now + within_s
        if pool.idle and now < pool.fresh_until:
            pool.idle.pop().send(exchange)
        else:
            self._wait(pool, exchange)

    async def close(self, grace_s: float) -> None:
        """Start nothing more, give what is in flight `grace_s` to end, and close. What has not ended gets Stopped."""
        self._closing = True
        for pool in list(self._pools.values()):
            for exchange in list(pool.waiting):
                self._leave(pool, exchange)
                exchange.broke_off(Stopped(), self._loop.time())
        for opening in self._openings:
            opening.cancel()
        await asyncio.gather(*self._openings, return_exceptions=True)
        for connection in list(self._connections):
            if connection.exchange is None:
                connection.close()
        if self._connections:
            with suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self._none_open.wait()
        for connection in list(self._connections):
            late = connection.exchange
            connection.close()
            if late is not None:
                late.broke_off(Stopped(), self._loop.time())

    # --- waiting for a connection -----------------------------------------------------------------------------------

    def _wait(self, pool: Pool, exchange: Exchange, *, fresh_only: bool = False) -> None:
        if self._closing:
            self._loop.call_soon(exchange.broke_off, Stopped(), exchange.started)
            return
        if pool.share.waiting >= self._limits.waiting:
            full = f"{pool.share.waiting} requests of the account wait for a connection already"
            self._loop.call_soon(exchange.broke_off, Broken(FailureKind.CONNECT, full), exchange.started)
            return
        timer = Timer(self._wheel, lambda: self._waited_too_long(pool, exchange, place))
        place = pool.waiting[exchange] = Waiting(timer, fresh_only)
        if fresh_only:
            pool.waiting.move_to_end(exchange, last=False)
        pool.share.waiting += 1
        timer.arm(exchange.due)
        self._slots.want(pool)

    def _leave(self, pool: Pool, exchange: Exchange) -> None:
        """Note that an exchange waits no more. Its timer stays while a connection is being opened on its behalf."""
        place = pool.waiting.pop(exchange)
        pool.share.waiting -= 1
        if place.opening is None:
            place.timer.drop()

    def _waited_too_long(self, pool: Pool, exchange: Exchange, place: Waiting) -> None:
        what = f"none of {pool.opened} connections to the receiver was free"
        if place.opening is not None:
            what = "no connection to the receiver"
            place.opening.cancel()
        if pool.waiting.get(exchange) is place:
            self._leave(pool, exchange)
            limit = exchange.due - exchange.started
            exchange.broke_off(Broken(FailureKind.TIMEOUT, f"{what} within {limit:g} s"), self._loop.time())

    # --- what connections tell --------------------------------------------------------------------------------------

    def freed(self, connection: Connection) -> None:
        """See Keeper."""
        pool = connection.pool
        contended = self._slots.turns and self._slots.wanted_elsewhere(pool)
        if contended or self._closing or connection.address not in pool.addresses:
            connection.close()
        elif pool.waiting:
            self._serve(pool, connection)
        else:
            pool.idle.append(connection)

    def lost(self, connection: Connection) -> None:
        """See Keeper."""
        pool = connection.pool
        if connection not in self._connections:
            return  # its opening has not ended yet, and holds the slot
        self._connections.remove(connection)
        if connection in pool.idle:
            pool.idle.remove(connection)
        self._slots.give_back(pool)
        if self._closing and not self._connections:
            self._none_open.set()

    def try_again(self, pool: Pool, exchange: Exchange) -> None:
        """See Keeper. It goes before those that wait, for it was sent before they came."""
        self._wait(pool, exchange, fresh_only=True)

    def _serve(self, pool: Pool, connection: Connection) -> None:
        """Give a used connection to the first that waits and may have it."""
        for exchange, place in pool.waiting.items():
            if not place.fresh_only:
                self._leave(pool, exchange)
                connection.send(exchange)
                return
            if place.opening is None:
                connection.close()  # its slot goes to a new one, for the first in the queue
                return
        pool.idle.append(connection)

    # --- opening ----------------------------------------------------------------------------------------------------

    def _open(self, pool: Pool) -> None:
        """Open a connection for the first that waits and has no opening of its own; a slot is taken for it."""
        exchange, place = next(one for one in pool.waiting.items() if one[1].opening is None)
        pool.connecting += 1
        place.opening = self._loop.create_task(self._opening(pool, exchange, place))
        self._openings.add(place.opening)
        place.opening.add_done_callback(self._openings.discard)

    async def _opening(self, pool: Pool, exchange: Exchange, place: Waiting) -> None:
        result: Connection | Broken | None = None
        try:
            result = await self._connect(pool, exchange)
        except (Refused, Unresolved, OSError) as wrong:
            result = _explain(wrong, pool.target)
        finally:
            pool.connecting -= 1
            place.opening = None
            waits = pool.waiting.get(exchange) is place
            if not waits:
                place.timer.drop()
            if not isinstance(result, Connection):
                self._not_opened(pool, exchange, result if waits else None)
        if isinstance(result, Connection):
            self._use(pool, exchange if waits else None, result)

    def _not_opened(self, pool: Pool, exchange: Exchange, broken: Broken | None) -> None:
        if broken is not None:
            self._leave(pool, exchange)
        self._slots.give_back(pool)
        if broken is not None:
            exchange.broke_off(broken, self._loop.time())

    def _use(self, pool: Pool, exchange: Exchange | None, connection: Connection) -> None:
        """Send on a new connection what it was opened for, or whatever waits by now."""
        exchange = exchange or next(iter(pool.waiting), None)
        if exchange is None or self._closing:
            connection.keep_idle()
            self.freed(connection)
        else:
            self._leave(pool, exchange)
            connection.send(exchange)

    async def _connect(self, pool: Pool, exchange: Exchange) -> Connection | None:
        """Open a connection to the first checked address that answers; None when a free one has served `exchange`."""
        if self._loop.time() >= pool.fresh_until:
            addresses = await self._egress.addresses(pool.target, pool.account_id)
            fixed = pool.target.literal is not None
            pool.renew(addresses, inf if fixed else self._loop.time() + self._egress.fresh_s)
            while pool.idle and any(not place.fresh_only for place in pool.waiting.values()):
                self._serve(pool, pool.idle.pop())
            if exchange not in pool.waiting:
                return None
        tls = await self._verifying() if pool.target.secure else None
        failure: OSError | None = None
        addresses = pool.addresses
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            now = self._loop.time()
            try:
                # The last one may take what time is left: the exchange's own timer ends it.
                async with asyncio.timeout_at(now + (exchange.due - now) / left if left > 1 else None):
                    _, connection = await self._loop.create_connection(
                        partial(Connection, self, self._loop, self._wheel, pool, address),
                        str(address),
                        pool.target.port,
                        ssl=tls,
                        server_hostname=pool.target.host.removesuffix(".") if pool.target.secure else None,
                    )
            except OSError as wrong:
                failure = wrong
            else:
                if connection.gone:
                    failure = ConnectionResetError("the receiver spoke first, or closed the connection at once")
                    continue
                pool.addresses = tuple(sorted(pool.addresses, key=lambda one: one != address))
                self._connections.add(connection)
                return connection
        raise failure or OSError("no address")

    async def _verifying(self) -> ssl.SSLContext:
        """Verifies receivers. Made when first needed, in a thread: it reads all of the system's CAs."""
        if self._tls is None:
            made = await asyncio.to_thread(ssl.create_default_context)
            made.minimum_version = ssl.TLSVersion.TLSv1_2
            self._tls = made
        return self._tls


def _explain(wrong: Exception, target: Target) -> Broken:
    match wrong:
        case Refused():
            return Broken(FailureKind.REFUSED_ADDRESS, str(wrong))
        case Unresolved():
            return Broken(FailureKind.DNS, str(wrong))
        case ssl.SSLCertVerificationError():
            why = f"the receiver's certificate does not pass: {wrong.verify_message or wrong}"
            return Broken(FailureKind.TLS, why, certificate=True)
        case ssl.SSLError():
            return Broken(FailureKind.TLS, f"no TLS with the receiver: {wrong.reason or wrong}")
        case OSError():
            why = os.strerror(wrong.errno) if wrong.errno else str(wrong)
            kind = FailureKind.TLS if target.secure and isinstance(wrong, ConnectionError) else FailureKind.CONNECT
            refused = isinstance(wrong, ConnectionRefusedError)
            return Broken(FailureKind.CONNECT if refused else kind, f"no connection to the receiver: {why}")
    raise wrong
